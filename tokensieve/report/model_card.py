"""Render a report as a model card: a README.md in the format of the Hugging Face hub.

It has labels and words of the data, but no texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData

from tokensieve.report.content import Fact, Report, opening
from tokensieve.report.markdown import inline, table

NAME = "README.md"
CLASSES = 1000  # rows of the table of classes
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
METRICS = {
    "test_accuracy": ("accuracy", "accuracy"),
    "test_exact_match": ("exact_match", "exact match"),
    "test_micro_f1": ("f1", "micro F1"),
    "test_macro_f1": ("f1", "macro F1"),
}


@dataclass(frozen=True)
class CardData:
    """What a model card names besides the report.

    Attributes:
        name: Of the model.
        base: The base model: its name on the hub, or a folder, which is not named.
        data_hash: Of the data.
        measured: The figures on the test texts, by name.
        max_length: Tokens that the model reads of a text.
        prompt: What the model puts in front of every text; empty for nothing.
    """

    name: str
    base: str
    data_hash: str
    measured: dict[str, float]
    max_length: int
    prompt: str = ""


def model_card(report: Report, card: CardData) -> str:
    """Return the model card as Markdown, with the metadata of the hub before it."""
    parts = [f"# {inline(report.title)}", *_verdict(report), *_use(report, card)]
    if report.figures:
        parts += ["## Figures", _facts(report.figures), _compared(report)]
    if report.data:
        parts += ["## Data", _facts(report.data)]
    if report.classes:
        parts += ["## Classes", _classes(report)]
    if report.constructs:
        words = "\n".join(
            f"- **{inline(row.label[:200])}**: {inline(', '.join(row.constructs))}"
            for row in report.constructs
        )
        parts += ["## Deciding words", "The words that distinguish each class in the training texts.", words]
    if report.builds:
        notes = "\n".join(f"- {inline(note)}" for note in report.build_notes)
        parts += ["## Exported builds", table(report.build_head, (row.cells for row in report.builds)), notes]
    return f"---\n{_metadata(card).to_yaml()}\n---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def _metadata(card: CardData) -> ModelCardData:
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type="tokensieve-project",
            dataset_name="test texts of the project",
            dataset_revision=card.data_hash,
            metric_type=kind,
            metric_name=name,
            metric_value=round(card.measured[key], 4),
        )
        for key, (kind, name) in METRICS.items()
        if key in card.measured
    ]
    return ModelCardData(
        base_model=card.base if HUB_NAME.fullmatch(card.base) else None,
        library_name="tokensieve",
        pipeline_tag="text-classification",
        tags=["text-classification", "onnx", "sparse-fine-tuning"],
        model_name=card.name,
        eval_results=results,
    )


def _verdict(report: Report) -> Iterator[str]:
    if advice := report.advice:
        yield f"**{inline(opening(advice.title))}.** {_sentence(advice.good_for)}"
        yield f"- {_sentence(advice.promote)}\n" + "\n".join(
            f"- Would help: {inline(remedy)}." for remedy in advice.remedies
        )


def _use(report: Report, card: CardData) -> Iterator[str]:
    yield "## Use"
    yield (
        "```python\n"
        "from tokensieve import Predictor\n\n"
        'prediction = Predictor.load("FOLDER").predict(["your text"])[0]\n'
        f"print(prediction.{'labels' if report.multi_label else 'label'}, prediction.uncertain)\n"
        "```"
    )
    yield (
        'On the command line: `tokensieve predict --model FOLDER "your text"`. The model reads '
        f"{card.max_length} tokens of a text. An answer below the confidence threshold is marked as "
        "uncertain."
    )
    if card.prompt:
        shown = inline(json.dumps(card.prompt, ensure_ascii=False))
        yield f"The model puts {shown} in front of every text by itself: do not put it into your texts."


def _facts(facts: Sequence[Fact]) -> str:
    return table(("", "value", "note"), ((fact.name, fact.value, fact.note) for fact in facts))


def _compared(report: Report) -> str:
    rows = ((one.name, f"{one.value:.1%}", f"{one.low:.1%} to {one.high:.1%}") for one in report.compared)
    return table(("on the test texts", "right", "95% interval"), rows) if report.compared else ""


def _classes(report: Report) -> str:
    rows = (
        (
            row.label[:200],
            f"{row.train:,}",
            f"{row.test:,}",
            *(f"{x:.1%}" for x in (row.recall, row.precision, row.f1)),
        )
        for row in report.classes[:CLASSES]
    )
    return table(("class", "training texts", "test texts", "recall", "precision", "F1"), rows)


def _sentence(phrase: str) -> str:
    return inline(f"{opening(phrase)}.")
