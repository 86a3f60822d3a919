"""Environment variables for this process and all that it starts: no usage reports, and no proxy for this machine's own servers."""

from __future__ import annotations

import os

# Set before the import of the library that reads them. A user's own value wins.
NO_REPORTS = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "true",
    "DVC_STUDIO_OFFLINE": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")  # httpx fails on [::1]


def prepare() -> None:
    """Switch usage reports off, and take this machine out of what goes through a proxy."""
    for name, value in NO_REPORTS.items():
        os.environ.setdefault(name, value)
    if not any(value and name.lower().endswith("_proxy") for name, value in os.environ.items()):
        return
    # Libraries differ in which of the two spellings they read, so both get all hosts.
    listed = [
        host.strip() for name in ("no_proxy", "NO_PROXY") for host in os.environ.get(name, "").split(",")
    ]
    hosts = ["*"] if "*" in listed else dict.fromkeys([*filter(None, listed), *LOOPBACK])
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(hosts)
