"""The export stage on a tiny untrained classifier whose logits torch has computed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tasks import export
from tasks.artifacts import MaskFacts, SplitSizes, save_constructs
from tokensieve.data.examples import Examples
from tokensieve.data.text_hashes import hash_texts, load_hashes
from tokensieve.errors import InputError
from tokensieve.evaluation.report import is_for_threshold
from tokensieve.inference import predictor, session
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.method.constructs import Construct
from tokensieve.model.batches import tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer
from tokensieve.processor import instructions, saturates_int8
from tokensieve.project import Layout
from tokensieve.settings import VARIANTS, Settings

LENGTH = 32


@pytest.fixture
def layout(
    tiny_classifier: Callable[..., Classifier],
    tiny_family: Callable[[str], Path],
    tiny_texts: tuple[list[str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Layout:
    """A project that is ready to be exported: what the classifier answers is taken for the
    truth.
    """
    layout = Layout(tmp_path)
    monkeypatch.setattr(export, "data_hash", lambda _: "abc")
    for folder in (layout.split, layout.evaluation):
        folder.mkdir(parents=True)
    classifier, tokenizer = tiny_classifier(), load_tokenizer(tiny_family("bert"))
    classifier.save(layout.model, tokenizer, {"max_length": LENGTH, "base": "tiny"})
    logits = {}
    for name, places in {"train": range(20), "validation": range(20, 40), "test": range(40, 60)}.items():
        texts = [tiny_texts[0][i] for i in places]
        with torch.inference_mode():
            ids = [torch.tensor([ids]) for ids in tokenize(tokenizer, texts, LENGTH)]
            logits[name] = torch.cat([classifier(one, torch.ones_like(one)) for one in ids])
        labels = [classifier.labels[place] for place in logits[name].argmax(1).tolist()]
        Examples.of(texts, labels).save(layout.split / f"{name}.jsonl")
    save_file(
        {name: logits[name] for name in ("validation", "test")}, layout.evaluation / "logits.safetensors"
    )
    write(layout.evaluation / "decision_rule.json", {"temperature": 1.5, "threshold": 0.1})
    _write_what_the_card_names(layout, classifier.labels)
    return layout


def _write_what_the_card_names(layout: Layout, labels: list[str]) -> None:
    figures = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 4}
    write(
        layout.evaluation / "report.json", {"test_accuracy": 1.0, "per_class": dict.fromkeys(labels, figures)}
    )
    SplitSizes(20, 20, 20).save(layout.split)
    MaskFacts(False, 12, 100).save(layout.mask)
    layout.vocabulary.mkdir()
    save_constructs(layout.vocabulary, [Construct("lost card", labels[0], 0.5, 0.5, 3)])
    write(
        layout.vocabulary / "report.json",
        {"constructs": 1, "added": [], "per_class": {labels[0]: ["lost card"]}},
    )


def write(path: Path, tree: Any) -> None:
    path.write_text(json.dumps(tree), encoding="utf-8")


def read(layout: Layout) -> dict[str, Any]:
    return dict(json.loads((layout.onnx / "race.json").read_text(encoding="utf-8")))


def with_export(**values: Any) -> Settings:
    return Settings.of({"base": {"max_length": LENGTH}, "export": values})


def fast(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """These builds take 1 ms, the others 9 ms."""
    monkeypatch.setattr(
        export.choose_variant,
        "times",
        lambda engines, _: {name: 1.0 if name in names else 9.0 for name in engines},
    )


def test_the_fastest_build_that_answers_as_torch_is_served(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch, "fused")
    export.export(layout, with_export())
    assert {path.name for path in layout.onnx.iterdir()} == {
        "model.onnx",
        "tokenizer.json",
        "race.json",
        "manifest.json",
        "trained_texts.npy",
        "phrases.json",
        "README.md",
    }
    card = (layout.onnx / "README.md").read_text(encoding="utf-8")
    assert "base_model" not in card
    assert "| fused |" in card
    assert not any(text in card for text in Examples.load(layout.split / "test.jsonl").texts)
    hashes = load_hashes(layout.onnx / "trained_texts.npy")
    parts = [Examples.load(layout.split / f"{name}.jsonl").texts for name in ("train", "validation")]
    assert hashes is not None
    assert set(hashes.tolist()) == set(hash_texts([text for part in parts for text in part]).tolist())
    manifest, race = Manifest.load(layout.onnx), read(layout)
    assert "README.md" not in manifest.files
    assert (manifest.variant, manifest.temperature, manifest.data_hash, manifest.max_length) == (
        "fused",
        1.5,
        "abc",
        LENGTH,
    )
    assert manifest.parity["texts"] == 40
    assert manifest.parity["agreement"] == 1.0
    assert manifest.parity["largest_difference"] < 1e-3
    rows = {row["variant"]: row for row in race["variants"]}
    assert {*rows, *race["skipped"]} == {*VARIANTS}
    assert [*race["skipped"]] == (["fp16"] if saturates_int8() else ["fp16", "uint8"])
    assert race["instructions"] == instructions()
    assert rows["fused"]["accuracy"] == race["served"]["test_accuracy"] == 1.0
    assert all(row["megabytes"] > 0 for row in race["variants"])
    assert rows["int8"]["largest_difference"] > 1e-3
    # Those that are slower than the served one are not compared.
    assert [name for name, row in rows.items() if "agreement" in row] == ["fused"]


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the int8 build answer the opposite, when called."""
    real = session.load_engine

    def broken(path: Path, variant: str, threads: int, **more: Any) -> Any:
        right = real(path, variant, threads, **more)
        return type("Wrong", (), {"run": lambda _, ids: -right.run(ids)})() if variant == "int8" else right

    def make() -> None:
        monkeypatch.setattr(predictor, "load_engine", broken)
        monkeypatch.setattr(export, "load_engine", broken)

    return make


