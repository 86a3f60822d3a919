"""The prompt: a fixed text in front of every text, as some encoders were trained ("query: ").

It becomes part of the tokenizer, as fixed tokens after those at the beginning of a text. So
training, the ONNX model and explanations have it without code of their own. It is never truncated,
and the spans of words in a text stay right.

Many tokenizers have another token for a word after a space than for the same word at the beginning.
For these, the space at the end of the prompt is put in front of the text instead, by a
pre-tokenizer. All this is used only if it gives the tokens of the prompt and the text together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, pre_tokenizers, processors

from tokensieve.errors import InputError, excerpt
from tokensieve.inference.prompt import MARKER, prompt_of, token_name

FACTS = "config_sentence_transformers.json"
# Beginnings of texts: letters, digits, marks and other scripts, without white space.
SAMPLES = (
    *("hello world", "Hello", "THE card", "5 items", "2024-01-31", "a", "I'd say", "über", "ждать", "語"),
    *("?", "...", "(no)", ")", "'s", '"yes"', "-1", "/a", "@a", "#1", "=a", ":a", "D", "€5", "😀", "_a"),
    *("a  b", "a\nb"),
)


def choose_prompt(folder: Path, wanted: str) -> str:
    """Return the prompt to use; empty for none.

    Args:
        folder: The folder of the base model.
        wanted: The setting base.prompt. With auto, it is the default prompt that the files of
            sentence-transformers declare.

    Raises:
        InputError: If these files are damaged.
    """
    if wanted != "auto":
        return "" if wanted == "none" else wanted
    prompts, default = _declared(folder)
    return prompts[default] if default else ""


def prompt_note(folder: Path, wanted: str, used: str) -> str:
    """Return a message on the prompt that auto chooses or leaves out; empty if the model has none.

    The arguments are those of `choose_prompt`, and `used`, the prompt of the tokenizer.

    Raises:
        InputError: If the files of sentence-transformers are damaged.
    """
    if wanted != "auto":
        return ""
    prompts, default = _declared(folder)
    if used and used == prompts.get(default):
        return (
            f"the base model's default prompt {excerpt(used)} is put in front of every text; "
            "base.prompt=none leaves it out"
        )
    if used:
        return (
            f"the prompt {excerpt(used)}, from an earlier training of the base model, is put in front of "
            "every text"
        )
    named = [f"{excerpt(text)} ({name})" for name, text in prompts.items() if text]
    if not named:
        return ""
    return (
        f"the base model has prompts of which none is the default, so none is used: {', '.join(named)}; "
        "set base.prompt to one of these texts if it suits"
    )


def add_prompt(tokenizer: Tokenizer, prompt: str) -> None:
    """Put `prompt` in front of every text that `tokenizer` gets.

    The tokens are those of the prompt and the text together. They may differ for a text that begins
    with white space or an added token.

    Raises:
        InputError: If the prompt has no tokens, or the tokenizer joins the end of the prompt with
            the beginning of some texts.
    """
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    if not plain.encode(prompt, add_special_tokens=False).ids:
        raise InputError(
            f"base.prompt is {excerpt(prompt)}, which has no tokens for the tokenizer of base.model; set a "
            'text such as "query: ", or base.prompt=none'
        )
    # With a letter or digit before it, the first word of a text would be part of a longer one.
    for lead in () if prompt[-1].isalnum() else ("", " "):
        changed = _prompted(plain, prompt, lead) if prompt.endswith(lead) else None
        if changed and all(changed.encode(text).ids == plain.encode(prompt + text).ids for text in SAMPLES):
            _copy_prompt(changed, tokenizer)
            return
    remedy = "choose another text" if prompt.endswith(" ") else "end it with a space"
    raise InputError(
        f"base.prompt is {excerpt(prompt)}, and the tokenizer of base.model would join its end with the "
        f"beginning of a text; {remedy}, or set base.prompt=none"
    )


def kept_prompt(tokenizer: Tokenizer) -> str:
    """Return the prompt that `tokenizer` puts in front of every text; empty if there is none."""
    return prompt_of(tokenizer.to_str().encode())


def restore_prompt(tokenizer: Tokenizer, path: Path) -> None:
    """Give `tokenizer` the prompt of the tokenizer.json that it was loaded from, if it has one.

    For some families, transformers makes these parts anew when it loads a tokenizer.
    """
    text = path.read_text(encoding="utf-8")
    if MARKER in text:
        _copy_prompt(Tokenizer.from_str(text), tokenizer)


def includes_prompt(folder: Path) -> bool:
    """Return whether the model's pooling includes the tokens of its prompt."""
    path = folder / "1_Pooling" / "config.json"
    return not path.exists() or json.loads(path.read_text(encoding="utf-8")).get("include_prompt", True)


