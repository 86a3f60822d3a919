from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.cli.main import main
from tokensieve.inference.manifest import Manifest


def test_a_model_is_added_to_a_triton_repository_as_its_next_version(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    served = tmp_path / "onnx"
    served.mkdir()
    for name in ("model.onnx", "tokenizer.json"):
        (served / name).write_bytes(b"any")
    Manifest(("a", "b"), 1.0, 0.5, 8, "hash", "tiny", {}).save(served)
    for version in ("1", "2"):
        assert (
            main(
                [
                    "export-triton",
                    "--model",
                    str(served),
                    "--output",
                    str(tmp_path / "models"),
                    "--name",
                    "intents",
                ]
            )
            == 0
        )
        assert f"contains version {version}" in capfd.readouterr().out
    assert sorted(path.name for path in (tmp_path / "models" / "intents").iterdir()) == [
        "1",
        "2",
        "config.pbtxt",
        "labels.txt",
    ]
    assert main(["export-triton", "--model", str(served), "--output", str(tmp_path), "--name", "../x"]) == 2
