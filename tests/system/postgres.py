"""A PostgreSQL cluster for tests, which can be killed and started again."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Postgres:
    """A cluster in a folder of its own; call it with a name to make a database.

    Attributes:
        bin: Folder of PostgreSQL's programs.
        port: TCP port on 127.0.0.1.
    """

    def __init__(self, bin: Path, port: int) -> None:
        self.bin, self.port = bin, port
        # Short: PostgreSQL's socket is in it.
        self._folder = Path(tempfile.mkdtemp(prefix="tokensieve-postgres-", dir="/tmp"))
        self._numbers: Iterator[int] = itertools.count(1)
        # PostgreSQL refuses to run as root.
        user = pwd.getpwnam("postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
        self._as_user: dict[str, Any] = (
            {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        os.chown(self._folder, user.pw_uid, user.pw_gid)
        command = [
            bin / "initdb",
            "-D",
            self._folder / "data",
            "-U",
            "tokensieve",
            "-A",
            "trust",
            "--no-sync",
        ]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._as_user)

    def __call__(self, name: str) -> str:
        """Make a database and return its address, postgresql://tokensieve@127.0.0.1:PORT/NAME_NUMBER."""
        name = f"{name}_{next(self._numbers)}"
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "tokensieve"]
        subprocess.run([self.bin / "createdb", *where, name], check=True, capture_output=True)
        return f"postgresql://tokensieve@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start the server; `responds` returns whether it accepts connections yet."""
        folder = self._folder
        self._server = subprocess.Popen(
            [
                self.bin / "postgres",
                "-D",
                folder / "data",
                "-p",
                str(self.port),
                "-k",
                folder,
                "-c",
                "fsync=off",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **self._as_user,
        )

    def responds(self) -> bool:
        """Return whether the server accepts connections."""
        command = [self.bin / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def crash(self) -> None:
        """End the server at once, all its connections too, without writing what is in memory."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(30)

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        self._server.send_signal(signal.SIGINT)
        self._server.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)
