"""A registry in a database, read in this process, which has imported MLflow already."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tasks.tracking import mlflow_client
from tokensieve.errors import InputError
from tokensieve.registry.mlflow_process import MlflowProcess
from tokensieve.registry.store import SQLITE, no_answer


class LoadedMlflow(MlflowProcess):
    """The registry at `uri`. A child process would import MLflow again, which takes seconds."""

    _inodes: ClassVar[dict[str, int]] = {}  # of the SQLite files that this process has read

    def describe(self, name: str) -> dict[str, Any]:
        """Return what `MlflowProcess.describe` does, and raise as it does."""
        if self._is_replaced():
            return super().describe(name)
        try:
            return mlflow_client.describe(self.uri, name)
        except InputError:
            raise
        except Exception as error:  # MLflow's, the database's or its driver's: they share no narrower base
            raise no_answer(self.uri, error) from None

    def _is_replaced(self) -> bool:
        """Return whether another SQLite file has replaced the one that this process has read.

        MLflow's connections of this process still read the old one.
        """
        if not self.uri.startswith(SQLITE):
            return False
        inode = Path(self.uri.removeprefix(SQLITE)).stat().st_ino
        return self._inodes.setdefault(self.uri, inode) != inode
