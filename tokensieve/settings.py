"""Every setting, once: a frozen dataclass a stage. `params.yaml` is rendered from them and read back into them.

Not here: command-line flags, credentials (environment variables of each vendor) and paths (`project.py`).
"""

from __future__ import annotations

import difflib
import functools
import logging
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from tokensieve.errors import InputError, excerpt
from tokensieve.files import check_no_conflict_markers, write_text
from tokensieve.truncation import HEAD, HEAD_TAIL

log = logging.getLogger("tokensieve")

CHECKS = (
    "columns",
    "empty",
    "unlabelled",
    "overlong",
    "control",
    "encoding",
    "classes",
    "class_size",
    "duplicate",
    "conflict",
    "leak",
    "unknown_label",
    "vanished_label",
    "truncated",
)

FORMAT_NAMES = ("csv", "tsv", "jsonl", "parquet", "arrow")

# Builds of the exported graph, the most exact first.
VARIANTS = ("fp32", "fused", "fp16", "blocks", "mixed", "int8")

# Settings of earlier versions: the new name, and the old default. `params.yaml` has every setting written out, so an old default
# there was not chosen, and the new default takes its place.
RENAMED = {
    "export.agreement": ("min_confident_agreement", 0.995),
    "export.loss": ("max_accuracy_drop", 0.003),
}

# YAML 1.1 reads 1e-3 as text; people and repr() write it so.
EXPONENT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")

# An expression, and the words for it. MLflow refuses names with / or :, and those that are paths, such as "..".
NAME = (r"[^\W_][\w .-]*", "letters, digits, spaces and . _ -, a letter or digit first")


def setting(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    among: tuple[str, ...] = (),
    pattern: tuple[str, str] | None = None,
) -> Any:
    """A dataclass field with the text that `params.yaml` shows for it and the values it allows."""
    return field(
        default=default,
        metadata={"about": about, "low": low, "high": high, "among": among, "pattern": pattern},
    )


@dataclass(frozen=True)
class Section:
    """Base of the sections: types and ranges are checked on construction, so a bad value cannot travel."""

    def __post_init__(self) -> None:
        kinds = _kinds(type(self))
        for spec in fields(self):
            key, value = f"{type(self).__name__.lower()}.{spec.name}", getattr(self, spec.name)
            object.__setattr__(self, spec.name, _coerced(key, value, kinds[spec.name], spec.metadata))


def _kinds(section: type[Section]) -> dict[str, tuple[Any, ...]]:
    hints = typing.get_type_hints(section)
    return {
        name: typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        for name, hint in hints.items()
    }


