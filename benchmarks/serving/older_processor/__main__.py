"""Run a command as on an x86 processor with AVX2 but without AVX-512 and VNNI.

    python -m benchmarks.serving.older_processor COMMAND ...

ONNX Runtime has no setting for that. So copies of its libraries, and of OpenVINO's if it is
installed, ask a handler which instructions there are (`cpuid.c`). Their own choice of kernels does
the rest: sums of int8 products overflow as they do on such a processor. Times are those of this
processor with the older instructions, so only ratios count. PyTorch is limited by its own setting.

Linux on x86-64, with gcc and objdump.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.command import reports_input_errors
from tokensieve.errors import InputError, excerpt

PACKAGES = ("onnxruntime", "openvino")
CPUID, UD2 = b"\x0f\xa2", b"\x0f\x0b"
NEWER = re.compile(r"\b(avx512\w*|avx_vnni\w*|amx_\w+)\b ?")
LIMITS = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


@reports_input_errors
def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status; 2 if this machine cannot."""
    if not arguments:
        raise InputError("no command; use python -m benchmarks.serving.older_processor COMMAND ...")
    if not shutil.which(arguments[0]):
        raise InputError(f"{excerpt(arguments[0])} is not found; give a command that exists")
    with tempfile.TemporaryDirectory() as scratch:
        others = environment(Path(scratch))
        return subprocess.run(list(arguments), env=os.environ | others, check=False).returncode


def environment(scratch: Path) -> dict[str, str]:
    """Return the variables of the command. `scratch` gets the libraries.

    Raises:
        InputError: If this is not Linux on x86-64, if gcc or objdump is missing, or if ONNX Runtime
            does not ask for its instructions.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise InputError(f"this is {platform.system()} on {platform.machine()}; use Linux on x86_64")
    for tool in ("gcc", "objdump"):
        if not shutil.which(tool):
            raise InputError(f"{tool} is not installed; install Debian's packages gcc and binutils")
    handler, cpuinfo = scratch / "cpuid.so", scratch / "cpuinfo"
    source = Path(__file__).with_name("cpuid.c")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", handler, source, "-ldl"], check=True)
    cpuinfo.write_text(NEWER.sub("", Path("/proc/cpuinfo").read_text(encoding="utf-8")), encoding="utf-8")
    packages = scratch / "packages"
    changed = {package: _copy(package, packages / package) for package in PACKAGES}
    if not changed["onnxruntime"]:  # it would run with all its instructions, and nobody would see it
        raise InputError("the libraries of the installed onnxruntime have no cpuid; install another version")
    path = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **LIMITS,
        "PYTHONPATH": path,
        "LD_PRELOAD": str(handler),
        "TOKENSIEVE_CPUINFO": str(cpuinfo),
    }


def _copy(package: str, target: Path) -> int:
    """Copy a package to `target`, with `ud2` for each `cpuid` of its libraries.

    Return how many were replaced; 0 if the package is not installed.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return 0
    replaced = 0
    shutil.copytree(Path(spec.origin).parent, target)
    for library in target.rglob("*.so*"):
        content = bytearray(library.read_bytes())
        if library.is_symlink() or CPUID not in content:
            continue
        for place in _places(library):
            if content[place : place + 2] != CPUID:
                raise InputError(f"{library.name}: objdump shows a cpuid at {place:#x}, which has none")
            content[place : place + 2] = UD2
            replaced += 1
        library.write_bytes(content)
    return replaced


def _places(library: Path) -> list[int]:
    """Return the offsets of the `cpuid` instructions in the file."""
    lines = _objdump("--disassemble", "--no-show-raw-insn", library)
    addresses = [int(found[1], 16) for found in re.finditer(r"^\s*([0-9a-f]+):\tcpuid", lines, re.M)]
    sections = [
        (int(size, 16), int(address, 16), int(offset, 16))
        for size, address, offset in re.findall(
            r"^\s*\d+ \.\S+\s+([0-9a-f]+)\s+([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+).*CODE",
            _objdump("--section-headers", "--wide", library),
            re.M,
        )
    ]
    return [
        offset + at - address
        for at in addresses
        for size, address, offset in sections
        if address <= at < address + size
    ]


def _objdump(*arguments: str | Path) -> str:
    return subprocess.run(["objdump", *arguments], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
