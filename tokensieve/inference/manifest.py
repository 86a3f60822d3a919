"""The manifest of a model folder: the labels, the decision rule, and the hashes of its files.

It is written last, so a folder with a manifest is complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokensieve.cleaning import HTML, NONE
from tokensieve.errors import InputError, excerpt
from tokensieve.files import sha256, write_text
from tokensieve.inference.listed_files import are_hashes, check_files, read_files
from tokensieve.project import Layout
from tokensieve.settings import VARIANTS
from tokensieve.text_rule import TextRule
from tokensieve.truncation import HEAD, HEAD_TAIL

if TYPE_CHECKING:
    from tokensieve.inference.decisions import DecisionRule

FORMAT = 3
# The formats for a model that does not read the head of a long text, and for one with a rule for
# its texts. Older versions refuse them.
TRUNCATING, RULED = 4, 5
NAME = "manifest.json"
MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
LARGEST = 2**24  # bytes of a manifest
MOST = 1e300  # the largest number: much larger integers do not fit into a float


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -MOST < value < MOST


def _text(value: Any) -> bool:
    # JSON allows half a surrogate pair, but a response with it cannot be encoded.
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


# For each value, a check and a description of what is allowed. For isinstance, a bool is an int,
# and json accepts NaN: `_number` refuses both.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "labels": (
        lambda v: isinstance(v, list) and len(v) >= 2 and all(_text(x) for x in v),
        "a list of at least two names, in UTF-8",
    ),
    # Logits divided by smaller or larger numbers are all equal, or not finite.
    "temperature": (lambda v: _number(v) and 1e-6 <= v <= 1e6, "a number from 1e-06 to 1000000"),
    "threshold": (lambda v: _number(v) and 0 <= v <= 1, "a number from 0 to 1"),
    "margin": (lambda v: _number(v) and 0 <= v <= 1, "a number from 0 to 1"),
    "max_length": (
        lambda v: type(v) is int and 4 <= v <= 2**20,
        "a whole number, at least 4 and at most 1048576",
    ),
    "data_hash": (_text, "text"),
    "base": (_text, "text"),
    "thresholds": (
        lambda v: isinstance(v, list) and all(_number(x) and 0 < x < 1 for x in v),
        "a list of numbers between 0 and 1",
    ),
    "parity": (lambda v: isinstance(v, dict) and all(_number(x) for x in v.values()), "names with numbers"),
    "variant": (lambda v: isinstance(v, str) and v in VARIANTS, f"one of {', '.join(VARIANTS)}"),
    "files": (are_hashes, "names of files inside the folder, each with its SHA-256"),
    "truncation": (lambda v: v in (HEAD, HEAD_TAIL), f"{HEAD} or {HEAD_TAIL}"),
    "clean": (lambda v: v in (NONE, HTML), f"{NONE} or {HTML}"),
    "text_columns": (
        lambda v: isinstance(v, list) and len(v) != 1 and all(map(_text, v)) and len(set(v)) == len(v),
        "a list of at least two different names, in UTF-8",
    ),
    "int8_bits": (lambda v: v in (7, 8), "7 or 8"),
}
# Values that a manifest has only if they differ from the default.
OPTIONAL = {"truncation": HEAD, "text_columns": (), "clean": NONE, "int8_bits": 7}


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
        labels: The labels, in the order of the logits.
        temperature, threshold, margin, thresholds: As in `decisions.DecisionRule`.
        max_length: The maximum number of tokens that the model reads of a text.
        data_hash: The hash of the data that the model was trained on.
        base: The name of the base model.
        parity: Measurements of the agreement of the exported model with PyTorch.
        files: The SHA-256 of each file by its name. `save` sets it.
        variant: The variant of the graph; fp16 needs a GPU.
        truncation: The part that is read of a longer text (`truncation.py`).
        clean: What is stripped from the texts (`text_rule.py`).
        text_columns: The columns of which the texts are joined (`text_rule.py`); empty for one.
        int8_bits: 8 if the graph has int8 weights that only some processors multiply exactly
            (`processor.py`), otherwise 7.
    """

    labels: tuple[str, ...]
    temperature: float
    threshold: float
    max_length: int
    data_hash: str
    base: str
    parity: Mapping[str, float]
    files: Mapping[str, str] = field(default_factory=dict)
    thresholds: tuple[float, ...] = ()
    margin: float = 0.0
    variant: str = "fp32"
    truncation: str = HEAD
    text_columns: tuple[str, ...] = ()
    clean: str = NONE
    int8_bits: int = 7

    @property
    def text_rule(self) -> TextRule:
        """How a row becomes a text."""
        return TextRule(self.text_columns, self.clean)

    @property
    def rule(self) -> DecisionRule:
        """The rule that turns the model's logits into labels and certainty."""
        from tokensieve.inference.decisions import DecisionRule  # with numpy, which a registry does without

        return DecisionRule(self.temperature, self.threshold, self.margin, self.thresholds)

    def save(self, folder: Path) -> None:
        """Write the manifest of `folder` atomically, with the hashes of its files.

        These are the model, the tokenizer and the files in `files`.
        """
        names = sorted({MODEL, TOKENIZER, *self.files})
        version = FORMAT if self.truncation == HEAD else TRUNCATING
        version = version if self.text_rule == TextRule() else RULED
        tree = {"format": version, **self.tree(), "files": {name: sha256(folder / name) for name in names}}
        write_tree(folder / NAME, tree)

    def tree(self) -> dict[str, Any]:
        """Return the values as a JSON object, without those of `OPTIONAL` that are the default."""
        values = asdict(self).items()
        return {name: value for name, value in values if name not in OPTIONAL or value != OPTIONAL[name]}

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Load the manifest of a model folder and check the files that it lists.

        Raises:
            InputError: If there is no manifest, if its format or a value is not allowed, or if
                `check_files` raises it.
        """
        manifest = cls._read(folder)
        check_files(folder, manifest.files, NAME)
        return manifest

    @classmethod
    def load_with_files(cls, folder: Path) -> tuple[Manifest, dict[str, bytes]]:
        """Return the manifest and the content of every file that it lists.

        Each file is read once, so the bytes that are used are those that were checked.

        Raises:
            InputError: If `load` would raise it.
        """
        manifest = cls._read(folder)
        return manifest, read_files(folder, manifest.files, NAME)

    @classmethod
    def _read(cls, folder: Path) -> Manifest:
        path = folder / NAME
        manifest = cls.from_tree(read_tree(path, FORMAT, TRUNCATING, RULED), path)
        if not manifest.files.keys() >= {MODEL, TOKENIZER}:
            raise InputError(
                f"{path}: files must have hashes of at least {MODEL} and {TOKENIZER}; export the model again"
            )
        return manifest

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], path: Path) -> Manifest:
        """Return the manifest with the values in `tree`, which come from the file `path`.

        Raises:
            InputError: If a value is missing or not allowed.
        """
        values = {}
        for spec in fields(cls):
            allowed, wanted = _RULES[spec.name]
            if spec.name in OPTIONAL and spec.name not in tree:
                continue
            if spec.name not in tree:
                raise InputError(f"{path} lacks '{spec.name}'; export the model again")
            if not allowed(tree[spec.name]):
                raise InputError(
                    f"{path}: {spec.name} is {excerpt(tree[spec.name])}; it must be {wanted}: export the "
                    "model again"
                )
            values[spec.name] = tree[spec.name]
        if len(values["thresholds"]) not in (0, len(values["labels"])):
            numbers = f"{len(values['thresholds'])} thresholds for {len(values['labels'])} labels"
            raise InputError(f"{path} has {numbers}; export the model again")
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**values | lists)


def write_tree(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a manifest that `read_tree` reads, atomically."""
    write_text(path, json.dumps(tree, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def no_manifest(path: Path) -> InputError:
    """Return the error for a folder without the manifest `path`, for example a project."""
    folder, exported = path.parent, Layout(path.parent).onnx
    if (exported / NAME).exists():
        return InputError(f"{folder} is a project, not an exported model; use {exported}")
    if Layout(folder).params.exists():
        return InputError(
            f"{folder} is a project without an exported model; create one with tokensieve run --project "
            f"{folder}"
        )
    return InputError(
        f"{folder} has no {path.name}, which an export writes last; give the folder of a finished export"
    )


def read_tree(path: Path, *versions: int) -> dict[str, Any]:
    """Return the JSON object in a manifest file.

    Raises:
        InputError: If there is no such file, if it is not a JSON object, or if its format is not
            one of `versions`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise InputError(f"{path} is larger than {LARGEST // 2**20} MiB; export the model again")
        tree = json.loads(content.decode("utf-8"))
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise no_manifest(path) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); make it readable, or give another folder"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); export the model again") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path} is {excerpt(tree)}; it must be one object: export the model again")
    if tree.get("format") not in versions:
        found, known = excerpt(tree.get("format")), ", ".join(map(str, versions))
        raise InputError(
            f"{path} has format {found}, this version reads {known}; export again, or install the version "
            "that exported it"
        )
    return tree