def _coerced(key: str, value: Any, kinds: tuple[Any, ...], limits: Mapping[str, Any]) -> Any:
    if value is None and type(None) in kinds:
        return None
    allowed = f"; allowed: {_allowed(limits)}" if _allowed(limits) else ""
    quotes = "; put it in quotes" if str in kinds and not limits["among"] else ""
    if (
        isinstance(value, int) and abs(value) >= 10**18
    ):  # too large for a float, and from 4,301 digits on for str() as well
        raise InputError(f"{key} is a number of more than 18 digits{quotes}{allowed}")
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if float in kinds and isinstance(value, str) and EXPONENT.fullmatch(value):
        value = float(value)
    if tuple[str, ...] in kinds:
        if not isinstance(value, (list, tuple)):
            raise InputError(
                f"{key} is {excerpt(value)}; give a list, for example [{', '.join(limits['among'][:2])}]{allowed}"
            )
        for item in value:
            if item not in limits["among"]:
                raise InputError(f"{key} holds {excerpt(item)}{allowed}")
        return tuple(value)
    if not any(isinstance(value, kind) and (kind is bool or not isinstance(value, bool)) for kind in kinds):
        wanted = " or ".join(
            {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(k, "null")
            for k in kinds
        )
        raise InputError(f"{key} is {excerpt(value)}; give {wanted}{quotes}{allowed}")
    if limits["among"] and value not in limits["among"]:
        raise InputError(f"{key} is {excerpt(value)}{allowed}")
    low, high = limits["low"], limits["high"]
    # Written so that NaN, which compares to nothing, is out of every range.
    if (
        isinstance(value, (int, float))
        and low is not None
        and not low <= value <= (math.inf if high is None else high)
    ):
        raise InputError(f"{key} is {value:g}{allowed}")
    if isinstance(value, str) and not value.strip():
        raise InputError(f"{key} is empty; give a text{allowed}")
    if limits["pattern"] and not re.fullmatch(limits["pattern"][0], value):
        raise InputError(f"{key} is {excerpt(value)}{allowed}")
    return value


@dataclass(frozen=True)
class Base(Section):
    """The pretrained encoder that every stage from the vocabulary on starts from."""

    model: str = setting(
        "sentence-transformers/all-MiniLM-L6-v2", "a local folder or a Hugging Face model id"
    )
    pooling: str = setting(
        "auto",
        "how token states become one vector; auto: as the model says",
        among=("auto", "mean", "cls", "last"),
    )
    max_length: int = setting(
        128, "tokens that are read per text; longer texts are truncated", low=4, high=8192
    )
    truncation: str = setting(
        HEAD,
        "what is kept of a longer text: its start, or its start and its end in equal parts",
        among=(HEAD, HEAD_TAIL),
    )


@dataclass(frozen=True)
class Data(Section):
    """Where texts and labels stand in the raw files, and the seed of everything."""

    text: str = setting("text", "column with the text")
    label: str = setting("label", "column with the label")
    format: str = setting(
        "auto",
        "format of data from a URL; auto: by its name, query or content type",
        among=("auto", *FORMAT_NAMES),
    )
    separator: str | None = setting(
        None,
        "null: one label a text; otherwise what separates the labels of a text, which may also have none",
    )
    unlabelled: str = setting(
        "refuse",
        "rows without a label: refuse the data, or drop these rows and count them",
        among=("refuse", "drop"),
    )
    shots: int | None = setting(None, "train on this many examples a class; null: on all", low=1)
    seed: int = setting(
        0, "seeds the split, the head, the masks and the order of batches", low=0, high=2**31 - 1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text == self.label:
            raise InputError(
                f"data.text and data.label are both {excerpt(self.text)}; give two different columns"
            )


@dataclass(frozen=True)
class Validate(Section):
    """What the data must hold before anything is trained on it."""

    min_examples: int = setting(2, "examples a class at least", low=2)
    max_classes: int = setting(1000, "classes at most", low=2)
    max_characters: int = setting(20_000, "characters a text at most", low=1)
    errors: tuple[str, ...] = setting(CHECKS[:8], "checks that stop the flow; the others warn", among=CHECKS)


@dataclass(frozen=True)
class Split(Section):
    """How examples are dealt to train, validation and test."""

    validation: float = setting(
        0.1, "share for validation, where no validation file is given", low=0.01, high=0.5
    )
    test: float = setting(0.2, "share for test, where no test file is given", low=0.01, high=0.5)


@dataclass(frozen=True)
class Vocabulary(Section):
    """Token constructs and the optional extension of the tokenizer."""

    constructs: int = setting(2000, "words and n-grams kept, the most informative first", low=1, high=100_000)
    ngram: int = setting(3, "words a construct at most", low=1, high=5)
    min_count: int = setting(2, "texts that must hold a construct", low=1)
    extend: int = setting(0, "new tokens at most; 0 leaves the tokenizer as it is", low=0, high=10_000)


@dataclass(frozen=True)
class Mask(Section):
    """Which of the encoder's own weights are trained."""

    score: str = setting(
        "tokens", "what ranks the weights", among=("tokens", "positions", "magnitude", "random")
    )
    shape: str = setting(
        "rows", "what is selected as a whole", among=("rows", "columns", "entries", "layers")
    )
    budget: float = setting(
        0.1, "share of the encoder's linear weights that is trained", low=0.0001, high=1.0
    )
    frozen: float = setting(
        0.33,
        "share of the layers, from the bottom, that never trains and is computed once",
        low=0.0,
        high=0.99,
    )
    cut: float = setting(
        0.67,
        "share of the layers, from the bottom, that does not train after the open epochs",
        low=0.0,
        high=0.99,
    )
    head: float = setting(
        0.4,
        "share of the epochs, the first, that trains the head alone; with several labels a text, all are open instead",
        low=0.0,
        high=1.0,
    )
    open: float = setting(
        0.3, "share of the epochs, the next, that is open: all but the frozen layers train", low=0.0, high=1.0
    )
    distance: float = setting(
        1.2,
        "all epochs are open if the top layer's probe errs so many times more often than a lower one's",
        low=1.0,
    )
    examples: int = setting(250, "training texts that are scored, at most half of them", low=1)


@dataclass(frozen=True)
class Finetune(Section):
    """The training of the masked weights and the head."""

    epochs: int = setting(10, "passes over the training texts at most", low=1, high=1000)
    steps: int = setting(1600, "steps after which no further epoch begins", low=1)
    patience: int = setting(3, "epochs without a better validation loss before it stops", low=1)
    batch: int = setting(32, "texts a step", low=1, high=4096)
    steps_per_epoch: int = setting(
        20, "steps an epoch has at least: of few texts, fewer are taken a step, but 8", low=1
    )
    learning_rate: float = setting(1e-3, "of the masked weights", low=0.0, high=1.0)
    head_learning_rate: float = setting(3e-3, "of the head", low=0.0, high=1.0)
    multilabel_head_learning_rate: float = setting(
        1.2e-2, "of the head where texts have several labels", low=0.0, high=1.0
    )
    weight_decay: float = setting(0.01, "of both", low=0.0, high=1.0)
    warmup: float = setting(0.1, "share of the steps over which the rates rise", low=0.0, high=1.0)
    class_weights: str = setting(
        "none", "balanced: rare classes count as much as frequent ones", among=("none", "balanced")
    )
    device: str = setting(
        "auto", "what trains; auto: a GPU if one works, otherwise the CPU", among=("auto", "cpu", "cuda")
    )
    threads: int = setting(0, "CPU threads of a process; 0: all cores", low=0, high=1024)
    processes: int = setting(
        1, "GPUs, or CPU processes; more than one are started with torchrun", low=1, high=1024
    )


@dataclass(frozen=True)
class Evaluate(Section):
    """How far the classifier is trusted."""

    coverage: float = setting(
        0.95, "share of the right answers that the confidence threshold is to keep", low=0.5, high=1.0
    )
    margin: float = setting(
        0.0,
        "lead in probability over the second label below which an answer is uncertain, too",
        low=0.0,
        high=1.0,
    )
    folds: int = setting(
        4,
        "with fewer than 100 validation texts, calibrate on the training texts too, left out in this many parts; 0: never",
        low=0,
        high=20,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds == 1:
            raise InputError(
                "evaluate.folds is 1, which leaves nothing to train on; use 0 to switch it off, or at least 2"
            )


@dataclass(frozen=True)
class Export(Section):
    """The ONNX model: the fastest of several builds that users cannot tell from PyTorch's model."""

    variants: tuple[str, ...] = setting(VARIANTS, "builds that race", among=VARIANTS)
    tolerance: float = setting(1e-3, "largest logit difference of fp32 and fused to torch", low=0.0, high=1.0)
    min_confident_agreement: float = setting(
        0.999,
        "share of the confident answers that must be PyTorch's, on all texts that were not trained on",
        low=0.9,
        high=1.0,
    )
    min_proven_agreement: float = setting(
        0.99,
        "what of that share the texts must prove (95% confidence); with fewer than 299 confident answers: fp32 or fused",
        low=0.0,
        high=0.9999,
    )
    max_accuracy_drop: float = setting(
        0.003,
        "accuracy that may be lost; more only if a paired test explains it by chance",
        low=0.0,
        high=0.1,
    )
    max_coverage_change: float = setting(
        0.01, "change of the share of confident answers; more only if explained by chance", low=0.0, high=1.0
    )
    max_calibration_rise: float = setting(0.01, "rise of the calibration error, at most", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.variants:
            raise InputError(f"export.variants is empty; give at least one of {', '.join(VARIANTS)}")


@dataclass(frozen=True)
class Register(Section):
    """Where runs and model versions are kept. Environment variable MLFLOW_TRACKING_URI goes before `uri`."""

    uri: str = setting(
        "sqlite:///mlflow.db", "MLflow tracking and registry; a relative SQLite path starts at the project"
    )
    experiment: str = setting("tokensieve", "experiment of the runs")
    name: str | None = setting(
        None, "registered model; null: named after the project's folder when it is first used", pattern=NAME
    )


@dataclass(frozen=True)
class Settings:
    """All sections. `Settings.load` reads `params.yaml`; absent keys take their defaults."""

    base: Base = field(default_factory=Base)
    data: Data = field(default_factory=Data)
    validate: Validate = field(default_factory=Validate)
    split: Split = field(default_factory=Split)
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    mask: Mask = field(default_factory=Mask)
    finetune: Finetune = field(default_factory=Finetune)
    evaluate: Evaluate = field(default_factory=Evaluate)
    export: Export = field(default_factory=Export)
    register: Register = field(default_factory=Register)

    @classmethod
    def of(cls, tree: Mapping[str, Any], source: str = "settings") -> Settings:
        """Settings from nested mappings.

        Raises:
            InputError: an unknown section or key, a value of the wrong type or out of range; it names all three.
        """
        kinds = sections()
        built: dict[str, Any] = {}
        for name, values in tree.items():
            if name not in kinds:
                raise InputError(
                    f"{source}: unknown section {excerpt(name)}{_hint(str(name), kinds)}; sections: {', '.join(kinds)}"
                )
            if not isinstance(values, Mapping):
                raise InputError(f"{source}: section '{name}' holds {excerpt(values)}; give keys and values")
            renamed = _renamed(name, values, source)
            known = [spec.name for spec in fields(kinds[name])]
            for key in renamed:
                if key not in known:
                    raise InputError(
                        f"{source}: unknown setting '{name}.{key}'{_hint(str(key), known)}; settings of {name}: {', '.join(known)}"
                    )
            try:
                built[name] = kinds[name](**renamed)
            except InputError as error:
                raise InputError(f"{source}: {error}") from None
        return cls(**built)

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Settings of a `params.yaml`. Raises InputError as `of`, or when the file is absent or no YAML."""
        return cls.of(_tree(path), path.name)


def _renamed(section: str, values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return a section's values under today's names.

    Raises:
        InputError: If a setting is there under its old and its new name.
    """
    kept = dict(values)
    for old, (new, default) in RENAMED.items():
        name, key = old.split(".")
        if name != section or key not in kept:
            continue
        value = kept.pop(key)
        if new in kept:
            raise InputError(f"{source}: {old} is now {section}.{new}, and both are set; remove {old}")
        if value != default:
            kept[new] = value
        _warn_once(
            f"{source}: {old} is now {section}.{new}, {f'set to {value}' if value != default else 'whose default is used'}"
        )
    return kept


@functools.cache
def _warn_once(line: str) -> None:
    log.warning(line)


def sections() -> dict[str, type[Section]]:
    """The section classes by name, in the order of the pipeline."""
    return {spec.name: typing.get_type_hints(Settings)[spec.name] for spec in fields(Settings)}


def render(settings: Settings | None = None) -> str:
    """The text of a `params.yaml`: every setting with a comment that says what it does and what it allows."""
    lines = []
    for name, kind in sections().items():
        lines.append(f"{name}:")
        for spec in fields(kind):
            value = spec.default if settings is None else getattr(getattr(settings, name), spec.name)
            assert value is not MISSING
            shown = "[" + ", ".join(value) + "]" if isinstance(value, tuple) else _scalar(value)
            allowed = f" ({_allowed(spec.metadata)})" if _allowed(spec.metadata) else ""
            lines.append(f"  {spec.name}: {shown}  # {spec.metadata['about']}{allowed}")
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def changed(path: Path, assignments: list[str]) -> dict[str, tuple[Any, Any]]:
    """Write `section.key=value` assignments into a `params.yaml`, whose comments stay as `render` makes them.

    Returns old and new value by key, for those that differ.

    Raises:
        InputError: an assignment that is not of that form, or a setting or value that is refused. Nothing is written then.
    """
    before, after = Settings.load(path), assigned(path, assignments)
    differing = {
        f"{name}.{spec.name}": (
            getattr(getattr(before, name), spec.name),
            getattr(getattr(after, name), spec.name),
        )
        for name, kind in sections().items()
        for spec in fields(kind)
        if getattr(getattr(before, name), spec.name) != getattr(getattr(after, name), spec.name)
    }
    if differing:
        write_text(path, render(after))
    return differing


@contextmanager
def tried(path: Path, assignments: list[str]) -> Iterator[None]:
    """Write `section.key=value` assignments into a `params.yaml` for the block that reads them, and take them back if it fails.

    An interrupt leaves them, since the same command goes on then.

    Raises:
        InputError: As `changed`, and whatever the block raises.
    """
    before = path.read_text(encoding="utf-8") if assignments and path.exists() else ""
    differing = changed(path, assignments) if assignments else {}
    for key, (old, new) in differing.items():
        log.info("%s: %s = %s (was %s)", path.name, key, new, old)
    after = path.read_text(encoding="utf-8") if differing else ""
    try:
        yield
    except Exception:
        # What somebody wrote meanwhile stays.
        if differing and path.read_text(encoding="utf-8") == after:
            _take_back(path, before, differing)
        raise


def _take_back(path: Path, before: str, differing: Mapping[str, tuple[Any, Any]]) -> None:
    """Write the settings as they were before. A disk that is too full for it leaves them, and the error that led here counts."""
    try:
        write_text(path, before)
    except OSError as error:
        log.warning("%s keeps %s: it cannot be written (%s)", path.name, ", ".join(differing), error.strerror)
        return
    for key, (old, _) in differing.items():
        log.warning("%s: %s is %s again, since this failed", path.name, key, old)


def assigned(path: Path, assignments: list[str]) -> Settings:
    """The settings of a `params.yaml`, or where there is none the defaults, after `section.key=value` assignments. Writes nothing.

    Raises:
        InputError: as `changed`.
    """
    tree = _tree(path) if path.exists() else {}
    Settings.of(tree, path.name)
    for assignment in assignments:
        name, found, text = assignment.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (found and dot and key):
            raise InputError(
                f"--set {excerpt(assignment)} is not of the form section.key=value, for example finetune.epochs=5"
            )
        tree.setdefault(section, {})[key] = _value(section, key, text)
    return Settings.of(tree, "--set")


def _value(section: str, key: str, text: str) -> Any:
    kind = sections().get(section)
    kinds = _kinds(kind).get(key, ()) if kind else ()
    if str in kinds:
        return None if text == "null" and type(None) in kinds else text
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: thousands of digits, a 13th month
        return text


def _tree(path: Path) -> dict[str, Any]:
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.safe_load(text)
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing; 'tokensieve init {path.parent}' makes a project with the defaults"
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, thousands of digits, a 13th month
        check_no_conflict_markers(path, text)
        raise InputError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree or {}, dict):
        raise InputError(f"{path.name} holds {excerpt(tree)}; give sections with keys and values")
    return tree or {}


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        # Quoted only where YAML would read something else, and then on one line.
        style = None if value.isprintable() else '"'
        return yaml.safe_dump([value], default_style=style, allow_unicode=True, width=2**31)[2:-1]
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


def _allowed(limits: Mapping[str, Any]) -> str:
    low, high = limits["low"], limits["high"]
    if limits["pattern"]:
        return str(limits["pattern"][1])
    if limits["among"] or low is None:
        return ", ".join(limits["among"])
    return f"at least {low:_}" if high is None else f"{low:_} to {high:_}"


def _hint(name: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f", did you mean '{close[0]}'?" if close else ""
