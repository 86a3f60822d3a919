"""The Python API: fit, predict, evaluate, save, export, on tiny models."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tokensieve
from tokensieve import FittedClassifier, Predictor, api, fit
from tokensieve.data.examples import Examples
from tokensieve.errors import InputError
from tokensieve.inference.explain import explain
from tokensieve.inference.prediction import SINGLE_TASK
from tokensieve.model.batches import tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer
from tokensieve.settings import Finetune

Texts = tuple[list[str], list[str]]

FEW = Finetune(max_epochs=4, batch_size=8, learning_rate=1e-2, head_learning_rate=3e-2, threads=1)


@pytest.fixture(scope="module")
def settings(tiny_model: Path) -> dict[str, Any]:
    return {"base": {"model": str(tiny_model), "max_length": 12}, "finetune": FEW}


@pytest.fixture(scope="module")
def fitted(tiny_texts: Texts, settings: dict[str, Any]) -> FittedClassifier:
    return fit(*tiny_texts, **settings)


@pytest.fixture(scope="module")
def multilabel(tiny_texts: Texts, settings: dict[str, Any]) -> tuple[FittedClassifier, list[tuple[str, ...]]]:
    """Questions have a second label, and refunds have none of their own."""
    texts, labels = tiny_texts
    sets = [
        tuple(sorted({label} - {"refund"} | ({"question"} if text.endswith("?") else set())))
        for text, label in zip(texts, labels, strict=True)
    ]
    return fit(texts, sets, **settings), sets


def test_a_fitted_classifier_predicts_labels_it_was_trained_on(
    fitted: FittedClassifier, tiny_texts: Texts
) -> None:
    texts, labels = tiny_texts
    assert fitted.labels == tuple(sorted(set(labels)))
    assert [record["epoch"] for record in fitted.history] == [1, 2, 3, 4]
    assert fitted.constructs
    predicted = [prediction.label for prediction in fitted.predict(texts)]
    assert np.mean([a == b for a, b in zip(predicted, labels, strict=True)]) > 0.5
    assert len(fitted.predict(texts[:1], top=2)[0].top) == 2
    assert [fitted.predict(["a " * words])[0].truncated for words in (10, 11)] == [False, True]


def test_the_same_arguments_give_the_same_weights(
    fitted: FittedClassifier, tiny_texts: Texts, settings: dict[str, Any], tmp_path: Path
) -> None:
    for name, classifier in (("first", fitted), ("again", fit(*tiny_texts, **settings))):
        classifier.save(tmp_path / name)
    for file in ("model.safetensors", "head.safetensors", "tokenizer.json", "classifier.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_evaluate_reports_accuracy_and_calibration(fitted: FittedClassifier, tiny_texts: Texts) -> None:
    report = fitted.evaluate(*tiny_texts)
    right = [p.label == label for p, label in zip(fitted.predict(tiny_texts[0]), tiny_texts[1], strict=True)]
    assert report["test_accuracy"] == pytest.approx(np.mean(right))
    assert 0 <= report["coverage"] <= 1
    with pytest.raises(InputError, match="label 'other' does not occur in training"):
        fitted.evaluate(["where is it"], ["other"])


def test_an_exported_model_predicts_the_same(
    fitted: FittedClassifier, tiny_texts: Texts, tmp_path: Path
) -> None:
    fitted.predict(tiny_texts[0][:1])  # which sets the tokenizer's truncation
    fitted.export(tmp_path / "model")
    served, trained = Predictor.load(tmp_path / "model").predict(tiny_texts[0]), fitted.predict(tiny_texts[0])
    for one, other in zip(served, trained, strict=True):
        assert (one.label, one.uncertain, one.truncated) == (other.label, other.uncertain, other.truncated)
        assert one.probability == pytest.approx(other.probability, abs=1e-4)


def test_no_texts_and_texts_that_are_no_unicode_are_predicted(fitted: FittedClassifier) -> None:
    assert fitted.predict([]) == []
    half, replaced, blank = fitted.predict(["my \ud800 card", "my \ufffd card", " "])
    assert half == replaced
    assert blank.uncertain


@pytest.mark.parametrize(("family", "truncation"), [("bert", "head"), ("qwen2", "head_tail")])
def test_a_model_with_a_prompt_is_served_as_torch_computes_prompt_and_text(
    tiny_family: Callable[[str], Path], tiny_texts: Texts, tmp_path: Path, family: str, truncation: str
) -> None:
    prompt = "my card: "
    base = {"model": str(tiny_family(family)), "max_length": 30, "truncation": truncation, "prompt": prompt}
    trained = fit(*tiny_texts, base=base, finetune=FEW)
    trained.save(tmp_path / "model")
    trained.export(tmp_path / "onnx")
    texts = [*tiny_texts[0][:20], "I lost my card, where is it? " * 9]
    loaded, plain = Classifier.load(tmp_path / "model"), load_tokenizer(tiny_family(family))
    ids = tokenize(plain, [prompt + text for text in texts], 30, truncation)
    with torch.inference_mode():
        rows = [loaded(torch.tensor([one]), torch.ones(1, len(one), dtype=torch.int64)) for one in ids]
    expected = torch.cat(rows).numpy()
    predictor = Predictor.load(tmp_path / "onnx")
    np.testing.assert_allclose(predictor.logits(texts), expected, rtol=0, atol=2e-4)
    labels = [trained.labels[place] for place in expected.argmax(1)]
    for found in (predictor.predict(texts), trained.predict(texts)):
        assert [one.label for one in found] == labels
        assert [one.truncated for one in found] == [False] * 20 + [True]
    without = predictor.predict([prompt + text for text in texts])
    assert [one.probability for one in without] != [one.probability for one in predictor.predict(texts)]
    explained = explain(predictor, "I lost my card")[SINGLE_TASK]
    assert [(word.text, word.spans) for word in explained.words] == [
        ("I", ((0, 1),)),
        ("lost", ((2, 6),)),
        ("my", ((7, 9),)),
        ("card", ((10, 14),)),
    ]


def test_a_saved_model_is_a_model_folder(fitted: FittedClassifier, tiny_texts: Texts, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    assert tuple(loaded.labels) == fitted.labels
    assert torch.equal(loaded.head.weight, fitted._network.head.weight)


def test_multilabel_data_give_any_number_of_labels(
    multilabel: tuple[FittedClassifier, list[tuple[str, ...]]], tiny_texts: Texts, tmp_path: Path
) -> None:
    classifier, labels = multilabel
    assert "question" in classifier.labels
    assert all(prediction.multi_label for prediction in classifier.predict(tiny_texts[0]))
    assert 0 <= classifier.evaluate(tiny_texts[0], labels)["test_micro_f1"] <= 1
    classifier.export(tmp_path)
    assert Predictor.load(tmp_path).predict(["?"])[0].multi_label


def test_given_validation_texts_are_not_trained_on(
    tiny_texts: Texts, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Examples, Examples]] = []
    original = api.fit_classifier
    monkeypatch.setattr(
        api, "fit_classifier", lambda *given: seen.append((given[0], given[1])) or original(*given)
    )
    texts, labels = tiny_texts
    one = {"finetune": {"max_epochs": 1, "threads": 1}}
    fit(texts[::2], labels[::2], (texts[1::2], labels[1::2]), **settings | one)
    assert seen[0][0].texts == texts[::2]
    assert seen[0][1].texts == texts[1::2]


def test_the_example_of_the_module_runs(
    tiny_texts: Texts, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tokensieve, "fit", functools.partial(fit, **settings), raising=False)
    assert api.__doc__ is not None
    code = textwrap.dedent("".join(line for line in api.__doc__.splitlines(True) if line[:4].isspace()))
    texts, labels = tiny_texts
    exec(code, {"texts": texts, "labels": labels, "other_texts": texts[:9], "other_labels": labels[:9]})
    assert (tmp_path / "model" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("texts", "labels", "extra", "message"),
    [
        (["a", "b"], ["x"], {}, "2 texts and 1 labels"),
        ([], [], {}, "0 texts and 0 labels"),
        ("one text", ["x"], {}, "use a list of strings"),
        (["a", "b", "c", "d"], ["x"] * 4, {}, "the only class is 'x'"),
        (["a", "b"], ["x", "y"], {"finetune": {"epoch": 1}}, "unknown setting 'finetune.epoch'"),
        (["a", "b"], ["x", "y"], {"training": {}}, "unknown section 'training'"),
        (["a", "b"], ["x", "y"], {"mask": {"budget": 2}}, "mask.budget is 2"),
    ],
)
def test_wrong_arguments_are_refused(
    texts: Any, labels: Any, extra: dict[str, Any], message: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=message):
        fit(texts, labels, **settings | extra)


def test_importing_tokensieve_imports_nothing_heavy() -> None:
    program = "import sys; before = set(sys.modules); import tokensieve; print(*set(sys.modules) - before)"
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "numpy", "onnxruntime", "pandas", "mlflow"} & set(loaded)
    # Itself and `environment`; the rest is of the standard library.
    assert [name for name in loaded if name.split(".")[0] == "tokensieve" and name.count(".") > 1] == []
    assert len(loaded) < 100


def test_predictor_needs_no_torch() -> None:
    program = "import sys; from tokensieve import Predictor; print('torch' in sys.modules)"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def test_public_names() -> None:
    assert set(tokensieve.__all__) <= set(dir(tokensieve))
    for name in tokensieve.__all__:
        assert getattr(tokensieve, name) is not None
    assert callable(tokensieve.fit)
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        tokensieve.train  # noqa: B018


def test_rows_of_several_columns_are_texts_joined_by_line_feeds(
    tiny_texts: Texts, settings: dict[str, Any], tmp_path: Path
) -> None:
    texts, labels = tiny_texts
    rows = [{"subject": "", "body": text} for text in texts]
    few = FEW.__class__(**{**vars(FEW), "max_epochs": 1})
    options = settings | {"finetune": few, "data": {"text_column": ["subject", "body"]}}
    fitted = fit(rows, labels, **options)
    assert fitted.predict(rows) == fitted.predict(texts)
    assert fitted.evaluate(rows, labels) == fitted.evaluate(texts, labels)
    fitted.export(tmp_path / "model")
    assert Predictor.load(tmp_path / "model").text_rule.columns == ("subject", "body")
    with pytest.raises(InputError, match=r"texts\[0\] has no 'body'"):
        fitted.predict([{"subject": "a"}])
