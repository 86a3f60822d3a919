"""Check that the ports of the services are free."""

from __future__ import annotations

import socket

import psutil

from tokensieve.errors import InputError


def check_free(ports: dict[str, tuple[str, int]]) -> None:
    """Check the addresses to listen on, by the option that sets the port.

    Raises:
        InputError: If a port is in use or used twice, or if an address is not this machine's.
    """
    seen: dict[int, str] = {}
    for option, (_, port) in ports.items():
        if not 0 < port < 65_536:
            raise InputError(f"{option} is {port}; allowed: 1 to 65535")
        if port in seen:
            raise InputError(f"{seen[port]} and {option} are both {port}; use a port of its own for each")
        seen[port] = option
    taken = [line for option, (host, port) in ports.items() if (line := _fault(option, host, port))]
    if taken:
        raise InputError("; ".join([*taken, "end it, or choose other ports with these options"]))


def _fault(option: str, host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            reason = _user(port) or (error.strerror or str(error)).lower()
            return f"port {port} ({option}) of {host} is not free: {reason}"
    return ""


def _user(port: int) -> str:
    """Return the process that listens on a port. Empty if it cannot be found, as another user's."""
    try:
        for found in psutil.net_connections("tcp"):
            if found.laddr and found.laddr.port == port and found.status == psutil.CONN_LISTEN and found.pid:
                return f"process {found.pid} ({psutil.Process(found.pid).name()}) uses it"
    except psutil.Error:
        pass
    return ""
