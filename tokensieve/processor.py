"""Read which processor this machine has, and how it computes int8 and float32."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

log = logging.getLogger("tokensieve")

CPUINFO = Path("/proc/cpuinfo")
# The instructions that decide which variant is fast and exact, as /proc/cpuinfo names them.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


def saturates_int8(cpuinfo: Path = CPUINFO) -> bool:
    """Return whether this processor adds pairs of int8 products in 16 bits, which may overflow.

    x86 processors without VNNI do. Weights may then have 7 bits only, or must be unsigned.
    """
    return platform.machine().lower() in ("x86_64", "amd64") and "vnni" not in _text(cpuinfo)


def warn_of_overflow(folder: Path, int8_bits: int) -> None:
    """Log a warning if this processor does not compute the model in `folder` as it was compared.

    That is so if its int8 weights have 8 bits and sums of their products may overflow. There is no
    warning where the processor's instructions are unknown (outside Linux).
    """
    if int8_bits == 8 and instructions() and saturates_int8():
        log.warning(
            "%s: this processor has no VNNI, so sums of the model's int8 products can overflow and some "
            "predictions differ from those compared at export; export it on a processor like this one, or "
            "with export.variants: [fp32, fused]",
            folder,
        )


def mkl_is_slow(cpuinfo: Path = CPUINFO) -> bool:
    """Return whether MKL uses AVX2 only although this processor has AVX-512.

    It does on processors of AMD. oneDNN, another library in torch, uses AVX-512 there. With AMX it
    might use bfloat16 instead of float32, so a processor with AMX does not count.
    """
    known = set(_text(cpuinfo).split())
    return {"AuthenticAMD", "avx512f"} <= known and not any(name.startswith("amx_") for name in known)


def instructions(cpuinfo: Path = CPUINFO) -> list[str]:
    """Return those of `INSTRUCTIONS` that this processor has."""
    known = set(_text(cpuinfo).split())
    return [name for name in INSTRUCTIONS if name in known]


def processor(cpuinfo: Path = CPUINFO) -> str:
    """Return the name of this machine's processor."""
    names = [
        line.partition(":")[2].strip()
        for line in _text(cpuinfo).splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
