from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tokensieve.data.examples import Examples
from tokensieve.errors import InputError
from tokensieve.model import state_cache as module
from tokensieve.model.batches import Inputs, batches_by_length, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer
from tokensieve.model.state_cache import cache_states, delete_other_states, states_key, tokenize_file

Texts = tuple[list[str], list[str]]


@pytest.fixture
def ids_of(tiny_family: Callable[[str], Path], tiny_texts: Texts) -> Callable[..., list[list[int]]]:
    """Token ids of every fifth text: all classes, many lengths."""

    def make(family: str = "bert") -> list[list[int]]:
        return tokenize(load_tokenizer(tiny_family(family)), tiny_texts[0][::5], 32)

    return make


@torch.no_grad()
def logits(inputs: Inputs, classifier: Classifier) -> Tensor:
    """Logits of all texts, three at a time."""
    return torch.cat(
        [inputs.batch(range(i, min(i + 3, len(inputs)))).logits(classifier) for i in range(0, len(inputs), 3)]
    )


def test_texts_are_cut_and_keep_their_special_tokens(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    long, short = tokenize(tokenizer, ["card " * 50, ""], 10)
    assert tokenizer.convert_ids_to_tokens(long) == ["[CLS]", *["card"] * 8, "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(short) == ["[CLS]", "[SEP]"]


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 120))
def test_batches_by_length_hold_every_text_once_within_their_tokens(lengths: list[int], tokens: int) -> None:
    batches = list(batches_by_length(lengths, tokens))
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[i] for i in order] == sorted(lengths)
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= tokens for batch in batches)


