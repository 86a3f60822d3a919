"""Start MLflow's server on the database of MLFLOW_BACKEND_STORE_URI, which `ps` does not show."""

from __future__ import annotations

import os
import sys

from tokensieve.registry.store import exists


def main() -> None:
    """Create the SQLite database if it is missing, and become MLflow's server."""
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    if not exists(uri):
        # MLflow cannot finish half-made tables; here, they are made under another name and renamed.
        from tasks.tracking.mlflow_client import connect

        connect(uri)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "mlflow", "server", *sys.argv[1:]])


if __name__ == "__main__":
    main()
