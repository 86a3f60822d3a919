"""The hash of what is at an address depends on the content alone."""

from __future__ import annotations

import errno
import functools
import os
import socket
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tasks.versioning import watched_data
from tasks.versioning.download import FetchError
from tasks.versioning.watched_data import content_hash
from tokensieve.errors import InputError


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """Serve the test's folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["file", "folder", "web"])
def test_the_content_alone_decides(kind: str, tmp_path: Path, web: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    file = folder / "train.csv"
    file.write_text("text,label\na,b\n", encoding="utf-8")
    address = {"file": str(file), "folder": str(folder), "web": f"{web}/data/train.csv"}[kind]
    first = content_hash(address)
    os.utime(file, (1, 1))
    assert content_hash(address) == first
    file.write_text("text,label\na,c\n", encoding="utf-8")
    assert content_hash(address) != first


def test_a_renamed_file_of_a_folder_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a", encoding="utf-8")
    first = content_hash(str(tmp_path))
    (tmp_path / "train.csv").rename(tmp_path / "test.csv")
    assert content_hash(str(tmp_path)) != first


def test_a_name_that_is_not_utf8_counts(tmp_path: Path) -> None:
    first = content_hash(str(tmp_path))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv")).write_text("a", encoding="utf-8")
    assert content_hash(str(tmp_path)) != first


@pytest.mark.parametrize("watched", ["data", "data/inner/train.csv"])
def test_what_may_not_be_read_is_named(watched: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "data" / "inner"
    inner.mkdir(parents=True)
    (inner / "train.csv").write_text("a", encoding="utf-8")

    def refused(path: Any, *_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    # The user root may read everything.
    monkeypatch.setattr(watched_data.os, "scandir", refused)
    monkeypatch.setattr(watched_data, "sha256", refused)
    with pytest.raises(InputError, match=r"data.* cannot be read \(Permission denied\); make it readable"):
        content_hash(str(tmp_path / watched))


def test_a_store_is_asked_for_its_own_hashes() -> None:
    import fsspec

    system = fsspec.filesystem("memory")
    system.pipe("/watched/a.csv", b"one")
    first = content_hash("memory://watched")
    assert content_hash("memory://watched") == first
    system.pipe("/watched/b.csv", b"two")
    assert content_hash("memory://watched") != first
    system.rm("/watched", recursive=True)
    with pytest.raises(InputError, match="does not exist, or is empty"):
        content_hash("memory://watched")


def test_nothing_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        content_hash(str(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot be read") as refused:
        content_hash("nosuch://bucket/data")
    assert not isinstance(refused.value, FetchError)


def test_a_store_that_does_not_respond_may_come_back() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(FetchError, match=r"cannot be read .*check the address and the credentials"):
            content_hash(f"webhdfs://127.0.0.1:{closed.getsockname()[1]}/data")
