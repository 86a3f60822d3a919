"""Positions at which a long text can be cut so that the tokens before the cut stay the same.

A cut is between words: after a letter or digit, and before a space, a line break or a punctuation
mark. The known normalizers and pre-tokenizers separate there, whatever follows. No token of the
model and no added token extends over a cut. So the tokens of the text before a cut are the first
tokens of the whole text. For a tokenizer with any other part, for example an unknown regular
expression, `find_cut_points` returns None.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tokenizers

MARKS = string.punctuation + "，。！？；：、"
SPACE = "▁"  # SentencePiece's character for a space
# Normalizers that change single characters, or a character with the combining marks after it.
NORMALIZERS = (
    "BertNormalizer",
    "ByteLevel",
    "Lowercase",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Nmt",
    "Precompiled",
    "Prepend",
    "Strip",
    "StripAccents",
)
WORDS = ("BertPreTokenizer", "Whitespace")  # these separate at spaces and at punctuation
# These separate at more places, which depend on a character and its neighbour.
LOCAL = ("Digits", "Punctuation", "UnicodeScripts")
# The expressions of GPT-2, Qwen2, Llama 3 and o200k. In all of them, a sequence of letters or of
# digits ends before a space or a mark.
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
EXPRESSIONS = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    *(
        rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{number}{_REST}"
        for number in (r"\p{N}", r"\p{N}{1,3}", r"\p{N}+")
    ),
)
RUNS = (" {2,}", r"\s+", " +")  # expressions for several spaces, which become one space
CATEGORIES = ("Lu", "Ll", "Lo", "Nd")
# Letters that form one grapheme with a neighbour: the dot reph of Malayalam, and the vowels am of
# Thai and Lao.
JOINING = "\u0d4e\u0e33\u0eb3"
SAMPLES = (
    "a b",
    "Hello world, it is 12345 o'clock",
    "One two three. Four: five; six",
    "über größer ждать, слово 語 x",
)


@dataclass(frozen=True)
class CutPoints:
    """The positions at which texts of a tokenizer can be cut.

    Attributes:
        marks: The punctuation marks before which the tokenizer separates.
        lines: It also separates at line breaks and tabs.
    """

    marks: str
    lines: bool

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        spaces = r"[ \n\r\t]" if self.lines else " "
        marks = rf"|[{re.escape(self.marks)}]" if self.marks else ""
        return re.compile(rf"(?<=[^\W_])(?:{spaces}(?=[^\W_]){marks})")

    def after(self, text: str, start: int) -> int | None:
        """Return the first position from `start` on at which `text` can be cut; None if none."""
        for match in self._pattern.finditer(text, start):
            at = match.start()
            if _plain(text[at - 1]) and (text[at] in self.marks or _plain(text[at + 1])):
                return at
        return None


def find_cut_points(tokenizer: tokenizers.Tokenizer) -> CutPoints | None:
    """Return the cut points of a tokenizer; None if they are not known."""
    tree = json.loads(tokenizer.to_str())
    added = [token["content"] for token in tree["added_tokens"]]
    found = _separating(tree["pre_tokenizer"])
    is_known = (
        all(_local(part) for part in _members(tree["normalizer"], "normalizers"))
        and not any(re.search(rf"\w[\s{SPACE}Ġ]", content) for content in added)
        and tree["model"]["type"] in ("WordPiece", "BPE", "Unigram", "WordLevel")
        and not tree["model"].get("dropout")
    )
    if not is_known or found is None:
        return None
    if found == "nothing" and not _closed(tree):
        return None
    reached = set("".join(re.sub(r"^.", "", content, flags=re.DOTALL) for content in added))
    marks = "".join(sorted(set(MARKS) - set("'_") - reached)) if found == "words" else ""
    cut_points = CutPoints(marks, lines=found == "words")
    return cut_points if _keep_tokens(tokenizer, cut_points) else None


def _plain(character: str) -> bool:
    """Return whether a character is a letter or a digit that stays as it is.

    No normalizer joins it with a neighbour or replaces it by a space.
    """
    if character.isascii():
        return character.isalnum()
    known = unicodedata.category(character) in CATEGORIES and character not in JOINING
    return known and character < "\U00010000" and unicodedata.is_normalized("NFKC", character)


def _members(part: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    if part is None:
        return []
    return (
        [inner for member in part[key] for inner in _members(member, key)]
        if part["type"] == "Sequence"
        else [part]
    )


def _local(normalizer: dict[str, Any]) -> bool:
    if normalizer["type"] != "Replace":
        return normalizer["type"] in NORMALIZERS
    pattern, content = normalizer["pattern"], normalizer["content"]
    if "Regex" in pattern:
        return pattern["Regex"] in RUNS and content in (" ", SPACE)
    if pattern["String"] == " ":
        return content in (" ", SPACE)
    return not re.search(r"[\w\s]", pattern["String"])


def _separating(pre_tokenizer: dict[str, Any] | None) -> str | None:
    """Return where a pre-tokenizer separates a text; None if that is not known.

    It is "words" (at spaces and punctuation), "spaces" or "nothing".
    """
    found = "nothing"
    for part in _members(pre_tokenizer, "pretokenizers"):
        kind = part["type"]
        if kind in WORDS or (kind == "ByteLevel" and part.get("use_regex", True)):
            found = "words"
        elif kind == "Split" and part["pattern"].get("Regex") in EXPRESSIONS:
            # If matches are isolated or removed, they do not depend on the text around them.
            if (
                part["behavior"] not in ("Isolated", "Removed")
                or (part["behavior"] == "Removed") != part["invert"]
            ):
                return None
            found = "words"
        elif kind == "WhitespaceSplit" or (kind == "Metaspace" and part.get("split", True)):
            found = found if found == "words" else "spaces"
        elif kind not in (*LOCAL, "ByteLevel", "Metaspace") and not (
            kind == "Split" and part["pattern"].get("String") == " "
        ):
            return None
    return found


def _closed(tree: dict[str, Any]) -> bool:
    """Return whether no token has a space after another character.

    This is for a model to which the whole text is one word.
    """
    replaced = [part for part in _members(tree["normalizer"], "normalizers") if part["type"] == "Replace"]
    if not any(part["pattern"].get("String") == " " and part["content"] == SPACE for part in replaced):
        return False
    vocabulary = tree["model"]["vocab"]
    tokens = vocabulary if isinstance(vocabulary, dict) else [token for token, _ in vocabulary]
    return SPACE in tokens and not any(re.search(f"[^{SPACE}]{SPACE}", token) for token in tokens)


def _keep_tokens(tokenizer: tokenizers.Tokenizer, cut_points: CutPoints) -> bool:
    """Return whether the samples, cut at any cut point, keep the first tokens of the whole."""
    for sample in SAMPLES:
        whole = tokenizer.encode(sample, add_special_tokens=False)
        if whole.overflowing:
            continue
        at = cut_points.after(sample, 1)
        while at is not None:
            ids = tokenizer.encode(sample[:at], add_special_tokens=False).ids
            if whole.ids[: len(ids)] != ids:
                return False
            at = cut_points.after(sample, at + 1)
    return True
