"""Environment variables of this process and of the processes that it starts.

They switch off usage reports, and keep requests to servers on this machine away from a proxy.
"""

from __future__ import annotations

import os

# They are set before the libraries that read them are imported. A user's own value is kept.
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
    """Switch off usage reports, and add this machine to the hosts reached without a proxy."""
    for name, value in NO_REPORTS.items():
        os.environ.setdefault(name, value)
    if not any(value and name.lower().endswith("_proxy") for name, value in os.environ.items()):
        return
    # Some libraries read the one spelling, some the other, so both get all hosts.
    listed = [
        host.strip() for name in ("no_proxy", "NO_PROXY") for host in os.environ.get(name, "").split(",")
    ]
    hosts = ["*"] if "*" in listed else dict.fromkeys([*filter(None, listed), *LOOPBACK])
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(hosts)
