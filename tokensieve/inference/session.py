"""Run an ONNX graph with ONNX Runtime: token ids in, logits out.

All texts of a run have equal length, so there is no padding, and the graph has no attention mask as
input. It makes a mask of ones itself, which takes 5 to 7% less time. OpenVINO is not used: it
computes the graph of MiniLM in bfloat16 as fast as ONNX Runtime in float32, and takes five times as
long for an int8 graph.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from tokensieve.errors import InputError
from tokensieve.inference.external_data import external_names

Files = Mapping[str, bytes]
Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

IDS, STATES, LOGITS = "input_ids", "states", "logits"
# Variants that quantize the activations of a run with one scale. In a batch, the prediction for a
# text would depend on the other texts: 98.6% of the predictions would agree with PyTorch instead of
# 99.1%, in a fifth less time.
ONE_TEXT_PER_RUN = ("mixed", "uint8", "int8")
TYPES = {IDS: "tensor(int64)", STATES: "tensor(float)"}
TOKEN_IDS = {IDS: TYPES[IDS]}
CUDA = "CUDAExecutionProvider"


class Engine:
    """A loaded graph. Several threads may use it at once."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        one_by_one: bool = False,
        input: str = IDS,
        output: str = LOGITS,
    ) -> None:
        """Make an engine from a session.

        Args:
            session: A session of the graph.
            one_by_one: Whether the texts of a batch are run one at a time.
            input: The name of the graph's input. A part of a classifier may have states as input.
            output: The name of the graph's output. A part of a classifier may have states as
                output.
        """
        self._session = session
        self._one_by_one = one_by_one
        self._input, self._output = input, output

    def run(self, ids: Ids | Floats) -> Floats:
        """Return the logits, float32 [texts, classes], of token ids, int64 [texts, length].

        There is no padding. If the graph is a part of a classifier, input or output are states,
        float32 [texts, length, width].
        """
        if self._one_by_one and len(ids) > 1:
            return np.concatenate([self.run(text[None]) for text in ids])
        found: Floats = self._session.run([self._output], {self._input: ids})[0]
        return found


def load_engine(
    path: Path, variant: str, threads: int, input: str = IDS, output: str = LOGITS, files: Files | None = None
) -> Engine:
    """Load the graph at `path`. The variant fp16 computes on the GPU, all others on the CPU.

    The other arguments are those of `create_session` and `Engine`.

    Raises:
        InputError: If `create_session` raises it.
    """
    loaded = create_session(path, threads, {input: TYPES[input]}, output, cuda=variant == "fp16", files=files)
    return Engine(loaded, variant in ONE_TEXT_PER_RUN, input, output)


# An ONNX graph that computes y = x + x, to test a GPU. It is not built here, because that needs the
# package onnx, which is missing in an installation for serving.
DOUBLE = (
    b'\x08\x08:5\n\x0e\n\x01x\n\x01x\x12\x01y"\x03Add\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)


@cache
def cuda_problem() -> str:
    """Return why ONNX Runtime cannot compute on a GPU; empty if it can.

    ONNX Runtime may be built with CUDA and still not work, so a small graph is run.
    """
    if CUDA not in onnxruntime.get_available_providers():
        return f"onnxruntime {onnxruntime.__version__} is built without CUDA; install onnxruntime-gpu"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # the caller reports the problem
    onnxruntime.set_default_logger_severity(4)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = onnxruntime.InferenceSession(DOUBLE, options, providers=[CUDA, "CPUExecutionProvider"])
            is_right = trial.run(["y"], {"x": np.ones(1, np.float32)})[0].tolist() == [2.0]
    except Exception as error:  # ONNX Runtime's errors have no narrower base
        return f"the GPU does not compute ({' '.join(str(error).split())[:200]})"
    finally:
        onnxruntime.set_default_logger_severity(2)
    if CUDA not in trial.get_providers():
        return (
            "onnxruntime has CUDA built in and finds no GPU that works: see nvidia-smi, and the CUDA and "
            "cuDNN versions it needs"
        )
    return "" if is_right else "the GPU computes wrong numbers"


def create_session(
    path: Path,
    threads: int,
    inputs: Mapping[str, str] = TOKEN_IDS,
    output: str = LOGITS,
    cuda: bool = False,
    files: Files | None = None,
) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session of the graph at `path`.

    The other session options keep their defaults. Measured on MiniLM at 8 to 32 tokens, they change
    the time by less than 4%: lower graph optimization, denormals as zero, no arena, no memory
    pattern, input and output binding.

    Args:
        path: The file of the graph.
        threads: The number of threads that compute.
        inputs: The types of the inputs that the graph must have, by name.
        output: The name of an output that the graph must have.
        cuda: Whether to compute on the GPU.
        files: The contents of the files in the folder, by name. With them, no file is read.

    Raises:
        InputError: If ONNX Runtime cannot read the graph, if it cannot use the GPU but must, or if
            the graph has other inputs or no such output.
    """
    if cuda and (problem := cuda_problem()):
        raise InputError(f"{path} is for a GPU, but {problem}; or export another variant (export.variants)")
    loaded = _load(path, _session_options(threads), cuda, files)
    found = {item.name: item.type for item in loaded.get_inputs()}
    outputs = [item.name for item in loaded.get_outputs()]
    if found != dict(inputs) or output not in outputs:
        shown, wanted = (
            ", ".join(f"{name} {kind}" for name, kind in named.items()) for named in (found, inputs)
        )
        raise InputError(
            f"{path} maps {shown} to {', '.join(outputs)}; "
            f"it must map {wanted} to {output}: export the model again"
        )
    return loaded


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    # The default is one thread per core of the machine, even if the container may use fewer.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # By default, idle threads spin. At 20 requests per second, spinning took 49 ms of CPU time per
    # request for 6 ms of work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _load(
    path: Path, options: onnxruntime.SessionOptions, cuda: bool, files: Files | None
) -> onnxruntime.InferenceSession:
    """Return a session of the graph in the file `path`, or in `files` if they are given."""
    providers = [CUDA, "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]
    try:
        if files is None:
            return onnxruntime.InferenceSession(path, options, providers=providers)
        content = files[path.name]
        others = {name: files[name] for name in external_names(content)}
        options.add_external_initializers_from_files_in_memory(
            [*others], [*others.values()], [*map(len, others.values())]
        )
        loaded = onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors have no narrower base
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read by onnxruntime {onnxruntime.__version__} ({reason}); install a newer one"
        ) from None
    # The session keeps the content for a fallback to other providers, which doubles the memory.
    loaded._model_bytes = None
    return loaded
