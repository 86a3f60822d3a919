from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokensieve
from tokensieve.errors import InputError
from tokensieve.inference import manifest
from tokensieve.inference import predictor as module
from tokensieve.inference.decisions import softmax
from tokensieve.inference.predictor import Predictor, batches
from tokensieve.model.batches import tokenize
from tokensieve.model.encoder import load_tokenizer

QUESTIONS = [
    "I lost my card",
    "what is my balance?",
    "send money to a friend please",
    "größe",
    "",
    "i",
    "card card card card",
    "zq9 xv",
]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


@pytest.fixture(scope="module")
def predictor(served: Any) -> Predictor:
    return Predictor.load(served.folder, threads=1)


@pytest.fixture
def folder(served: Any, tmp_path: Path) -> Path:
    return Path(served.write(tmp_path / "onnx"))


def test_logits_and_probabilities_equal_the_plain_reference(predictor: Predictor, served: Any) -> None:
    reference = served.logits(QUESTIONS)
    logits = predictor.logits(QUESTIONS)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, reference, atol=1e-5)
    for text, prediction, row in zip(
        QUESTIONS, predictor.predict(QUESTIONS, top=4), reference.astype(np.float64) / 1.7, strict=True
    ):
        expected = {
            label: float(np.exp(value) / np.exp(row).sum())
            for label, value in zip(predictor.manifest.labels, row, strict=True)
        }
        assert dict(prediction.top) == pytest.approx(expected, abs=1e-5)
        assert prediction.label == max(expected, key=expected.__getitem__)
        assert prediction.probability == prediction.top[0][1]
        assert prediction.uncertain == (not text or prediction.probability < 0.8)


def test_a_model_of_several_labels_gives_those_above_their_thresholds(served: Any, tmp_path: Path) -> None:
    several = Predictor.load(served.write_several(tmp_path), threads=1)
    manifest = several.manifest
    chances = 1 / (1 + np.exp(-served.logits(QUESTIONS).astype(np.float64) / manifest.temperature))
    answers = several.predict(QUESTIONS, top=2)
    for text, answer, row in zip(QUESTIONS, answers, chances, strict=True):
        known = dict(zip(manifest.labels, row, strict=True))
        needed = dict(zip(manifest.labels, manifest.thresholds, strict=True))
        assert answer.multi_label
        assert dict(answer.labels) == pytest.approx(
            {label: known[label] for label in known if known[label] >= needed[label]}, abs=1e-5
        )
        values = [probability for _, probability in answer.labels]
        assert values == sorted(values, reverse=True)
        assert [label for label, _ in answer.top] == sorted(known, key=known.__getitem__, reverse=True)[:2]
        odds = np.log(row / (1 - row)) - np.log(
            np.array(manifest.thresholds) / (1 - np.array(manifest.thresholds))
        )
        assert answer.uncertain == (not text or 1 / (1 + np.exp(-np.abs(odds).min())) < 0.6)
    # No label, one and several; sure and not.
    assert {min(len(answer.labels), 2) for answer in answers} == {0, 1, 2}
    assert {answer.uncertain for answer in answers} == {True, False}
    assert several.predict([]) == []


def test_both_sides_of_the_threshold_are_met(predictor: Predictor) -> None:
    assert {prediction.uncertain for prediction in predictor.predict(QUESTIONS)} == {True, False}


def test_a_model_that_this_processor_computes_otherwise_is_named(
    folder: Path, served: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tokensieve.processor.saturates_int8", lambda: True)
    Predictor.load(folder, threads=1)
    assert not caplog.records
    replace(served.manifest, variant="int8", int8_bits=8).save(folder)
    Predictor.load(folder, threads=1)
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        f"{folder}: this processor has no VNNI"
    ]


def test_a_label_that_hardly_leads_is_uncertain_however_likely(folder: Path, served: Any) -> None:
    replace(served.manifest, threshold=0.0, margin=0.5).save(folder)
    answers = Predictor.load(folder, threads=1).predict(QUESTIONS, top=2)
    leads = [answer.top[0][1] - answer.top[1][1] for answer in answers]
    assert [answer.uncertain for answer in answers] == [
        not text or lead < 0.5 for text, lead in zip(QUESTIONS, leads, strict=True)
    ]
    assert {answer.uncertain for answer in answers} == {True, False}


@pytest.mark.parametrize(("top", "length"), [(1, 1), (2, 2), (3, 3), (99, 4)])
def test_top_is_sorted_and_has_the_given_length(predictor: Predictor, top: int, length: int) -> None:
    for prediction in predictor.predict(QUESTIONS, top=top):
        values = [probability for _, probability in prediction.top]
        assert len(values) == length
        assert values == sorted(values, reverse=True)
        assert (prediction.label, prediction.probability) == prediction.top[0]


