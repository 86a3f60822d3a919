"""What runs a graph: token ids in, logits out.

All texts of a run have equal length, so nothing is padded and the graph has no mask input: it makes its ones itself, which takes 5 to
7% less time than handing them in. Not here: OpenVINO, which computes MiniLM's graph in bfloat16 as fast as ONNX Runtime in float32, and
an int8 graph five times slower.
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
from tokensieve.inference.external_data import referred
from tokensieve.inference.manifest import MODEL, Manifest

Files = Mapping[str, bytes]
Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

IDS, STATES, LOGITS = "input_ids", "states", "logits"
# Variants whose activations have one int8 step a run. In a batch a text's answer would depend on the others: 98.6% then agree with
# torch, not 99.1%, for a fifth less time.
SHARED_STEP = ("mixed", "int8")
KINDS = {IDS: "tensor(int64)", STATES: "tensor(float)"}
TOKENS = {IDS: KINDS[IDS]}
CUDA = "CUDAExecutionProvider"


class Engine:
    """A graph that is loaded. It may be used from many threads at once.

    With `alone`, the texts of a batch are run one by one. A graph that is a part of a classifier has another `input` or `output`.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        alone: bool = False,
        input: str = IDS,
        output: str = LOGITS,
    ) -> None:
        self._session = session
        self._alone = alone
        self._input, self._output = input, output

    def run(self, ids: Ids | Floats) -> Floats:
        """Logits [texts, classes] of token ids [texts, length], of which none is padding."""
        if self._alone and len(ids) > 1:
            return np.concatenate([self.run(text[None]) for text in ids])
        found: Floats = self._session.run([self._output], {self._input: ids})[0]
        return found


def engine(folder: Path, manifest: Manifest, threads: int, files: Files | None = None) -> Engine:
    """The engine of a served folder. Raises InputError: as `session`."""
    return engine_of(folder / MODEL, manifest.variant, threads, files=files)


def engine_of(
    path: Path, variant: str, threads: int, input: str = IDS, output: str = LOGITS, files: Files | None = None
) -> Engine:
    """The engine of a graph of that variant: fp16 computes on the GPU, the others on the CPU. Raises InputError: as `session`."""
    loaded = session(path, threads, {input: KINDS[input]}, output, cuda=variant == "fp16", files=files)
    return Engine(loaded, variant in SHARED_STEP, input, output)


# y = x + x, as ONNX: what a GPU is tried with. Made here it would need the package onnx, which serving does without.
DOUBLE = (
    b'\x08\x08:5\n\x0e\n\x01x\n\x01x\x12\x01y"\x03Add\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)


@cache
def cuda_fault() -> str:
    """Return why onnxruntime cannot compute on a GPU, or nothing if it was seen to. That CUDA is built in does not mean that it works."""
    if CUDA not in onnxruntime.get_available_providers():
        return f"onnxruntime {onnxruntime.__version__} is built without CUDA; install onnxruntime-gpu"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is said by us
    onnxruntime.set_default_logger_severity(4)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tried = onnxruntime.InferenceSession(DOUBLE, options, providers=[CUDA, "CPUExecutionProvider"])
            right = tried.run(["y"], {"x": np.ones(1, np.float32)})[0].tolist() == [2.0]
    except Exception as error:  # its errors share no narrower base
        return f"the GPU does not compute ({' '.join(str(error).split())[:200]})"
    finally:
        onnxruntime.set_default_logger_severity(2)
    if CUDA not in tried.get_providers():
        return "onnxruntime has CUDA built in and finds no GPU that works: see nvidia-smi, and the CUDA and cuDNN versions it needs"
    return "" if right else "the GPU computes wrong numbers"


def session(
    path: Path,
    threads: int,
    inputs: Mapping[str, str] = TOKENS,
    output: str = LOGITS,
    cuda: bool = False,
    files: Files | None = None,
) -> onnxruntime.InferenceSession:
    """The graph at `path`, ready to run with `threads` threads, on the GPU if `cuda`.

    `files` holds the contents of the files of its folder, if they have been read already. Nothing is read from the disk then.

    The other session options were measured on MiniLM at 8 to 32 tokens and are left as they are: graph optimization below all,
    denormals as zero, no arena, no memory pattern, input and output binding differ by less than 4% from them.

    Raises:
        InputError: onnxruntime cannot read it or lacks CUDA, or its inputs and output are others.
    """
    if cuda and (fault := cuda_fault()):
        raise InputError(f"{path} is for a GPU, but {fault}; or export another variant (export.variants)")
    options = onnxruntime.SessionOptions()
    # Its own default is a thread for every core of the machine, whatever the container may use.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads spin by default: at 20 requests a second that took 49 ms of CPU a request for 6 ms of work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [CUDA, "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]
    try:
        if files is None:
            loaded = onnxruntime.InferenceSession(path, options, providers=providers)
        else:
            content = files[path.name]
            others = {name: files[name] for name in referred(content)}
            options.add_external_initializers_from_files_in_memory(
                [*others], [*others.values()], [*map(len, others.values())]
            )
            loaded = onnxruntime.InferenceSession(content, options, providers=providers)
            # It keeps the file for a fallback to other providers, as large as the model once more.
            loaded._model_bytes = None
    except Exception as error:  # its errors share no narrower base
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read by onnxruntime {onnxruntime.__version__} ({reason}); install a newer one"
        ) from None
    found = {item.name: item.type for item in loaded.get_inputs()}
    outputs = [item.name for item in loaded.get_outputs()]
    if found != dict(inputs) or output not in outputs:
        shown, wanted = (
            ", ".join(f"{name} {kind}" for name, kind in named.items()) for named in (found, inputs)
        )
        raise InputError(
            f"{path} maps {shown} to {', '.join(outputs)}; it must map {wanted} to {output}: export the model again"
        )
    return loaded
