from __future__ import annotations

from typing import Any

import pytest

from tasks.reporting.shown import builds, notes, processors, timing, word_warnings
from tokensieve.inference.manifest import Manifest

COMPARED = {"agreement": 0.98765, "confident_agreement": 0.9991, "accuracy": 0.9}


def row(variant: str, milliseconds: float, **more: Any) -> dict[str, Any]:
    return {
        "variant": variant,
        "milliseconds": milliseconds,
        "megabytes": 90.5,
        "largest_difference": 0.0123,
        "faults": [],
    } | more


def printed(rows: list[dict[str, Any]]) -> list[str]:
    return [" ".join(cells) for cells in builds(rows, "mixed")]


def test_builds_are_served_or_say_why_not() -> None:
    reason = "200 confident answers show an agreement of at least 98.5%"
    rows = [
        row("fp32", 4.5),
        row("mixed", 1.875, **COMPARED),
        row(
            "int8",
            1.5,
            **COMPARED,
            faults=["min_proven_agreement"],
            measured={"min_proven_agreement": reason},
        ),
    ]
    lines = printed(rows)
    found = {line.split()[0]: line for line in lines if "90.5" in line}
    assert list(found) == ["fp32", "mixed", "int8"]
    assert all(text in found["mixed"] for text in ("1.88", "99.91%", "98.77%", "0.9000", "0.01", "served"))
    assert "refused" in found["int8"]
    assert list(notes(rows, 350, 200)) == [
        "agree: with PyTorch, on 350 texts that were not trained on; accuracy: on 200 test texts",
        "builds are compared from the fastest until one can be served",
        f"the build int8 is refused: {reason}",
    ]


def test_a_build_that_agrees_on_too_few_texts_is_not_called_refused() -> None:
    reason = "94 confident answers show an agreement of at least 96.9%; 99.0% needs 299 or more"
    measured = {"min_proven_agreement": reason}
    found = row(
        "int8", 1.5, **COMPARED | {"confident_agreement": 1.0}, faults=list(measured), measured=measured
    )
    assert printed([found])[0].endswith(" not proven")
    assert list(notes([found], 94, 70))[-1] == (
        f"the build int8 agrees, but on too few texts to prove it: {reason}"
    )


def test_an_export_of_an_earlier_version_is_shown_as_it_was() -> None:
    rows = [
        row("mixed", 1.875, agreement=0.9, accuracy=0.8),
        row("int8", 1.5, agreement=0.9, accuracy=0.8, faults=["agreement"]),
    ]
    lines = printed(rows)
    assert any("refused" in line and "90.00%" in line for line in lines)
    assert list(notes(rows, 350, 200))[1:] == ["the build int8 is refused: fails agreement"]


def test_classes_without_words_and_divided_words_are_warned_of() -> None:
    pieces = {"divided": 0.63, "tokens_per_word": 1.9, "example": "rechnung", "pieces": ["rec", "hn", "ung"]}
    found = list(word_warnings({"without_constructs": list("abcde"), "word_pieces": pieces}))
    assert found == [
        "no word or phrase indicates 5 classes ('a', 'b', 'c' and 2 more), so the weights are chosen without "
        "knowing these classes; add texts, or set vocabulary.min_texts=1 or mask.score=fisher",
        "the base model's tokenizer divides or does not know 63% of the words (1.9 tokens per word, for "
        "example 'rechnung': 'rec hn ung'); set base.model to an encoder of this language "
        "(docs/how-to/base-model.md)",
    ]
    assert list(word_warnings({"without_constructs": [], "word_pieces": pieces | {"divided": 0.5}})) == []
    assert list(word_warnings({"saved": 0.0})) == []  # of an earlier version


@pytest.mark.parametrize(
    ("race", "note"),
    [
        (
            {"processor": "Tiny 9000", "instructions": ["avx2", "avx512_vnni"]},
            ["timed on one thread of Tiny 9000 (avx2, avx512_vnni)"],
        ),
        ({"processor": "Tiny 9000"}, ["timed on one thread of Tiny 9000"]),  # of an earlier version
        ({}, []),
    ],
)
def test_the_processor_of_the_timings_is_named(race: dict[str, Any], note: list[str]) -> None:
    assert list(timing(race)) == note


@pytest.mark.parametrize(
    ("variant", "bits", "race", "note"),
    [
        ("mixed", 8, {"processor": "Tiny 9000"}, ["the build mixed has 8-bit weights: on an x86 processor"]),
        ("int8", 7, {"processor": "Tiny 9000"}, ["the build int8 gives the same answers on any processor"]),
        ("fused", 7, {}, ["the build fused gives the same answers on any processor, except for rounding"]),
        ("int8", 7, {}, []),  # of an earlier version, which did not note the bits
        ("fp16", 7, {"processor": "Tiny 9000"}, []),
    ],
)
def test_the_processors_with_the_same_answers_are_named(
    variant: str, bits: int, race: dict[str, Any], note: list[str]
) -> None:
    parity = {"texts": 4.0}
    manifest = Manifest(("a", "b"), 1.0, 0.5, 12, "hash", "tiny", parity, variant=variant, int8_bits=bits)
    found = list(processors(manifest, race))
    assert [one[: len(start)] for one, start in zip(found, note, strict=True)] == note
    if bits == 8:
        assert "export.variants: [fp32, fused]" in found[0]