def test_top_below_one_is_refused(predictor: Predictor) -> None:
    with pytest.raises(InputError, match="top is 0; allowed: at least 1"):
        predictor.predict(["card"], top=0)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.sampled_from(QUESTIONS) | ANY_TEXT, min_size=1, max_size=12),
    budget=st.sampled_from([1, 16, 512]),
)
def test_a_batch_equals_its_texts_one_by_one_in_order(
    predictor: Predictor, texts: list[str], budget: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH_TOKENS", budget)
        batch = predictor.logits(texts)
    single = np.concatenate([predictor.logits([text]) for text in texts])
    assert np.isfinite(batch).all()
    np.testing.assert_allclose(batch, single, atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(text=ANY_TEXT)
def test_any_unicode_gets_an_answer(predictor: Predictor, text: str) -> None:
    (prediction,) = predictor.predict([text])
    assert prediction.label in predictor.manifest.labels
    assert 0 < prediction.probability <= 1


@pytest.mark.parametrize("family", ["bert", "roberta", "qwen2"])
def test_any_unicode_gets_the_ids_that_training_saw(
    family: str, tiny_family: Callable[[str], Path], served: Any, tmp_path: Path
) -> None:
    trained = load_tokenizer(tiny_family(family))
    folder = served.write(tmp_path)
    trained.backend_tokenizer.save(
        str(folder / "tokenizer.json")
    )  # as training writes it, whatever the base had
    served.manifest.save(folder)
    tokenizer = Predictor.load(folder, threads=1)

    @settings(max_examples=200, deadline=None)
    @given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=4))
    def check(texts: list[str]) -> None:
        for encoded, expected in zip(
            tokenizer.tokenize(texts),
            tokenize(trained, texts, served.manifest.max_length) if texts else [],
            strict=True,
        ):
            assert encoded.ids == (expected or [0])

    check()


def test_half_a_surrogate_pair_is_replaced_and_two_halves_are_joined(predictor: Predictor) -> None:
    replaced, clean, halves, whole = predictor.logits(
        ["card \ud800", "card \ufffd", "card \ud83d\ude00", "card 😀"]
    )
    np.testing.assert_array_equal(replaced, clean)
    np.testing.assert_array_equal(halves, whole)
    assert predictor.predict(["\0", "\0card\0"])[1].label == predictor.predict(["card"])[0].label


def test_no_text_gets_no_answer(predictor: Predictor) -> None:
    assert predictor.predict([]) == []
    assert predictor.logits([]).shape == (0, 4)


def test_a_folder_may_be_given_as_text(predictor: Predictor, served: Any) -> None:
    assert Predictor.load(str(served.folder), 1).predict(["card"]) == predictor.predict(["card"])


def test_one_text_for_the_list_is_a_mistake(predictor: Predictor) -> None:
    with pytest.raises(TypeError, match="give a list of texts"):
        predictor.predict("my card")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"lost", "one text"),
        ({"text": "lost"}, "one row"),
        (SimpleNamespace(columns=["text", "id"]), "texts is a table; give a list of texts"),
    ],
)
def test_what_would_be_read_as_other_texts_is_refused(served_folder: Path, given: Any, words: str) -> None:
    """The items of a row and of a DataFrame are their column names."""
    with pytest.raises(TypeError, match=words):
        Predictor.load(served_folder).predict(given)


def test_truncated_is_true_if_tokens_were_cut_off(predictor: Predictor, served: Any) -> None:
    # Twelve tokens are read, two of them [CLS] and [SEP].
    fits, cut, longer = (" ".join(["card"] * count) for count in (10, 11, 500))
    assert [prediction.truncated for prediction in predictor.predict([fits, cut, longer, ""])] == [
        False,
        True,
        True,
        False,
    ]
    np.testing.assert_allclose(predictor.logits([longer]), predictor.logits([fits]), atol=1e-6)


