"""A Triton model repository from a served folder: the graph and its configuration. Not here: tokenization, which is the client's.

Beside the graph lie the tokenizer and the manifest, so that a client finds the ids, the temperature and the threshold.
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
BATCH = 32  # texts that Triton joins at most
DELAY = 1000  # microseconds that it waits for more of them


def write_repository(served: Path, into: Path, name: str = "classifier", version: int = 1) -> Path:
    """Write `into`/`name` with the model of a served folder as its `version`; returns that folder.

    The version's folder is written beside and renamed, so that a Triton that polls the repository never loads half of one.

    Raises:
        InputError: as `Manifest.load`, a name that Triton does not take, or a version that is there already.
    """
    if not re.fullmatch(NAME, name):
        raise InputError(
            f"Triton takes no model named {excerpt(name)}; allowed: letters, digits and . _ -, a letter or digit first"
        )
    known = Manifest.load(served)
    model, folder = into / name, into / name / str(version)
    if folder.exists():
        raise InputError(f"{folder} is there already; give the next version")
    beside = model / f".{version}.new"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for file in (*known.files, manifest.NAME):
        (beside / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(served / file, beside / file)
    # One line a label: Triton numbers them by their lines.
    (model / LABELS).write_text(
        "".join(" ".join(label.split()) + "\n" for label in known.labels), encoding="utf-8"
    )
    (model / "config.pbtxt").write_text(config(name, known), encoding="utf-8")
    beside.rename(folder)
    return model


def config(name: str, served: Manifest) -> str:
    """The text of a config.pbtxt: input_ids int64 [batch, length] in, none of them padding, logits float32 [batch, classes] out.

    Triton joins requests of one length alone: others would need padding, which the graph does not know. Variants whose answers would
    depend on the other texts of a batch are run text by text, as they were when they were chosen.
    """
    alone = served.variant in ONE_TEXT_PER_RUN
    batching = "" if alone else f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY} }}\n"
    on_gpu = served.variant == "fp16"
    parameters = {} if on_gpu else {"intra_op_thread_count": "1"}
    if served.truncation != HEAD:
        # For clients, which tokenize: a tokenizer's own truncation keeps the head.
        parameters |= {"truncation": served.truncation, "max_length": str(served.max_length)}
    shown = "".join(
        f'parameters {{\n  key: "{key}"\n  value: {{ string_value: "{value}" }}\n}}\n'
        for key, value in parameters.items()
    )
    return f"""name: "{name}"
backend: "onnxruntime"
max_batch_size: {1 if alone else BATCH}
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
