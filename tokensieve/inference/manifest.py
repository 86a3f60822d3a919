"""The manifest of a served folder: what the model answers with, and the hashes that say its files are whole.

It is written last, so its presence means that the folder is complete.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokensieve.errors import InputError, excerpt
from tokensieve.files import sha256, write_text
from tokensieve.inference.external_data import external_files, referred
from tokensieve.settings import VARIANTS
from tokensieve.truncation import HEAD, HEAD_TAIL

if TYPE_CHECKING:
    from tokensieve.inference.decisions import DecisionRule

FORMAT = 3
# Of a model that reads a long text in another way: a version that does not know of it refuses the format.
TRUNCATING = 4
NAME = "manifest.json"
MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
# A manifest may come from anywhere: no file that it names may be outside its folder.
FILE = r"\w[\w.-]*(/\w[\w.-]*)*"
LARGEST = 2**24  # bytes of a manifest
MOST = 1e300  # of a number: larger whole numbers are no floats


def inside(name: Any) -> bool:
    """Return whether `name` is a relative path of plain names: it cannot lead out of a folder."""
    return isinstance(name, str) and re.fullmatch(FILE, name) is not None


def listed(files: Any) -> bool:
    """Return whether `files` is what a manifest holds: the SHA-256 of each file by its name."""
    return isinstance(files, dict) and all(
        inside(name) and isinstance(sha, str) for name, sha in files.items()
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -MOST < value < MOST


def _text(value: Any) -> bool:
    # Half a surrogate pair is valid to json, and no answer that holds it can be encoded.
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


# A bool is an int to isinstance and NaN is valid to json, so both are kept out by hand.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "labels": (
        lambda v: isinstance(v, list) and len(v) >= 2 and all(_text(x) for x in v),
        "a list of at least two names, in UTF-8",
    ),
    # Outside of this, logits divided by it are all alike, or no numbers.
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
    "files": (listed, "names of files inside the folder, each with its SHA-256"),
    "truncation": (lambda v: v in (HEAD, HEAD_TAIL), f"{HEAD} or {HEAD_TAIL}"),
}


@dataclass(frozen=True)
class Manifest:
    """What stands in `manifest.json`. `files` holds a SHA-256 by file name; `save` fills it in.

    `thresholds`: for a model that gives any number of labels, the probability from which each is given; empty for one that gives one.
    `variant`: which build of the graph the model is; fp16 needs a GPU.
    `threshold`: the confidence below which an answer, of either kind, is uncertain. `margin`: so is one of one label that leads the
    second by less. `truncation`: what is kept of a text with more tokens than `max_length` (see `truncation.py`).
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

    @property
    def rule(self) -> DecisionRule:
        """The rule that turns the model's logits into labels and certainty."""
        from tokensieve.inference.decisions import DecisionRule  # with numpy, which a registry does without

        return DecisionRule(self.temperature, self.threshold, self.margin, self.thresholds)

    def save(self, folder: Path) -> None:
        """Write `folder`'s manifest, beside and then renamed, with the hashes of its files as they stand now.

        Hashed are the model, the tokenizer and any other file that `files` names.
        """
        names = sorted({MODEL, TOKENIZER, *self.files})
        version = FORMAT if self.truncation == HEAD else TRUNCATING
        tree = {"format": version, **self.tree(), "files": {name: sha256(folder / name) for name in names}}
        write_tree(folder / NAME, tree)

    def tree(self) -> dict[str, Any]:
        """Return the values as JSON holds them. Truncation at the head is left out: it is what an absent value means."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("truncation", HEAD)}

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """The manifest of a served folder, every file it lists being there and unchanged.

        Raises:
            InputError: no manifest, one of another format or with a bad value, or a listed file that is missing or changed.
        """
        manifest = cls._read(folder)
        verify(folder, manifest.files, NAME)
        return manifest

    @classmethod
    def load_with_files(cls, folder: Path) -> tuple[Manifest, dict[str, bytes]]:
        """Return the manifest and the content of every file it lists, read once: what was hashed is what is used.

        Raises:
            InputError: As `load`.
        """
        manifest = cls._read(folder)
        return manifest, contents(folder, manifest.files, NAME)

    @classmethod
    def _read(cls, folder: Path) -> Manifest:
        path = folder / NAME
        manifest = cls.of(read_tree(path, FORMAT, TRUNCATING), path)
        if not manifest.files.keys() >= {MODEL, TOKENIZER}:
            raise InputError(
                f"{path}: files must have hashes of at least {MODEL} and {TOKENIZER}; export the model again"
            )
        return manifest

    @classmethod
    def of(cls, tree: Mapping[str, Any], path: Path) -> Manifest:
        """The manifest in `tree`, which stands in the file at `path`. Raises InputError: a missing or a bad value."""
        values = {}
        for spec in fields(cls):
            allowed, wanted = _RULES[spec.name]
            if spec.name == "truncation" and spec.name not in tree:
                continue
            if spec.name not in tree:
                raise InputError(f"{path} lacks '{spec.name}'; export the model again")
            if not allowed(tree[spec.name]):
                raise InputError(
                    f"{path}: {spec.name} is {excerpt(tree[spec.name])}; it must be {wanted}: export the model again"
                )
            values[spec.name] = tree[spec.name]
        if len(values["thresholds"]) not in (0, len(values["labels"])):
            numbers = f"{len(values['thresholds'])} thresholds for {len(values['labels'])} labels"
            raise InputError(f"{path} holds {numbers}; export the model again")
        return cls(**values | {name: tuple(values[name]) for name in ("labels", "thresholds")})


def verify(folder: Path, files: Mapping[str, str], listed: str) -> None:
    """Check files by their SHA-256s, as the file `listed` has them, and that graphs take weights from no other file.

    Raises:
        InputError: If one is missing, cannot be read, or is another one, or if a graph takes weights from a file without a hash.
    """
    for name, expected in files.items():
        path = folder / name
        with _readable(path, listed):
            found = sha256(path)
        _refuse_other(path, found, expected, listed)
        _refuse_unlisted(name, path, external_files(path) if path.suffix == ".onnx" else (), files, listed)


def contents(folder: Path, files: Mapping[str, str], listed: str) -> dict[str, bytes]:
    """Check files as `verify` and return the content of each: a file may change between its check and its use.

    Raises:
        InputError: As `verify`.
    """
    found = {}
    for name, expected in files.items():
        path = folder / name
        with _readable(path, listed):
            content = path.read_bytes()
        _refuse_other(path, hashlib.sha256(content).hexdigest(), expected, listed)
        _refuse_unlisted(name, path, referred(content) if path.suffix == ".onnx" else (), files, listed)
        found[name] = content
    return found


@contextmanager
def _readable(path: Path, listed: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(
            f"{path} is missing, though {listed} lists it; copy the whole folder again"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); make it readable, or copy the whole folder again"
        ) from None


def _refuse_other(path: Path, found: str, expected: str, listed: str) -> None:
    if found != expected:
        raise InputError(
            f"{path} is not the file that {listed} lists (its SHA-256 differs); copy the whole folder again"
        )


def _refuse_unlisted(
    name: str, path: Path, others: Iterable[str], files: Mapping[str, str], listed: str
) -> None:
    for other in others:
        if (Path(name).parent / other).as_posix() not in files:
            raise InputError(
                f"{path} takes weights from {excerpt(other)}, which {listed} does not list; export the model again"
            )


def write_tree(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a manifest that `read_tree` reads, atomically."""
    write_text(path, json.dumps(tree, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_tree(path: Path, *versions: int) -> dict[str, Any]:
    """The object in a manifest file. Raises InputError: no such file, no JSON, no object, or a format that is none of `versions`."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise InputError(f"{path} is larger than {LARGEST // 2**20} MiB; export the model again")
        tree = json.loads(content.decode("utf-8"))
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path.parent} holds no {path.name}, which an export writes last; give the folder of a finished export"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); make it readable, or give another folder"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); export the model again") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path} holds {excerpt(tree)}; it must be one object: export the model again")
    if tree.get("format") not in versions:
        found, known = excerpt(tree.get("format")), " and ".join(map(str, versions))
        raise InputError(
            f"{path} has format {found}, this version reads {known}; export again, or install the version that exported it"
        )
    return tree
