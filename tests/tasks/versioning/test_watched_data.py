"""The hash of what is at an address depends on the content alone."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

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
    with pytest.raises(InputError, match="cannot be read"):
        content_hash("nosuch://bucket/data")
