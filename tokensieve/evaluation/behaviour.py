"""Test the behaviour of a trained model with hand-written cases.

The method is CheckList (Ribeiro et al. 2020, arXiv 2005.04118). A cases file has up to three kinds
of cases. `minimum_functionality` are plain sentences and their labels. `invariance` are texts whose
label must stay the same if the text is perturbed, for example by a typo. `direction` are sentences
in which another phrase means another label.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tokensieve.errors import InputError, excerpt
from tokensieve.unique_keys import Loader

KINDS = ("minimum_functionality", "invariance", "direction")
LISTED = 30  # labels that an error message lists
SLOT = "{}"  # the place of the text in a perturbation, and of the phrase in a sentence

Labels = tuple[str, ...]  # the labels of one text, sorted; a single-label model gives one
Predict = Callable[[Sequence[str]], list[Labels]]


@dataclass(frozen=True)
class Case:
    """One text and the labels that are expected of it.

    Attributes:
        kind: One of `KINDS`.
        text: The text to predict.
        labels: The expected labels. If None, the labels predicted for `original` are expected.
        original: The text before the perturbation; empty for other kinds of cases.
        change: The name of the perturbation; empty for other kinds of cases.
        line: The line of the cases file where the case starts.
    """

    kind: str
    text: str
    labels: Labels | None = None
    original: str = ""
    change: str = ""
    line: int = 0


@dataclass(frozen=True)
class Outcome:
    """The labels that a model predicted for a case, and those that were expected."""

    case: Case
    expected: Labels
    predicted: Labels

    @property
    def passed(self) -> bool:
        """Whether the model predicted the expected labels."""
        return self.predicted == self.expected


@dataclass(frozen=True)
class Cases:
    """The cases of the file `path`.

    `min_share` is the share of each kind that must pass, 0 to 1. It is 1 for kinds that are not in
    it.
    """

    path: Path
    cases: list[Case]
    min_share: dict[str, float] = field(default_factory=dict)


def read_cases(path: Path) -> Cases:
    """Read a cases file in YAML, whose form docs/how-to/behaviour-tests.md describes.

    Raises:
        InputError: If the file cannot be read, or a part of it has another form.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise InputError(f"{path} cannot be read ({reason[:300]})") from None
    return _cases_of(path, document)


def run_cases(cases: Sequence[Case], predict: Predict) -> list[Outcome]:
    """Return the outcome of each case. `predict` is called once, with each distinct text."""
    texts = list(
        dict.fromkeys([*(case.text for case in cases), *(case.original for case in cases if case.original)])
    )
    predicted = dict(zip(texts, predict(texts), strict=True))
    return [
        Outcome(case, predicted[case.original] if case.labels is None else case.labels, predicted[case.text])
        for case in cases
    ]


def failed_kinds(cases: Cases, outcomes: Sequence[Outcome]) -> list[str]:
    """Return the kinds of cases of which a smaller share passed than `cases.min_share` demands."""
    return [
        kind
        for kind, (passed, count) in kind_counts(outcomes).items()
        if passed / count < cases.min_share.get(kind, 1.0)
    ]