def test_a_build_that_breaks_a_limit_is_not_served_however_fast(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[], None]
) -> None:
    wrong()
    fast(monkeypatch, "int8")
    export.export(layout, with_export(variants=["int8", "fused"]))
    rows = {row["variant"]: row for row in read(layout)["variants"]}
    assert {"min_confident_agreement", "min_proven_agreement", "max_accuracy_drop"} <= set(
        rows["int8"]["faults"]
    )
    assert rows["int8"]["accuracy"] == 0.0
    assert Manifest.load(layout.onnx).variant == "fused"
    assert read(layout)["served"]["test_accuracy"] == 1.0


def test_on_few_texts_no_build_but_an_exact_one_is_served(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The int8 build was served at 96.84% of 285 texts, since 32 validation texts had shown no
    difference.
    """
    fast(monkeypatch, "int8", "mixed")
    export.export(layout, with_export(max_calibration_rise=1.0))
    rows = {row["variant"]: row for row in read(layout)["variants"]}
    assert rows["int8"]["confident_texts"] == 40
    assert "99.0% needs 299 or more" in rows["int8"]["measured"]["min_proven_agreement"]
    assert Manifest.load(layout.onnx).variant in ("fp32", "fused")
    export.export(
        layout, with_export(max_calibration_rise=1.0, min_confident_agreement=0.9, min_proven_agreement=0.0)
    )
    served = Manifest.load(layout.onnx)
    assert served.variant in ("int8", "mixed")
    assert served.int8_bits == (7 if saturates_int8() else 8)


def test_what_a_user_cannot_see_is_no_fault(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[], None]
) -> None:
    """Flips among answers that are flagged as uncertain anyway do not keep a build from being
    served; all are counted.
    """
    wrong()
    write(layout.evaluation / "decision_rule.json", {"temperature": 1.5, "threshold": 1.0})
    fast(monkeypatch, "int8")
    export.export(
        layout,
        with_export(
            variants=["int8", "fused"],
            min_proven_agreement=0.0,
            max_accuracy_drop=0.1,
            max_calibration_rise=1.0,
        ),
    )
    (int8,) = [row for row in read(layout)["variants"] if row["variant"] == "int8"]
    assert (int8["confident_texts"], int8["confident_agreement"], int8["agreement"]) == (0, 1.0, 0.0)
    # That accuracy is lost is seen all the same.
    assert int8["faults"] == ["max_accuracy_drop"]


def test_texts_out_of_scope_count_for_agreement_and_the_summarys_figures_leave_out_those_that_chose(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = [
        f"{text} {word}"
        for word in ("please", "now", "again")
        for text in Examples.load(layout.split / "test.jsonl").texts
    ]
    Examples.of(outside).save(layout.split / "oos.jsonl")
    logits = export.load_file(layout.evaluation / "logits.safetensors")
    classifier, tokenizer = Classifier.load(layout.model), load_tokenizer(layout.model)
    with torch.inference_mode():
        ids = [torch.tensor([ids]) for ids in tokenize(tokenizer, outside, LENGTH)]
        found = torch.cat([classifier(one, torch.ones_like(one)) for one in ids])
    save_file(
        {name: torch.from_numpy(values) for name, values in logits.items()} | {"oos": found},
        layout.evaluation / "logits.safetensors",
    )
    fast(monkeypatch, "fused")
    export.export(layout, with_export(variants=["fused"]))
    assert Manifest.load(layout.onnx).parity["texts"] == 100
    assert read(layout)["served"]["oos_texts"] == (~is_for_threshold(outside)).sum() < 60


def test_without_an_accepted_variant_the_earlier_export_stays(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[], None]
) -> None:
    fast(monkeypatch, "fused")
    export.export(layout, with_export(variants=["fused"]))
    before = {path.name: path.read_bytes() for path in layout.onnx.iterdir()}
    wrong()
    refused = (
        r"none of export\.variants \(int8\) answers as PyTorch does: int8: "
        r".* \(export\.min_confident_agreement\).*add fp32"
    )
    with pytest.raises(InputError, match=refused):
        export.export(layout, with_export(variants=["int8"]))
    assert {path.name: path.read_bytes() for path in layout.onnx.iterdir()} == before


def test_a_plain_graph_that_is_not_torchs_is_refused(layout: Layout) -> None:
    with pytest.raises(
        InputError,
        match=(
            r"the fp32 ONNX export differs from PyTorch: .* on 20 texts, "
            r"the limit 0 \(export\.max_logit_difference\)"
        ),
    ):
        export.export(layout, with_export(max_logit_difference=0.0))
    assert not layout.onnx.exists()


def test_answers_of_any_number_of_labels_are_right_if_all_are(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = json.loads((layout.evaluation / "decision_rule.json").read_text(encoding="utf-8"))
    write(layout.evaluation / "decision_rule.json", report | {"thresholds": [0.5] * 5})
    labels = json.loads((layout.model / "classifier.json").read_text(encoding="utf-8"))["labels"]
    logits = export.load_file(layout.evaluation / "logits.safetensors")
    for name in ("validation", "test"):
        part = Examples.load(layout.split / f"{name}.jsonl")
        sets = [
            tuple(sorted(label for label, value in zip(labels, row, strict=True) if value >= 0))
            for row in logits[name]
        ]
        replace(part, labels=[(), *sets[1:]], multi_label=True).save(layout.split / f"{name}.jsonl")
    fast(monkeypatch, "fused")
    export.export(layout, with_export(variants=["fused"]))
    assert sets[0]
    assert read(layout)["variants"][1]["accuracy"] == read(layout)["served"]["test_exact_match"] == 0.95
    answers = Predictor.load(layout.onnx, threads=1).predict(part.texts)
    assert [tuple(sorted(label for label, _ in answer.labels)) for answer in answers] == sets


def test_the_race_is_timed_on_the_test_texts(layout: Layout) -> None:
    export.export(layout, with_export(variants=["fused"]))
    assert [row["milliseconds"] > 0 for row in read(layout)["variants"]] == [True, True]
