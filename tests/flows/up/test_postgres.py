"""The address of PostgreSQL: what is allowed, and that no password is shown."""

from __future__ import annotations

import pytest

from flows.up.postgres import VARIABLE, make_databases, server_address
from tokensieve.errors import InputError


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def test_sqlite_without_an_address() -> None:
    assert server_address(None) is None


def test_the_option_precedes_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "postgresql://me:secret@db")
    assert server_address(None) == "postgresql://me:secret@db"
    assert server_address("postgresql://me@other:5433") == "postgresql://me@other:5433"


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("postgresql://me:secret@db", "PGPASSWORD"),
        ("postgresql://me@db/postgres?password=secret", "PGPASSWORD"),
        ("mysql://me:secret@db", "allowed: postgresql://USER@HOST:PORT"),
        ("db", "allowed: postgresql://USER@HOST:PORT"),
    ],
)
def test_wrong_addresses_are_refused_without_their_password(address: str, named: str) -> None:
    with pytest.raises(InputError) as raised:
        server_address(address)
    assert named in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_server_that_does_not_respond_is_named_without_its_password() -> None:
    with pytest.raises(InputError) as raised:
        make_databases("postgresql://me:secret@127.0.0.1:1")
    assert "PostgreSQL at 127.0.0.1:1" in str(raised.value)
    assert "secret" not in str(raised.value)
