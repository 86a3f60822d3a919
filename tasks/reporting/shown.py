"""What the summary of a run and its report both show: warnings, and the exported builds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokensieve.errors import excerpt
from tokensieve.inference.manifest import Manifest

MANY_DIVIDED = 0.5  # share of the words in pieces from which there is a warning
NAMED = 3  # classes that a message names
BUILDS = ("build", "ms per text", "MB", "agree", "confident agree", "accuracy", "logits differ", "")


def data_warnings(validation: dict[str, Any], vocabulary: Mapping[str, Any]) -> list[str]:
    """Return the warnings of the reports of the stages validate and vocabulary.

    Those of validate are the checks that failed.
    """
    failed = [check["message"] for check in validation["checks"] if not check["passed"]]
    return [*failed, *word_warnings(vocabulary)]


def data_notes(validation: Mapping[str, Any]) -> list[str]:
    """Return what the settings changed in the data, as the user wants it: so these are no warnings.

    `validation` is the report of the stage validate.
    """
    left_out = {("unlabelled", part) for part in validation.get("unlabelled", {})}
    return [
        check["message"]
        for check in validation["checks"]
        if check["passed"] and (check.get("changed") or (check["name"], check["part"]) in left_out)
    ]


def word_warnings(vocabulary: Mapping[str, Any]) -> Iterator[str]:
    """Yield warnings from the report of the stage vocabulary.

    They are about classes without words, and words that are divided. Reports of earlier versions
    have none.
    """
    without = vocabulary.get("without_constructs", [])
    if without:
        more = f" and {len(without) - NAMED:,} more" if len(without) > NAMED else ""
        named = ", ".join(excerpt(name, 40) for name in without[:NAMED])
        classes = "1 class" if len(without) == 1 else f"{len(without):,} classes"
        yield (
            f"no word or phrase indicates {classes} ({named}{more}), so the weights are chosen without "
            "knowing these classes; add texts, or set vocabulary.min_texts=1 or mask.score=fisher"
        )
    pieces = vocabulary.get("word_pieces", {})
    if pieces.get("divided", 0) > MANY_DIVIDED:
        example, tokens = pieces["example"], " ".join(pieces["pieces"])
        shown = f", for example {excerpt(example, 40)}: {excerpt(tokens, 80)}" if example else ""
        yield (
            f"the base model's tokenizer divides or does not know {pieces['divided']:.0%} of the words "
            f"({pieces['tokens_per_word']:.1f} tokens per word{shown}); set base.model to an encoder of this "
            "language (docs/how-to/base-model.md)"
        )


def builds(rows: Sequence[Mapping[str, Any]], served: str) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each exported build, in the columns BUILDS.

    `rows` are the variants in race.json, and `served` is the name of the one that is served.
    """
    for row in rows:
        compared = ["", "", ""]
        if "agreement" in row:
            confident = f"{row['confident_agreement']:.2%}" if "confident_agreement" in row else ""
            compared = [f"{row['agreement']:.2%}", confident, f"{row['accuracy']:.4f}"]
        figures = [
            f"{row['milliseconds']:.2f}",
            f"{row['megabytes']:.1f}",
            *compared,
            f"{row['largest_difference']:.1g}",
        ]
        yield row["variant"], *figures, state(row, served)


def notes(rows: Sequence[Mapping[str, Any]], compared: float, tested: int) -> Iterator[str]:
    """Yield which texts the builds were compared on, and why builds were refused.

    `compared` is the number of texts that were compared with PyTorch, `tested` that of test texts.
    """
    yield (
        f"agree: with PyTorch, on {compared:,.0f} texts that were not trained on; "
        f"accuracy: on {tested:,} test texts"
    )
    if any("agreement" not in row for row in rows):
        yield "builds are compared from the fastest until one can be served"
    for row in rows:
        reasons = row.get("measured") or {fault: f"fails {fault}" for fault in row["faults"]}
        if reasons:
            why = "; ".join(reasons.values())
            if _is_unproven(row):
                yield f"the build {row['variant']} agrees, but on too few texts to prove it: {why}"
            else:
                yield f"the build {row['variant']} is refused: {why}"


def timing(race: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the builds were timed, if race.json names it."""
    if "processor" in race:
        found = ", ".join(race.get("instructions", ()))
        yield f"timed on one thread of {race['processor']}{f' ({found})' if found else ''}"


def processors(manifest: Manifest, race: Mapping[str, Any]) -> Iterator[str]:
    """Yield on which processors the exported model gives the answers that were compared.

    Nothing for fp16, which runs on a GPU, and for int8 products of an earlier version, whose
    race.json names no processor: their manifests have no `int8_bits`.
    """
    build = manifest.variant
    if manifest.int8_bits == 8:
        yield (
            f"the build {build} has 8-bit weights: on an x86 processor without VNNI, as in older servers, "
            "some answers can differ from those compared here; for such a server, export on a processor like "
            "its own, or with export.variants: [fp32, fused]"
        )
    elif build != "fp16" and ("processor" in race or build not in ("int8", "mixed")):
        yield f"the build {build} gives the same answers on any processor, except for rounding"


def state(row: Mapping[str, Any], served: str) -> str:
    """Return whether a build is served, refused, without proof, or none of these."""
    if row["variant"] == served:
        return "served"
    return "not proven" if _is_unproven(row) else "refused" if row["faults"] else ""


def _is_unproven(row: Mapping[str, Any]) -> bool:
    """Return whether all confident answers agree, but are too few to prove the agreement."""
    return list(row["faults"]) == ["min_proven_agreement"] and row.get("confident_agreement") == 1.0