def kind_counts(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """Return how many cases of each kind passed, and how many there are."""
    counts: dict[str, tuple[int, int]] = {}
    for outcome in outcomes:
        passed, count = counts.get(outcome.case.kind, (0, 0))
        counts[outcome.case.kind] = passed + outcome.passed, count + 1
    return counts


def check_labels(cases: Cases, known: Sequence[str]) -> None:
    """Check that the cases expect only labels of the model.

    Raises:
        InputError: If a case has a label that is not in `known`.
    """
    for case in cases.cases:
        for label in case.labels or ():
            if label not in known:
                raise InputError(
                    f"{cases.path}, line {case.line}: {case.kind}: label {excerpt(label)} of "
                    f"{excerpt(case.text)} is not one of the model's "
                    f"{len(known)} labels: "
                    f"{', '.join(known[:LISTED])}{', ...' if len(known) > LISTED else ''}"
                )


def without_punctuation(text: str) -> str:
    """Return the text without the punctuation marks . , ; : ! ? at the ends of words."""
    return " ".join(re.sub(r"[.,;:!?]+(?=\s|$)", "", text).split())


def with_typo(text: str) -> str:
    """Return the text with two letters in the middle of its longest word swapped."""
    longest = max(re.finditer(r"[^\W\d_]+", text), key=lambda match: len(match.group()), default=None)
    if longest is None:
        return text
    letters = longest.group()
    # The pair in the middle comes first. If its letters are the same, another pair is swapped.
    places = [len(letters) // 2 - 1, *range(1, len(letters) - 1)]
    for place in places:
        if place >= 0 and letters[place] != letters[place + 1]:
            swapped = letters[:place] + letters[place + 1] + letters[place] + letters[place + 2 :]
            return text[: longest.start()] + swapped + text[longest.end() :]
    return text


PERTURBATIONS: Mapping[str, Callable[[str], str]] = {
    "lower_case": str.lower,
    "upper_case": str.upper,
    "no_punctuation": without_punctuation,
    "typo": with_typo,
}


def perturbed(text: str, change: str) -> str:
    """Return `text` after a perturbation.

    `change` is a name in `PERTURBATIONS`, or a sentence with `{}` in the place of the text.
    """
    return change.replace(SLOT, text) if SLOT in change else PERTURBATIONS[change](text)


class _List(list[Any]):
    """A list of a YAML file. `lines` has the line of each item; line 1 is the first of the file."""

    lines: Sequence[int] = ()


class _Loader(Loader):
    """Reads lists as `_List`."""

    def construct_numbered(self, node: yaml.SequenceNode) -> Iterator[_List]:
        """Yield the list before its items are read, as PyYAML does for a list that has itself."""
        found = _List()
        found.lines = [item.start_mark.line + 1 for item in node.value]
        yield found
        found.extend(self.construct_sequence(node))


_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.construct_numbered)


def _cases_of(path: Path, document: Any) -> Cases:
    sections = _mapping(document, f"{path}: the file", (*KINDS, "min_share"))
    cases = [
        *_minimum_functionality(path, sections.get("minimum_functionality")),
        *_invariance(path, sections.get("invariance")),
        *_direction(path, sections.get("direction")),
    ]
    if not cases:
        raise InputError(f"{path}: there are no cases; add {', '.join(KINDS)} or one of them")
    shares = _mapping(sections.get("min_share"), f"{path}: min_share", KINDS)
    for kind, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise InputError(f"{path}: min_share.{kind} is {excerpt(str(share))}; allowed: 0 to 1")
    return Cases(path, cases, {kind: float(share) for kind, share in shares.items()})


def _minimum_functionality(path: Path, rows: Any) -> Iterator[Case]:
    for line, row in _numbered(rows, f"{path}: minimum_functionality"):
        place = f"{path}, line {line}: minimum_functionality"
        case = _mapping(row, f"{place}: a case", ("text", "label"))
        text = _text(case.get("text"), f"{place}: text")
        labels = _labels(case.get("label"), f"{place}: the label of {excerpt(text)}")
        yield Case("minimum_functionality", text, labels, line=line)


def _invariance(path: Path, section: Any) -> Iterator[Case]:
    parts = _mapping(section, f"{path}: invariance", ("texts", "perturbations"))
    name = f"{path}: invariance.perturbations"
    changes = [change for _, change in _numbered(parts.get("perturbations"), name)]
    changes = changes if "perturbations" in parts else list(PERTURBATIONS)
    for change in changes:
        if _text(change, name) not in PERTURBATIONS and SLOT not in change:
            raise InputError(
                f"{name} has {excerpt(change)}; allowed: {', '.join(PERTURBATIONS)}, "
                f"or a sentence with {SLOT} in the place of the text"
            )
    for line, row in _numbered(parts.get("texts"), f"{path}: invariance.texts"):
        text = _text(row, f"{path}, line {line}: invariance.texts")
        for change in changes:
            other = perturbed(text, change)
            if other != text:
                yield Case("invariance", other, None, text, change, line)


def _direction(path: Path, rows: Any) -> Iterator[Case]:
    for line, row in _numbered(rows, f"{path}: direction"):
        place = f"{path}, line {line}: direction"
        parts = _mapping(row, f"{place}: a case", ("text", "phrases"))
        sentence = _text(parts.get("text"), f"{place}: text")
        if SLOT not in sentence:
            raise InputError(f"{place}: {excerpt(sentence)} has no {SLOT} in the place of the phrase")
        phrases = parts.get("phrases")
        if not isinstance(phrases, dict) or len(phrases) < 2:
            raise InputError(
                f"{place}: phrases of {excerpt(sentence)} must map two phrases or more to their labels"
            )
        for phrase, label in phrases.items():
            text = sentence.replace(SLOT, _text(phrase, f"{place}: a phrase of {excerpt(sentence)}"))
            labels = _labels(label, f"{place}: the label of {excerpt(text)}")
            yield Case("direction", text, labels, line=line)


def _mapping(value: Any, name: str, keys: Sequence[str]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{name} must be a mapping with the keys {', '.join(keys)}")
    for key in value:
        if key not in keys:
            raise InputError(f"{name} has the key {excerpt(str(key))}; allowed: {', '.join(keys)}")
    return value


def _numbered(value: Any, name: str) -> list[tuple[int, Any]]:
    """Return the items of a list, each with its line."""
    if value is None:
        return []
    if not isinstance(value, _List):
        raise InputError(f"{name} must be a list")
    return list(zip(value.lines, value, strict=True))


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} is {excerpt(str(value))}; it must be a text (put it in quotes)")
    return value


def _labels(value: Any, name: str) -> Labels:
    labels = value if isinstance(value, list) else [value]
    if not all(isinstance(label, str) for label in labels):
        raise InputError(
            f"{name} is {excerpt(str(value))}; it must be a label, or a list of labels (in quotes)"
        )
    return tuple(sorted(labels))