def test_padding_and_truncation_in_the_tokenizer_file_are_overruled(folder: Path, served: Any) -> None:
    tree = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tree["padding"] = {
        "strategy": {"Fixed": 40},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    tree["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    (folder / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")
    served.manifest.save(folder)
    np.testing.assert_allclose(
        Predictor.load(folder, threads=1).logits(QUESTIONS), served.logits(QUESTIONS), atol=1e-5
    )


def test_an_empty_text_without_special_tokens_gets_a_finite_answer(tmp_path: Path, served: Any) -> None:
    logits = Predictor.load(served.write(tmp_path, special=False), threads=1).logits(["card", "", "card"])
    np.testing.assert_allclose(logits[1], served.embedding[0] @ served.weight + served.bias, atol=1e-5)
    np.testing.assert_array_equal(logits[0], logits[2])


@given(lengths=st.lists(st.integers(1, 20), max_size=40), budget=st.integers(1, 60))
def test_groups_hold_every_text_once_and_pad_nothing(lengths: list[int], budget: int) -> None:
    planned = list(batches(lengths, budget))
    assert sorted(index for group in planned for index in group) == list(range(len(lengths)))
    for group in planned:
        (length,) = {lengths[index] for index in group}
        assert length * len(group) <= budget or len(group) == 1


def test_probabilities_survive_large_logits_and_sum_to_one() -> None:
    rows = softmax(np.float32([[1e4, 0, -1e4], [0, 0, 0]]), 0.5)
    np.testing.assert_allclose(rows, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], atol=1e-12)
    hot, cold = (softmax(np.float32([[2, 1]]), temperature)[0, 0] for temperature in (4.0, 0.25))
    assert hot < cold


def test_a_changed_model_is_refused_before_it_is_read(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(InputError, match=r"model\.onnx is not the file"):
        Predictor.load(folder)


@pytest.mark.parametrize(
    ("name", "vendor"), [("model.onnx", "onnxruntime"), ("tokenizer.json", "tokenizers")]
)
def test_a_file_that_was_exported_broken_is_refused_by_name(
    folder: Path, served: Any, name: str, vendor: str
) -> None:
    (folder / name).write_bytes(b"{}")
    served.manifest.save(folder)
    with pytest.raises(InputError, match=rf"{name} cannot be read by {vendor} \d"):
        Predictor.load(folder, threads=1)


def test_labels_and_graph_must_agree(folder: Path, served: Any) -> None:
    replace(served.manifest, labels=("a", "b", "c")).save(folder)
    with pytest.raises(InputError, match=r"has 4 classes, its manifest 3 labels"):
        Predictor.load(folder, threads=1)


def test_a_graph_with_other_inputs_is_refused(tmp_path: Path, served: Any) -> None:
    folder = served.write(tmp_path, inputs=onnx.TensorProto.INT32)
    with pytest.raises(
        InputError, match=r"maps input_ids tensor\(int32\).* must map input_ids tensor\(int64\)"
    ):
        Predictor.load(folder, threads=1)


def test_predicting_imports_no_training_or_orchestration() -> None:
    heavy = ("torch", "transformers", "mlflow", "prefect", "pandas", "starlette", "onnx")
    code = (
        "import sys, tokensieve.inference.predictor; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    root = Path(tokensieve.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_the_hashed_bytes_are_the_loaded_bytes(
    folder: Path, served: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A file that is replaced right after its hash was taken is not read again."""
    expected = Predictor.load(folder, threads=1).predict(QUESTIONS)
    other = replace(served, weight=-served.weight).write(folder.with_name("other"))
    (other / "tokenizer.json").write_text(
        (folder / "tokenizer.json").read_text(encoding="utf-8").replace("lost", "kept"), encoding="utf-8"
    )
    contents = manifest.read_files

    def then_replaced(*arguments: Any) -> dict[str, bytes]:
        found = contents(*arguments)
        (other / name).replace(folder / name)
        return found

    monkeypatch.setattr(manifest, "read_files", then_replaced)
    assert Predictor.load(folder, threads=1).predict(QUESTIONS) == expected
    monkeypatch.undo()
    with pytest.raises(InputError, match="its SHA-256 differs"):
        Predictor.load(folder, threads=1)


def test_external_weights_are_hashed_and_loaded_or_refused(folder: Path, served: Any) -> None:
    expected = Predictor.load(folder, threads=1).predict(QUESTIONS)
    graph = onnx.load(folder / "model.onnx")
    onnx.save(
        graph, folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    served.manifest.save(folder)
    with pytest.raises(
        InputError, match=r"reads weights from 'weights\.bin', which manifest\.json does not list"
    ):
        Predictor.load(folder, threads=1)
    replace(served.manifest, files={"weights.bin": ""}).save(folder)
    assert Predictor.load(folder, threads=1).predict(QUESTIONS) == expected
    weights = bytearray((folder / "weights.bin").read_bytes())
    weights[0] ^= 1
    (folder / "weights.bin").write_bytes(weights)
    with pytest.raises(InputError, match="its SHA-256 differs"):
        Predictor.load(folder, threads=1)
