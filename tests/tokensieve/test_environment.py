"""What tokensieve sets for the libraries it uses."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.request import proxy_bypass_environment

import pytest

from tokensieve.environment import NO_REPORTS, prepare

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without proxies, which is restored as a whole afterwards."""
    for name in PROXIES:
        # Set first: what is only deleted when it is there is not restored when the code under test
        # sets it.
        monkeypatch.setenv(name, "")
        monkeypatch.setenv(name.upper(), "")
        monkeypatch.delenv(name)
        monkeypatch.delenv(name.upper())


@pytest.mark.parametrize(
    "proxy", ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
)
def test_loopback_never_goes_through_a_proxy(proxy: str, bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    prepare()
    for host in ("localhost:5000", "127.0.0.1:4200"):
        assert proxy_bypass_environment(host)
    assert not proxy_bypass_environment("example.org")


def test_hosts_that_need_no_proxy_already_are_kept(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "one.example, two.example")
    monkeypatch.setenv("NO_PROXY", "two.example,three.example")
    prepare()
    prepare()
    wanted = "one.example,two.example,three.example,localhost,127.0.0.1,::1"
    assert (os.environ["no_proxy"], os.environ["NO_PROXY"]) == (wanted, wanted)

    monkeypatch.setenv("NO_PROXY", "*")
    prepare()
    assert os.environ["no_proxy"] == "*"


def test_without_a_proxy_nothing_is_set(bare: None) -> None:
    prepare()
    assert "no_proxy" not in os.environ
    assert "NO_PROXY" not in os.environ


def test_usage_reports_are_off_wherever_tokensieve_is_imported_unless_a_user_wants_them() -> None:
    kept = {name: value for name, value in os.environ.items() if name not in NO_REPORTS}
    program = (
        "import os, tokensieve; print([os.environ.get(name) for name in tokensieve.environment.NO_REPORTS])"
    )

    def seen(**variables: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", program], env=kept | variables, capture_output=True, text=True, check=True
        ).stdout

    assert seen().strip() == str(list(NO_REPORTS.values()))
    assert "'0'" in seen(ORT_DISABLE_TELEMETRY="0")
