from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tokensieve.errors import InputError
from tokensieve.files import sha256
from tokensieve.inference.manifest import Manifest


@pytest.fixture
def folder(served: Any, tmp_path: Path) -> Path:
    return Path(served.write(tmp_path / "onnx"))


def edit(folder: Path, **values: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_a_saved_manifest_is_loaded_unchanged(folder: Path) -> None:
    parity = {"texts": 3, "largest_difference": 2e-6, "agreement": 1.0}
    written = Manifest(("ü", "b"), 1.5, 0.25, 64, "abc", "base/model", parity)
    written.save(folder)
    read = Manifest.load(folder)
    assert (read.labels, read.temperature, read.threshold, read.max_length) == (("ü", "b"), 1.5, 0.25, 64)
    assert (read.data_hash, read.base, read.parity) == ("abc", "base/model", parity)
    assert read.thresholds == ()
    assert read.variant == "fp32"
    replace(written, thresholds=(0.25, 0.75), variant="int8").save(folder)
    assert (Manifest.load(folder).thresholds, Manifest.load(folder).variant) == ((0.25, 0.75), "int8")
    assert read.files == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("model.onnx", "tokenizer.json")
    }


def test_equal_content_gives_equal_bytes_and_no_temporary_file(folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    Manifest.load(folder).save(folder)
    assert (folder / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.onnx", "tokenizer.json"]


def test_saving_hashes_further_files_and_the_present_content(folder: Path) -> None:
    (folder / "model.onnx.data").write_bytes(b"weights")
    Manifest(("a", "b"), 1.0, 0.5, 8, "", "", {}, {"model.onnx.data": "stale"}).save(folder)
    files = Manifest.load(folder).files
    assert list(files) == ["model.onnx", "model.onnx.data", "tokenizer.json"]
    assert files["model.onnx.data"] == sha256(folder / "model.onnx.data")


def test_saving_without_the_model_writes_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Manifest(("a", "b"), 1.0, 0.5, 8, "", "", {}).save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_changed_or_missing_file_is_refused_by_name(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} is not the file that manifest\.json lists"):
        Manifest.load(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name} is missing"):
        Manifest.load(folder)


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("format", 2, "format '2', this version reads 3, 4, 5; export again"),
        (
            "variant",
            "int4",
            "variant is 'int4'; it must be one of fp32, fused, fp16, blocks, mixed, uint8, int8",
        ),
        ("variant", ["fp32"], "it must be one of fp32"),
        ("labels", "abc", "labels is 'abc'; it must be a list of at least two names"),
        ("labels", ["a", 1], "a list of at least two names"),
        ("labels", ["a"], "a list of at least two names"),
        ("labels", ["a", "\ud800"], "a list of at least two names, in UTF-8"),
        ("base", "\udfff", "it must be text"),
        ("temperature", 5e-324, "a number from 1e-06 to 1000000"),
        ("temperature", 1e300, "a number from 1e-06 to 1000000"),
        ("temperature", 0, "temperature is '0'; it must be a number from 1e-06 to 1000000"),
        ("temperature", float("nan"), "a number from 1e-06 to 1000000"),
        ("threshold", 1.5, "threshold is '1.5'; it must be a number from 0 to 1"),
        ("threshold", True, "a number from 0 to 1"),
        ("thresholds", [0.5, 1.0, 0.5, 0.5], "a list of numbers between 0 and 1"),
        ("thresholds", 0.5, "thresholds is '0.5'; it must be a list of numbers between 0 and 1"),
        ("thresholds", [0.5], "has 1 thresholds for 4 labels"),
        ("max_length", 3, "a whole number, at least 4 and at most 1048576"),
        ("max_length", 16.0, "a whole number, at least 4 and at most 1048576"),
        ("data_hash", None, "data_hash is 'None'; it must be text"),
        ("parity", {"texts": "many"}, "names with numbers"),
        ("files", {"model.onnx": 0}, "names of files inside the folder, each with its SHA-256"),
        ("files", {"../model.onnx": "0"}, "names of files inside the folder"),
        ("files", {"/etc/passwd": "0"}, "names of files inside the folder"),
        ("temperature", 10**400, "a number from 1e-06 to 1000000"),
        ("variant", {}, "it must be one of fp32"),
        ("max_length", 2**70, "at most 1048576"),
        ("files", {"model.onnx": "0"}, "hashes of at least model.onnx and tokenizer.json"),
    ],
)
def test_a_bad_value_is_refused_by_key(folder: Path, key: str, value: Any, wanted: str) -> None:
    edit(folder, **{key: value})
    with pytest.raises(InputError) as caught:
        Manifest.load(folder)
    assert wanted in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_refused_and_an_unknown_one_is_not(folder: Path) -> None:
    edit(folder, later="addition")
    assert Manifest.load(folder).base == "tiny"
    path = folder / "manifest.json"
    path.write_text(json.dumps({"format": 3}), encoding="utf-8")
    with pytest.raises(InputError, match="lacks 'labels'"):
        Manifest.load(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is not JSON"), (b"\xff{}", "is not JSON"), (b"{", "is not JSON"), (b"[1]", "one object")],
)
def test_what_is_no_manifest_is_refused(folder: Path, content: bytes, words: str) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=words):
        Manifest.load(folder)


def test_an_unfinished_or_absent_folder_is_refused(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    for place in (folder, folder / "nowhere", folder / "model.onnx"):
        with pytest.raises(InputError, match=r"has no manifest\.json"):
            Manifest.load(place)
