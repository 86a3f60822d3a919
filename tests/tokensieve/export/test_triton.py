from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.errors import InputError
from tokensieve.export.triton import config, write_repository
from tokensieve.inference.manifest import Manifest


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    Manifest(("card", "top\nup", "é"), 1.5, 0.5, 16, "hash", "tiny", {"texts": 4}).save(folder)
    return folder


def test_a_repository_has_all_files_for_triton_and_a_client(served: Path, tmp_path: Path) -> None:
    model = write_repository(served, tmp_path / "triton")
    assert model == tmp_path / "triton" / "classifier"
    assert sorted(path.relative_to(model).as_posix() for path in model.rglob("*")) == [
        "1",
        "1/manifest.json",
        "1/model.onnx",
        "1/tokenizer.json",
        "config.pbtxt",
        "labels.txt",
    ]
    assert Manifest.load(model / "1").temperature == 1.5
    # Each label is one line. The number of the line is the index of its logit.
    assert (model / "labels.txt").read_text(encoding="utf-8").splitlines() == ["card", "top up", "é"]
    assert (model / "config.pbtxt").read_text(encoding="utf-8") == config("classifier", Manifest.load(served))
    write_repository(served, tmp_path / "triton", version=2)
    assert (model / "2" / "model.onnx").exists()


def test_what_triton_would_not_load_is_refused(served: Path, tmp_path: Path) -> None:
    write_repository(served, tmp_path / "triton")
    with pytest.raises(InputError, match="classifier/1 exists; give the next version"):
        write_repository(served, tmp_path / "triton")
    for name in ("../x", "a b", "", 'a"b'):
        with pytest.raises(InputError, match="Triton allows no model named"):
            write_repository(served, tmp_path / "other", name)
    (served / "model.onnx").write_bytes(b"cut off")
    with pytest.raises(InputError, match="is not the file that manifest"):
        write_repository(served, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def served_as(variant: str) -> Manifest:
    return Manifest(tuple(map(str, range(77))), 1.5, 0.5, 16, "hash", "tiny", {}, variant=variant)


@pytest.mark.parametrize(
    ("variant", "size", "joined", "kind"),
    [
        ("blocks", 32, True, "KIND_CPU"),
        ("fp16", 32, True, "KIND_GPU"),
        ("mixed", 1, False, "KIND_CPU"),
        ("int8", 1, False, "KIND_CPU"),
    ],
)
def test_the_configuration_suits_the_build(variant: str, size: int, joined: bool, kind: str) -> None:
    text = config("classifier", served_as(variant))
    assert (f"max_batch_size: {size}\n" in text, "dynamic_batching" in text, f"kind: {kind}\n" in text) == (
        True,
        joined,
        True,
    )


@pytest.mark.parametrize("variant", ["blocks", "fp16", "mixed"])
def test_the_configuration_is_one_that_triton_reads(variant: str) -> None:
    """Parsed with Triton's own message where its client is installed."""
    messages = pytest.importorskip(
        "tritonclient.grpc.model_config_pb2", reason="tritonclient[grpc] is not installed"
    )
    from google.protobuf import text_format

    parsed = text_format.Parse(config("classifier", served_as(variant)), messages.ModelConfig())
    assert (parsed.backend, parsed.max_batch_size) == ("onnxruntime", 1 if variant == "mixed" else 32)
    int64, fp32 = messages.DataType.TYPE_INT64, messages.DataType.TYPE_FP32
    inputs = [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in parsed.input]
    assert inputs == [("input_ids", int64, [-1])]
    assert [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in parsed.output] == [
        ("logits", fp32, [77])
    ]
    assert parsed.HasField("dynamic_batching") == (variant != "mixed")