def test_a_batch_is_padded_on_the_right_in_the_given_order() -> None:
    batch = Inputs([[5, 6], [7], [8, 9, 10]]).batch([2, 1])
    assert batch.ids is not None
    assert batch.ids.tolist() == [[8, 9, 10], [7, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert (batch.states, batch.layer, batch.attention_mask.dtype) == (None, 0, torch.int64)


def test_frozen_inputs_give_the_same_logits_and_losses(
    tiny_classifier: Callable[..., Classifier], ids_of: Callable[..., list[list[int]]], family: str
) -> None:
    classifier = tiny_classifier(family, "last" if family in ("qwen2", "llama") else "mean")
    expected = logits(Inputs(ids_of(family)), classifier)
    targets = torch.arange(len(expected)) % 5
    for cut in (1, 3, 4):
        inputs = cache_states(Inputs(ids_of(family)), classifier, cut)
        batch = inputs.batch([0, 1])
        assert (batch.ids, batch.layer) == (None, cut)
        found = logits(inputs, classifier)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            F.cross_entropy(found, targets), F.cross_entropy(expected, targets), rtol=1e-4, atol=1e-5
        )


def test_frozen_inputs_can_be_trained_on(
    tiny_classifier: Callable[..., Classifier], ids_of: Callable[..., list[list[int]]]
) -> None:
    classifier = tiny_classifier()
    heads, layers = [], []
    for cut in (0, 2, 4):
        classifier.zero_grad()
        inputs = cache_states(Inputs(ids_of()), classifier, cut)
        F.cross_entropy(inputs.batch([0, 1, 2]).logits(classifier), torch.tensor([0, 1, 2])).backward()
        heads.append(classifier.head.weight.grad.clone())
        layers.append(classifier.encoder.encoder.layer[2].output.dense.weight.grad)
    torch.testing.assert_close(layers[1], layers[0], rtol=1e-3, atol=1e-6)
    assert layers[2] is None
    for gradient in heads[1:]:
        torch.testing.assert_close(gradient, heads[0], rtol=1e-3, atol=1e-6)


def test_features_and_hidden_states_lead_to_the_logits(
    tiny_classifier: Callable[..., Classifier], tiny_model: Path
) -> None:
    classifier = tiny_classifier()
    batch = cache_states(Inputs([[2, 9, 3], [2, 3]]), classifier, 2).batch([0, 1])
    states = batch.hidden_states(classifier)
    assert states.shape == (2, 3, 32)
    assert torch.equal(classifier.pool(states, batch.attention_mask), batch.features(classifier))
    assert torch.equal(classifier.head(batch.features(classifier)), batch.logits(classifier))


def test_a_cut_at_the_bottom_freezes_nothing(
    tiny_classifier: Callable[..., Classifier], tmp_path: Path
) -> None:
    inputs = Inputs([[2, 3]])
    assert cache_states(inputs, tiny_classifier(), 0, tmp_path, "key") is inputs
    assert inputs.batch([0]).ids is not None
    assert list(tmp_path.iterdir()) == []


def test_states_in_a_file_are_the_same_and_are_found_again(
    tiny_classifier: Callable[..., Classifier],
    ids_of: Callable[..., list[list[int]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classifier, folder = tiny_classifier(), tmp_path / "prefix"
    expected = logits(cache_states(Inputs(ids_of()), classifier, 2), classifier)
    written = cache_states(Inputs(ids_of()), classifier, 2, folder, "key")
    assert torch.equal(logits(written, classifier), expected)
    assert sorted(path.name for path in folder.iterdir()) == ["key.f32", "key.json"]
    assert (folder / "key.f32").stat().st_size == sum(map(len, ids_of())) * 32 * 4

    def never(*_: object) -> Tensor:
        raise AssertionError("the states were computed again")

    monkeypatch.setattr(Classifier, "hidden_states_at", never)
    assert torch.equal(
        logits(cache_states(Inputs(ids_of()), classifier, 2, folder, "key"), classifier), expected
    )
    (folder / "key.f32").write_bytes(bytes((folder / "key.f32").stat().st_size))
    assert not torch.equal(
        logits(cache_states(Inputs(ids_of()), classifier, 2, folder, "key"), classifier), expected
    )
    with pytest.raises(AssertionError, match="computed again"):
        cache_states(Inputs(ids_of()), classifier, 2, folder, "other")


@pytest.mark.parametrize("lost", ["key.json", "key.f32", "half"])
def test_unfinished_states_are_computed_again(
    tiny_classifier: Callable[..., Classifier],
    ids_of: Callable[..., list[list[int]]],
    tmp_path: Path,
    lost: str,
) -> None:
    classifier = tiny_classifier()
    expected = logits(cache_states(Inputs(ids_of()), classifier, 2, tmp_path, "key"), classifier)
    if lost == "half":
        (tmp_path / "key.f32").write_bytes((tmp_path / "key.f32").read_bytes()[:1000])
    else:
        (tmp_path / lost).unlink()
    assert torch.equal(
        logits(cache_states(Inputs(ids_of()), classifier, 2, tmp_path, "key"), classifier), expected
    )
    assert (tmp_path / "key.json").exists()


def test_the_key_changes_with_all_that_the_states_depend_on() -> None:
    key = states_key(Inputs([[1, 2], [3]]), 2, "weights")
    assert key == states_key(Inputs([[1, 2], [3]]), 2, "weights")
    others = [
        states_key(Inputs([[1, 2], [4]]), 2, "weights"),
        states_key(Inputs([[1], [2, 3]]), 2, "weights"),
        states_key(Inputs([[3], [1, 2]]), 2, "weights"),
        states_key(Inputs([[1, 2], [3]]), 3, "weights"),
        states_key(Inputs([[1, 2], [3]]), 2, "other weights"),
        states_key(Inputs([[1, 2], [3]]), 2, "weights", "pieces"),
        states_key(Inputs([[1, 2], [3]]), 2),
    ]
    assert len({key, *others}) == 8
    assert key.isalnum()


def test_states_of_other_keys_are_forgotten(
    tiny_classifier: Callable[..., Classifier], tmp_path: Path
) -> None:
    classifier = tiny_classifier()
    for key in ("old", "new"):
        cache_states(Inputs([[2, 5, 3]]), classifier, 1, tmp_path, key)
    delete_other_states(tmp_path, {"new"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.f32", "new.json"]


@pytest.fixture(params=[".jsonl", ".parquet", ".arrow", ".csv"])
def file(request: pytest.FixtureRequest, tiny_texts: Texts, tmp_path: Path) -> Path:
    """The tiny texts in the column "words" of a file, and an empty one."""
    path, texts = tmp_path / f"texts{request.param}", [*tiny_texts[0], ""]
    table = pyarrow.table({"words": texts, "label": ["a"] * len(texts)})
    if request.param == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif request.param == ".parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=7)
    elif request.param == ".arrow":
        with pyarrow.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
    else:
        pyarrow.csv.write_csv(table, path)
    return path


def test_streamed_texts_are_those_of_a_list(
    file: Path, tiny_model: Path, tiny_texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 8)
    tokenizer = load_tokenizer(tiny_model)
    listed = Inputs(tokenize(tokenizer, [*tiny_texts[0], ""], 12))
    streamed = tokenize_file(file, tokenizer, 12, tmp_path / "ids", "words")
    assert len(streamed) == len(listed) == 61
    assert streamed.lengths == listed.lengths
    assert states_key(streamed, 2) == states_key(listed, 2)
    for indices in ([3, 0, 60], list(range(61))):
        found, expected = streamed.batch(indices), listed.batch(indices)
        assert found.ids is not None
        assert expected.ids is not None
        assert torch.equal(found.ids, expected.ids)
        assert torch.equal(found.attention_mask, expected.attention_mask)


def test_streamed_states_are_those_of_a_list(
    tiny_classifier: Callable[..., Classifier], tiny_model: Path, tiny_texts: Texts, tmp_path: Path
) -> None:
    classifier, tokenizer = tiny_classifier(), load_tokenizer(tiny_model)
    Examples.of(tiny_texts[0]).save(tmp_path / "texts.jsonl")
    streamed = tokenize_file(tmp_path / "texts.jsonl", tokenizer, 32, tmp_path)
    expected = logits(cache_states(Inputs(tokenize(tokenizer, tiny_texts[0], 32)), classifier, 2), classifier)
    frozen = cache_states(streamed, classifier, 2, tmp_path, "states")
    assert torch.equal(logits(frozen, classifier), expected)
    assert frozen.keys == (*streamed.keys, "states")
    delete_other_states(tmp_path, streamed.keys)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".ids", ".lengths"]


def test_streamed_texts_are_tokenized_once(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, path, folder = load_tokenizer(tiny_model), tmp_path / "texts.jsonl", tmp_path / "ids"
    Examples.of(["my card", "where is it"]).save(path)
    first = tokenize_file(path, tokenizer, 12, folder)
    (folder / f"{first.keys[0]}.lengths").unlink()  # as if it had been interrupted
    tokenize_file(path, tokenizer, 12, folder)
    with monkeypatch.context() as patch:
        patch.setattr(module, "tokenize", lambda *_: pytest.fail("the texts were tokenized again"))
        assert tokenize_file(path, tokenizer, 12, folder).lengths == first.lengths
    keys = {first.keys, tokenize_file(path, tokenizer, 3, folder).keys}
    tokenizer.add_tokens(["where is"])
    keys.add(tokenize_file(path, tokenizer, 12, folder).keys)
    Examples.of(["my card", "where was it"]).save(path)
    keys.add(tokenize_file(path, tokenizer, 12, folder).keys)
    assert len(keys) == 4


def test_a_file_that_cannot_be_streamed_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "a"}\n{"text": 3}\n')
    with pytest.raises(InputError, match=r"row 2 \(line 2\): 'text' is '3'; give a text"):
        tokenize_file(path, load_tokenizer(tiny_model), 12, tmp_path / "ids")
    assert list((tmp_path / "ids").iterdir()) == []


STREAM = """
import resource, sys
from pathlib import Path
from tokensieve.model.encoder import load_tokenizer
from tokensieve.model import state_cache as module
from tokensieve.model.state_cache import tokenize_file
from tokensieve.training.epochs import shuffled_batches

module.CHUNK = 500
tokenizer, file = load_tokenizer(Path(sys.argv[1])), Path(sys.argv[2])
tokenize_file(file.with_name("few.jsonl"), tokenizer, 256, file.parent / "ids")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
inputs = tokenize_file(file, tokenizer, 256, file.parent / "ids")
for indices in shuffled_batches(inputs.lengths, 32, 0)[:200]:
    inputs.batch(indices)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_only_a_part_of_the_texts_is_in_memory(tiny_model: Path, tmp_path: Path) -> None:
    # Texts of 1,000 characters, 6 MB; tokenized at once they take about 300 MB.
    texts = ["my card was stolen on the train and " * 28 + str(i) for i in range(6_000)]
    Examples.of(texts).save(tmp_path / "many.jsonl")
    Examples.of(texts[:501]).save(tmp_path / "few.jsonl")
    command = [sys.executable, "-c", STREAM, str(tiny_model), str(tmp_path / "many.jsonl")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 25_000  # kilobytes, 6,000 of them the mapped ids, which the system may page out


def test_a_disk_without_room_for_the_states_is_refused(
    tiny_classifier: Callable[..., Classifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=3_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    inputs = Inputs([[2, 5, 3]] * 8)
    message = (
        r"key\.f32: the states of 8 texts below layer 2 need 0\.0 GB, and 0\.0 GB are free\. "
        r"Free some space, or compute"
    )
    with pytest.raises(InputError, match=message):
        cache_states(inputs, tiny_classifier(), 2, tmp_path, "key")
    assert list(tmp_path.iterdir()) == []
    cache_states(Inputs([[2, 5, 3]] * 7), tiny_classifier(), 2, tmp_path, "key")
