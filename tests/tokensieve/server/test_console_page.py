from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tokensieve.server.config import Limits, ServerConfig
from tokensieve.server.console_page import FILES, FOLDER, PAGE

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_browser_gets_the_page_and_a_program_the_paths(client_of: Callable[..., Any], served: Any) -> None:
    client = client_of(served.folder, Limits(max_texts=5), feedback=object())
    page = client.get("/", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert '<body data-key="no" data-feedback="yes" data-texts="5" data-characters="20000"' in page.text
    assert client.get("/").json()["service"] == "tokensieve"
    assert "accept" in page.headers["vary"].lower()


@pytest.mark.parametrize("name", [PAGE, *FILES])
def test_nothing_comes_from_elsewhere_and_nothing_is_inline(
    name: str, client_of: Callable[..., Any], served: Any
) -> None:
    path = "/" if name == PAGE else f"/console/{name}"
    answer = client_of(served.folder).get(path, headers=BROWSER)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"].split("; ")
    wanted = ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"]
    assert set(wanted) <= set(policy)
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    # In the picture, the name of a namespace is an address.
    assert "://" not in answer.text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    if name == PAGE:
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", answer.text)


def test_text_never_becomes_html() -> None:
    scripts = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.js"))
    forbidden = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(")
    assert [word for word in forbidden if word in scripts] == []


def test_the_files_of_the_page_are_those_in_its_folder() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {PAGE, *FILES}


def test_the_page_needs_no_key_but_its_data_do(client_of: Callable[..., Any], served: Any) -> None:
    client = client_of(served.folder, key="sesame")
    page = client.get("/", headers=BROWSER)
    assert (page.status_code, 'data-key="yes"' in page.text) == (200, True)
    assert client.get("/console/console.js").status_code == 200
    for path in ("/model", "/metrics", "/docs", "/", "/console/none.js", "/console/../model"):
        assert client.get(path).status_code == 401, path
    assert client.post("/explain", json={"text": "card"}, headers=BROWSER).status_code == 401


def test_without_the_console_there_is_no_page(client_of: Callable[..., Any], served: Any) -> None:
    client = client_of(served.folder, config=ServerConfig(console=False))
    assert client.get("/", headers=BROWSER).json()["service"] == "tokensieve"
    assert client.get("/console/console.js").status_code == 404
    locked = client_of(served.folder, key="sesame", config=ServerConfig(console=False))
    assert locked.get("/", headers=BROWSER).status_code == 401
    assert locked.get("/console/console.js").status_code == 401


@pytest.mark.parametrize("prefix", ["", "/labels"])
def test_the_page_works_behind_a_prefix(prefix: str, client_of: Callable[..., Any], served: Any) -> None:
    client = client_of(served.folder, config=ServerConfig(root_path="/labels"))
    for path in (f"{prefix}/", prefix or "/"):
        page = client.get(path, headers=BROWSER)
        assert '<base href="/labels/">' in page.text
    assert client.get(f"{prefix}/console/console.css").headers["content-type"].startswith("text/css")
    assert client.get("/labelsx", headers=BROWSER).status_code == 404