def _declared(folder: Path) -> tuple[dict[str, str], str]:
    """Return the prompts by name, and the name of the default one, empty if there is none.

    Raises:
        InputError: If the file is damaged.
    """
    path = folder / FACTS
    if not path.exists():
        return {}, ""
    remedy = "download the model again, or set base.prompt"
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        prompts, default = dict(tree.get("prompts") or {}), tree.get("default_prompt_name") or ""
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}); {remedy}") from None
    if not all(isinstance(text, str) for text in prompts.values()):
        raise InputError(f"{path} has a prompt that is not text; {remedy}")
    if default and default not in prompts:
        raise InputError(f"{path} has no prompt named {excerpt(default)}, its default; {remedy}")
    return prompts, default


def _copy_prompt(source: Tokenizer, target: Tokenizer) -> None:
    target.pre_tokenizer, target.post_processor = source.pre_tokenizer, source.post_processor


def _prompted(plain: Tokenizer, prompt: str, lead: str) -> Tokenizer | None:
    """Return a copy of `plain` that adds the prompt.

    `lead`, the end of the prompt, is added to the text instead; it is empty or a space. Return None
    if the tokens of the text are not the last ones of prompt and text together.
    """
    text = SAMPLES[0]
    whole, own = (plain.encode(part, add_special_tokens=False).ids for part in (prompt + text, lead + text))
    fixed = whole[: len(whole) - len(own)]
    if not fixed or [*fixed, *own] != whole:
        return None
    changed = Tokenizer.from_str(plain.to_str())
    if lead:
        space = pre_tokenizers.Metaspace(" ", prepend_scheme="first", split=False)
        parts = [space, *([plain.pre_tokenizer] if plain.pre_tokenizer else [])]
        changed.pre_tokenizer = pre_tokenizers.Sequence(parts)
    name = token_name(prompt)
    changed.post_processor = processors.Sequence(
        [*_offset_rules(plain, lead), _template(plain, text, name, fixed)]
    )
    return changed


def _template(plain: Tokenizer, text: str, name: str, fixed: list[int]) -> processors.TemplateProcessing:
    """Return the template of `plain`: its special tokens, and now `fixed` before the text.

    `name` is that of the tokens `fixed`.
    """
    found = plain.encode(text)
    inside = [place for place, special in enumerate(found.special_tokens_mask) if not special]
    before, after = found.ids[: inside[0]], found.ids[inside[-1] + 1 :]
    names = {token: f"special-{token}" for token in (*before, *after)}
    start, end = [*(names[token] for token in before), name], [names[token] for token in after]
    tokens = {name: fixed, **{special: [token] for token, special in names.items()}}
    return processors.TemplateProcessing(
        single=[*start, "$A", *end],
        pair=[*start, "$A", *end, "$B", *end],
        special_tokens=[
            {"id": own, "ids": ids, "tokens": [plain.id_to_token(token) for token in ids]}
            for own, ids in tokens.items()
        ],
    )


def _offset_rules(plain: Tokenizer, lead: str) -> Iterator[processors.ByteLevel]:
    """Yield the part of the present post-processor that takes spaces out of the spans of tokens."""
    tree = json.loads(plain.to_str())["post_processor"] or {}
    for part in tree["processors"] if tree.get("type") == "Sequence" else [tree]:
        if part.get("type") in ("ByteLevel", "RobertaProcessing"):
            # A space from `lead` is not in the text, so it is not taken out.
            first = bool(lead) or part["add_prefix_space"]
            yield processors.ByteLevel(add_prefix_space=first, trim_offsets=part["trim_offsets"])
