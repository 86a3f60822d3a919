"""Write a Triton model repository from a model folder: the graph and its configuration.

Clients tokenize.

The tokenizer and the manifest are next to the graph, so a client has the token ids, the temperature
and the threshold.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tokensieve.errors import InputError, excerpt
from tokensieve.inference import manifest
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.session import IDS, LOGITS, ONE_TEXT_PER_RUN
from tokensieve.truncation import HEAD

NAME = r"[A-Za-z0-9][\w.-]*"
LABELS = "labels.txt"
BATCH = 32  # texts that Triton runs together, at most
DELAY = 1000  # microseconds that Triton waits for more texts


def write_repository(served: Path, into: Path, name: str = "classifier", version: int = 1) -> Path:
    """Write the model of a model folder as a version of `into`/`name`. Return `into`/`name`.

    The version is written atomically: a Triton that polls the repository never loads half of it.

    Raises:
        InputError: If `Manifest.load` refuses the folder, if Triton does not allow the name, or if
            the version exists.
    """
    if not re.fullmatch(NAME, name):
        raise InputError(
            f"Triton allows no model named {excerpt(name)}; allowed: letters, digits and . _ -, a letter or digit first"
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
    # One line per label: Triton numbers them by their lines.
    (model / LABELS).write_text(
        "".join(" ".join(label.split()) + "\n" for label in known.labels), encoding="utf-8"
    )
    (model / "config.pbtxt").write_text(config(name, known), encoding="utf-8")
    beside.rename(folder)
    return model


def config(name: str, served: Manifest) -> str:
    """Return the text of a config.pbtxt: input_ids, int64 [batch, length], in; logits, float32 [batch, classes], out.

    Triton joins only requests of equal length: others would need padding, for which the graph has
    no mask. Variants whose predictions would depend on the other texts of a batch are run text by
    text, as when they were chosen.
    """
    one_by_one = served.variant in ONE_TEXT_PER_RUN
    batching = "" if one_by_one else f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY} }}\n"
    on_gpu = served.variant == "fp16"
    parameters = {} if on_gpu else {"intra_op_thread_count": "1"}
    if served.truncation != HEAD:
        # For clients, which tokenize: the truncation of the tokenizer itself keeps the head.
        parameters |= {"truncation": served.truncation, "max_length": str(served.max_length)}
    shown = "".join(
        f'parameters {{\n  key: "{key}"\n  value: {{ string_value: "{value}" }}\n}}\n'
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
