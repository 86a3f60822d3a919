from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys

import pytest

from benchmarks.serving.older_processor import __main__ as module
from benchmarks.serving.older_processor.__main__ import NEWER, main
from tests.docs.pages import ROOT

# A product of uint8 and int8 whose sums of two need more than 16 bits: 2 * 255 * 127 = 64,770.
PROGRAM = """
import json, numpy, onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokensieve.processor import instructions, saturates_int8
weight = numpy_helper.from_array(numpy.full((64, 8), 127, numpy.int8), "b")
graph = helper.make_graph(
    [helper.make_node("MatMulInteger", ["a", "b"], ["y"])], "one",
    [helper.make_tensor_value_info("a", TensorProto.UINT8, [4, 64])],
    [helper.make_tensor_value_info("y", TensorProto.INT32, [4, 8])], [weight])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
found = session.run(None, {"a": numpy.full((4, 64), 255, numpy.uint8)})[0]
print(json.dumps([saturates_int8(), instructions(), int(found.max())]))
"""


needs_tools = pytest.mark.skipif(
    platform.system() != "Linux"
    or platform.machine() != "x86_64"
    or not (shutil.which("gcc") and shutil.which("objdump")),
    reason="it changes ONNX Runtime for Linux on x86-64, with gcc and objdump",
)


@pytest.mark.system
@needs_tools
def test_a_command_runs_as_without_vnni_and_sums_overflow() -> None:
    command = [sys.executable, "-m", "benchmarks.serving.older_processor", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    saturates, names, largest = json.loads(done.stdout)
    assert saturates
    assert names == ["avx2"]
    assert largest == 32 * 32_767  # without overflow, 64 * 255 * 127 = 2,072,640


@needs_tools
def test_a_runtime_that_would_keep_all_its_instructions_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_copy", lambda package, target: 0)
    assert main([sys.executable, "-c", ""]) == 2
    assert "onnxruntime have no cpuid" in capsys.readouterr().err


def test_newer_instructions_are_taken_out_of_the_list() -> None:
    flags = "flags : fpu avx2 avx512f avx512_vnni avx_vnni amx_int8 sha_ni\n"
    assert NEWER.sub("", flags).split() == ["flags", ":", "fpu", "avx2", "sha_ni"]


def test_other_systems_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert main([sys.executable]) == 2
    assert "on aarch64; use Linux on x86_64" in capsys.readouterr().err


def test_a_missing_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "no command" in capsys.readouterr().err
    assert main(["no-such-command"]) == 2
    assert "'no-such-command' is not found" in capsys.readouterr().err
