from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve import processor as module
from tokensieve.processor import instructions, mkl_is_slow, processor, saturates_int8, warn_of_overflow


@pytest.mark.parametrize(
    ("machine", "text", "expected"),
    [
        ("x86_64", "flags: avx2", True),
        ("x86_64", "flags: avx512_vnni", False),
        ("aarch64", "Features: asimd", False),
        ("AMD64", None, True),
    ],
)
def test_seven_bits_where_pairs_saturate(
    machine: str, text: str | None, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert saturates_int8(tmp_path / "cpuinfo") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vendor_id : AuthenticAMD\nflags : avx2 avx512f", True),
        ("vendor_id : AuthenticAMD\nflags : avx2", False),
        ("vendor_id : AuthenticAMD\nflags : avx2 avx512f amx_bf16", False),
        ("vendor_id : GenuineIntel\nflags : avx2 avx512f", False),
        (None, False),
    ],
)
def test_mkl_is_slow_on_amd_with_avx512(text: str | None, expected: bool, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert mkl_is_slow(tmp_path / "cpuinfo") == expected


def test_the_processor_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Tiny 9000\n")
    assert processor(tmp_path / "cpuinfo") == "Tiny 9000"
    assert processor(tmp_path / "absent")


def test_the_instructions_that_matter_are_named(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("flags : fpu avx2 avx512f avx512_vnni avx512_vnni_other\n")
    assert instructions(tmp_path / "cpuinfo") == ["avx2", "avx512f", "avx512_vnni"]
    assert instructions(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("bits", "saturates", "known", "warned"),
    [
        (8, True, ["avx2"], True),
        (8, False, ["avx2"], False),
        (7, True, ["avx2"], False),
        (8, True, [], False),
    ],
)
def test_a_model_with_sums_that_overflow_is_named(
    bits: int,
    saturates: bool,
    known: list[str],
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "saturates_int8", lambda: saturates)
    monkeypatch.setattr(module, "instructions", lambda: known)
    warn_of_overflow(Path("served"), bits)
    assert ("served: this processor has no VNNI" in caplog.text) == warned
