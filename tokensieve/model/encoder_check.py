"""Check the base model against the settings before anything is trained.

Errors that would otherwise occur in a later stage, or only when the model is served, are reported
here in one line. The model is built without its weights, so the check is fast and needs little
memory.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel, PreTrainedTokenizerFast

from tokensieve.errors import InputError, excerpt
from tokensieve.model.encoder import choose_pooling, encoder_layers, load_base_tokenizer, quiet_transformers
from tokensieve.model.prompt import includes_prompt, kept_prompt
from tokensieve.settings import Settings

# Bytes of the weights in an ONNX graph, at most. A graph is one protobuf message of at most 2 GiB,
# and 64 MiB of that are left for everything but weights.
LARGEST_GRAPH = 2**31 - 2**26
BYTES = 4  # of a weight in float32


@dataclass(frozen=True)
class Base:
    """A base model that passed the check.

    `positions` is the maximum number of tokens that it can read; None if there is no limit.
    `prompt` is the text that the tokenizer puts in front of every text; empty if there is none.
    """

    tokenizer: PreTrainedTokenizerFast
    positions: int | None
    prompt: str


def check_base(folder: Path, settings: Settings) -> Base:
    """Check the base model in `folder`.

    Raises:
        InputError: If its weights, family, tokenizer or pooling are not supported, if it is too
            large for an ONNX file, if it cannot read `base.max_length` tokens, or if the prompt is
            not possible.
    """
    name = settings.base.model
    _refuse_without_weights(folder, name)
    _refuse_foreign_code(folder, name)
    choose_pooling(folder, settings.base.pooling)
    tokenizer = load_base_tokenizer(folder, settings.base.prompt)
    encoder = _without_weights(folder, name)
    _refuse_large(encoder, settings)
    rows = encoder.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise InputError(
            f"base.model {excerpt(name)} has {len(tokenizer):,} tokens in its tokenizer and {rows:,} in its "
            "weights; they belong to different models: download the model again"
        )
    encoder_layers(encoder)
    positions = positions_of(encoder)
    if positions is not None and settings.base.max_length > positions:
        raise InputError(
            f"base.max_length is {settings.base.max_length}; allowed for base.model {excerpt(name)}: 4 to "
            f"{positions}, its number of positions"
        )
    if prompt := kept_prompt(tokenizer.backend_tokenizer):
        _refuse_prompt(folder, prompt, tokenizer.num_special_tokens_to_add(), positions, settings)
    return Base(tokenizer, positions, prompt)


def positions_of(encoder: nn.Module) -> int | None:
    """Return the maximum number of tokens that the encoder can read; None if it has no limit.

    Model families like RoBERTa number positions from the padding token's id + 1 on. So their table
    of positions has more rows than there are positions.
    """
    stated = getattr(encoder.config, "max_position_embeddings", None)
    found = [stated] if isinstance(stated, int) and stated > 0 else []
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Embedding) and "position" in name:
            found.append(
                module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
            )
    return min(found, default=None)


def _refuse_without_weights(folder: Path, name: str) -> None:
    if any(folder.glob("*.safetensors")):
        return
    kinds = (
        "from transformers import AutoModel, AutoTokenizer; "
        "[kind.from_pretrained('MODEL').save_pretrained('FOLDER')"
    )
    raise InputError(
        f"base.model {excerpt(name)} has no .safetensors file, and a pytorch_model.bin, which can hold code, "
        "is not read; convert it once: "
        f'python -c "{kinds} for kind in (AutoModel, AutoTokenizer)]", then set base.model=FOLDER'
    )


def _refuse_foreign_code(folder: Path, name: str) -> None:
    config = _json(folder / "config.json")
    kind = config.get("model_type")
    if kind in CONFIG_MAPPING:
        return
    if "auto_map" in config:
        raise InputError(
            f"base.model {excerpt(name)} needs code of its own (trust_remote_code), which is never run; "
            "choose a model of a family that transformers has"
        )
    raise InputError(
        f"base.model {excerpt(name)} is of type {excerpt(kind)}, which transformers "
        f"{transformers.__version__} does not have; choose another model, or install a newer transformers"
    )


def _without_weights(folder: Path, name: str) -> Any:
    """Return the encoder on the meta device, which has shapes but no values."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with quiet_transformers(), torch.device("meta"):
            encoder = AutoModel.from_config(config, trust_remote_code=False)
    except Exception as error:  # each family raises its own
        reason = " ".join(str(error).split())
        raise InputError(
            f"base.model {excerpt(name)} cannot be built ({type(error).__name__}: {excerpt(reason)}); choose "
            "another"
        ) from None
    takes = inspect.signature(encoder.forward).parameters
    if config.is_encoder_decoder or not {"input_ids", "inputs_embeds", "attention_mask"} <= set(takes):
        what = "an encoder with a decoder" if config.is_encoder_decoder else "no text encoder"
        raise InputError(
            f"base.model {excerpt(name)} of type '{config.model_type}' is {what}, which is not supported; "
            "choose an encoder such as BERT, RoBERTa, MPNet or ModernBERT, or a decoder such as Qwen2"
        )
    return encoder


def _refuse_large(encoder: Any, settings: Settings) -> None:
    width = encoder.config.hidden_size
    size = BYTES * (
        sum(parameter.numel() for parameter in encoder.parameters()) + settings.vocabulary.new_tokens * width
    )
    if size > LARGEST_GRAPH:
        raise InputError(
            f"base.model {excerpt(settings.base.model)} has {size / BYTES / 1e6:,.0f} million parameters; "
            f"its ONNX graph would take {size / 1e9:.1f} GB, and an ONNX file holds at most "
            f"{LARGEST_GRAPH / 1e9:.1f} GB: choose a model of at most {LARGEST_GRAPH // BYTES // 10**6} "
            "million parameters"
        )


def _refuse_prompt(folder: Path, prompt: str, tokens: int, positions: int | None, settings: Settings) -> None:
    """Refuse a prompt that is too long, or that the model's pooling leaves out, as INSTRUCTOR's do.

    `tokens` is the number of tokens of the prompt and the special tokens. `positions` is that of
    `Base`.
    """
    name, most = excerpt(prompt), settings.base.max_length
    if 2 * tokens >= most:  # each half of a text truncated to head and tail must have tokens of the text
        least = 2 * tokens + 1
        longer = "" if positions is not None and least > positions else f"set base.max_length={least}, or "
        raise InputError(
            f"base.prompt {name} and the special tokens are {tokens} of base.max_length={most} tokens, and "
            f"must be less than half of them; {longer}shorten the prompt"
        )
    is_mean = settings.base.pooling == "auto" and choose_pooling(folder) == "mean"
    if is_mean and not includes_prompt(folder):
        raise InputError(
            f"base.prompt is {name}, and the base model's pooling leaves out the tokens of a prompt "
            "(include_prompt in 1_Pooling/config.json), which is not supported; set base.prompt=none, or "
            "base.pooling=mean, which includes them"
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); download the model again") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path} contains {excerpt(tree)} instead of an object; download the model again")
    return tree
