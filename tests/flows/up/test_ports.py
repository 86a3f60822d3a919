"""Ports that cannot be used are named with their option."""

from __future__ import annotations

import os
import socket

import pytest

from flows.up.ports import check_free
from tokensieve.errors import InputError


def test_a_taken_port_is_named_with_its_option_and_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(InputError) as raised:
            check_free({"--mlflow-port": ("127.0.0.1", port)})
    message = str(raised.value)
    assert f"port {port} (--mlflow-port) of 127.0.0.1 is not free: process {os.getpid()} (" in message


def test_a_port_is_free_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    check_free({"--port": ("127.0.0.1", port)})


def test_all_taken_ports_are_in_one_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [found.getsockname()[1] for found in (one, other)]
        with pytest.raises(InputError) as raised:
            check_free({"--port": ("127.0.0.1", ports[0]), "--mlflow-port": ("127.0.0.1", ports[1])})
    assert all(str(port) in str(raised.value) for port in ports)


@pytest.mark.parametrize(
    ("ports", "named"),
    [
        ({"--port": ("127.0.0.1", 0)}, "--port is 0"),
        ({"--port": ("127.0.0.1", 65_536)}, "--port is 65536"),
        (
            {"--port": ("127.0.0.1", 5000), "--mlflow-port": ("127.0.0.1", 5000)},
            "--port and --mlflow-port are both 5000",
        ),
        ({"--port": ("192.0.2.1", 8000)}, "port 8000 (--port) of 192.0.2.1 is not free"),
    ],
)
def test_ports_that_cannot_be_used(ports: dict[str, tuple[str, int]], named: str) -> None:
    with pytest.raises(InputError) as raised:
        check_free(ports)
    assert named in str(raised.value)
