"""Write a Triton model repository from a model folder.

Triton runs the graph only, so clients must tokenize. The tokenizer and the manifest are next to the
graph. From them a client has the token ids, the temperature and the threshold.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from tokensieve.cleaning import NONE
from tokensieve.errors import InputError, excerpt
from tokensieve.inference import manifest
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.session import IDS, LOGITS, ONE_TEXT_PER_RUN
from tokensieve.truncation import HEAD

NAME = r"[A-Za-z0-9][\w.-]*"
LABELS = "labels.txt"
BATCH = 32  # maximum texts that Triton runs together
DELAY = 1000  # microseconds that Triton waits for more texts


def write_repository(served: Path, into: Path, name: str = "classifier", version: int = 1) -> Path:
    """Write the model of a model folder as a version of the model `into`/`name`.

    The version is written atomically, so that a Triton that polls the repository never loads half
    of it.

    Returns:
        The folder `into`/`name`.

    Raises:
        InputError: If `Manifest.load` raises it, if Triton does not allow the name, or if the
            version exists.
    """
    if not re.fullmatch(NAME, name):
        raise InputError(
            f"Triton allows no model named {excerpt(name)}; allowed: letters, digits and . _ -, a letter or "
            "digit first"
        )
    known = Manifest.load(served)
    model, folder = into / name, into / name / str(version)
    if folder.exists():
        raise InputError(f"{folder} exists; give the next version")
    beside = model / f".{version}.new"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for file in (*known.files, manifest.NAME):
        (beside / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(served / file, beside / file)
    # One line per label, because the number of a line is the number of its label.
    (model / LABELS).write_text(
        "".join(" ".join(label.split()) + "\n" for label in known.labels), encoding="utf-8"
    )
    (model / "config.pbtxt").write_text(config(name, known), encoding="utf-8")
    beside.rename(folder)
    return model


def _for_clients(served: Manifest) -> dict[str, str]:
    """Return what clients must know to tokenize as in training and the tokenizer lacks."""
    found: dict[str, str] = {}
    if served.truncation != HEAD:
        # The truncation of the tokenizer itself would keep the head.
        found |= {"truncation": served.truncation, "max_length": str(served.max_length)}
    if served.text_columns:
        found["text_columns"] = json.dumps(served.text_columns)
    if served.clean != NONE:
        found["clean"] = served.clean
    return found


def config(name: str, served: Manifest) -> str:
    """Return the text of a config.pbtxt.

    The input is input_ids, int64 [batch, length], the output is logits, float32 [batch, classes].
    Triton joins only requests of equal length. Others would need padding, and the graph has no
    mask for it. If the predictions of a variant depend on the other texts of a batch, Triton runs
    one text at a time, as it was done when the variant was chosen.
    """
    one_by_one = served.variant in ONE_TEXT_PER_RUN
    batching = "" if one_by_one else f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY} }}\n"
    on_gpu = served.variant == "fp16"
    parameters = {} if on_gpu else {"intra_op_thread_count": "1"}
    parameters |= _for_clients(served)
    shown = "".join(
        f'parameters {{\n  key: "{key}"\n  value: {{ string_value: {json.dumps(value)} }}\n}}\n'
        for key, value in parameters.items()
    )
    return f"""name: "{name}"
backend: "onnxruntime"
max_batch_size: {1 if one_by_one else BATCH}
input [
  {{
    name: "{IDS}"
    data_type: TYPE_INT64
    dims: [ -1 ]
  }}
]
output [
  {{
    name: "{LOGITS}"
    data_type: TYPE_FP32
    dims: [ {len(served.labels)} ]
    label_filename: "{LABELS}"
  }}
]
{batching}instance_group [
  {{
    count: 1
    kind: {"KIND_GPU" if on_gpu else "KIND_CPU"}
  }}
]
{shown}"""
