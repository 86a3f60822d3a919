"""PostgreSQL for Prefect and MLflow: a database for each, and their addresses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from tokensieve.errors import InputError, excerpt
from tokensieve.registry.store import without_password

VARIABLE = "TOKENSIEVE_POSTGRES"
DATABASES = ("prefect", "mlflow")  # as deploy/postgres/databases.sql names them
TIMEOUT = 10  # seconds


@dataclass(frozen=True)
class Databases:
    """The addresses of the two databases. They may contain a password."""

    prefect: str
    mlflow: str


def server_address(option: str | None) -> str | None:
    """Return the address of the PostgreSQL server: --postgres, or else TOKENSIEVE_POSTGRES.

    Raises:
        InputError: If it is no address of a PostgreSQL server, or if the option has a password,
            which every user of the machine could read.
    """
    address = option or os.environ.get(VARIABLE)
    if not address:
        return None
    named = "--postgres" if option else VARIABLE
    parts = urlsplit(address)
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname:
        raise InputError(
            f"{named} is {excerpt(without_password(address))}; allowed: postgresql://USER@HOST:PORT"
        )
    if option and (parts.password or "password=" in parts.query):
        raise InputError(
            f"--postgres has a password, which the list of processes shows to all users; set {VARIABLE} to "
            "the whole address, or give the password in PGPASSWORD or ~/.pgpass"
        )
    return address


def make_databases(address: str) -> Databases:
    """Make the databases `prefect` and `mlflow` on the server if they do not exist.

    Raises:
        InputError: If the server does not respond, or if the user may not make databases.
    """
    import psycopg2

    parts = urlsplit(address)
    entry = urlunsplit(("postgresql", parts.netloc, parts.path.strip("/") or "postgres", parts.query, ""))
    try:
        connection = psycopg2.connect(entry, connect_timeout=TIMEOUT)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT datname FROM pg_database")
                known = {name for (name,) in cursor.fetchall()}
                for name in DATABASES:
                    if name not in known:
                        cursor.execute(f"CREATE DATABASE {name}")
        finally:
            connection.close()
    except psycopg2.Error as error:
        reason = without_password(str(error).strip().partition("\n")[0])
        raise InputError(
            f"PostgreSQL at {parts.hostname}:{parts.port or 5432}: {reason}; correct the address, or make "
            f"the databases {' and '.join(DATABASES)} as an administrator"
        ) from None
    return Databases(
        # asyncpg has another name for sslmode.
        prefect=urlunsplit(
            ("postgresql+asyncpg", parts.netloc, "/prefect", parts.query.replace("sslmode=", "ssl="), "")
        ),
        mlflow=urlunsplit(("postgresql+psycopg2", parts.netloc, "/mlflow", parts.query, "")),
    )
