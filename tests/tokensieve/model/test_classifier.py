from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tokensieve.method.constructs import Construct
from tokensieve.method.vocabulary import choose_new_tokens, extend_tokenizer
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers, load_tokenizer

TEXTS = [
    "where is my order?",
    "refund",
    "I lost my card, block it now please and send a new one to my new address",
]
LABELS = ["address", "card_lost", "refund", "topup", "track"]


def tokens(folder: Path, texts: list[str] = TEXTS) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, padded on the right."""
    encoded = load_tokenizer(folder)(texts, padding=True, padding_side="right", return_tensors="pt")
    assert len(texts) == 1 or (encoded["attention_mask"] == 0).any()
    return encoded["input_ids"], encoded["attention_mask"]


@torch.no_grad()
def test_prefix_and_suffix_are_the_whole_at_every_cut(
    tiny_classifier: Callable[..., Classifier], tiny_family: Callable[[str], Path], family: str
) -> None:
    classifier = tiny_classifier(family)
    ids, mask = tokens(tiny_family(family))
    whole = classifier.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    previous = None
    for cut in range(1, 5):
        states = classifier.hidden_states_at(ids, mask, cut)
        assert states.shape == whole.shape
        torch.testing.assert_close(
            classifier.last_hidden_state_from(states, mask, cut)[mask.bool()], whole[mask.bool()]
        )
        assert previous is None or not torch.allclose(states, previous)
        previous = states
    torch.testing.assert_close(
        classifier.encoder(input_ids=ids, attention_mask=mask).last_hidden_state, whole, rtol=0, atol=0
    )


@torch.no_grad()
def test_padding_does_not_change_a_text(
    tiny_classifier: Callable[..., Classifier], tiny_family: Callable[[str], Path], family: str
) -> None:
    for pooling in ("mean", "cls", "last"):
        classifier = tiny_classifier(family, pooling)
        together = classifier(*tokens(tiny_family(family)))
        alone = torch.cat([classifier(*tokens(tiny_family(family), [text])) for text in TEXTS])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
        assert (together.argmax(1) == alone.argmax(1)).all()


def test_the_backward_pass_ends_at_the_cut(
    tiny_classifier: Callable[..., Classifier], tiny_family: Callable[[str], Path], family: str
) -> None:
    classifier = tiny_classifier(family)
    ids, mask = tokens(tiny_family(family))
    with torch.no_grad():
        states = classifier.hidden_states_at(ids, mask, 2)
    classifier.head(
        classifier.pool(classifier.last_hidden_state_from(states, mask, 2), mask)
    ).sum().backward()
    moved = [
        any(parameter.grad is not None for parameter in layer.parameters())
        for layer in encoder_layers(classifier.encoder)
    ]
    assert moved == [False, False, True, True]


@torch.no_grad()
def test_states_are_handed_on_as_they_are_in_training_too(
    tiny_classifier: Callable[..., Classifier], tiny_family: Callable[[str], Path], family: str
) -> None:
    classifier = tiny_classifier(family)
    ids, mask = tokens(tiny_family(family))
    states = classifier.hidden_states_at(ids, mask, 2)
    upper = classifier.forward_layers(states, mask, 2, 4)
    classifier.train()
    drawn = torch.get_rng_state()
    assert torch.equal(classifier.forward_layers(states, mask, 2, 2), states)
    trained = classifier.last_hidden_state_from(upper, mask, 4)
    assert torch.equal(torch.get_rng_state(), drawn)  # no dropout below the cut, of embeddings neither
    torch.testing.assert_close(
        trained[mask.bool()], classifier.eval().last_hidden_state_from(upper, mask, 4)[mask.bool()]
    )


def test_a_cut_at_the_bottom_has_no_prefix(tiny_classifier: Callable[..., Classifier]) -> None:
    with pytest.raises(ValueError, match="a cut at layer 0 has no prefix"):
        tiny_classifier().last_hidden_state_from(
            torch.zeros(1, 2, 32), torch.ones(1, 2, dtype=torch.int64), 0
        )


def test_a_failed_pass_leaves_no_trace(tiny_classifier: Callable[..., Classifier], tiny_model: Path) -> None:
    classifier = tiny_classifier()
    ids, mask = tokens(tiny_model)
    before = classifier(ids, mask)
    with pytest.raises(RuntimeError):
        classifier.last_hidden_state_from(torch.zeros(3, mask.shape[1], 7), mask, 2)
    with pytest.raises(IndexError):
        classifier.hidden_states_at(torch.full_like(ids, 10_000), mask, 2)
    assert torch.equal(classifier(ids, mask), before)


def test_pooling_by_hand(tiny_classifier: Callable[..., Classifier]) -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]], [[5.0, 6.0], [7.0, 9.0], [0.0, 3.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    expected = {
        "mean": [[2.0, 3.0], [4.0, 6.0]],
        "cls": [[1.0, 2.0], [5.0, 6.0]],
        "last": [[3.0, 4.0], [0.0, 3.0]],
    }
    for pooling, vectors in expected.items():
        assert tiny_classifier(pooling=pooling).pool(states, mask).tolist() == vectors


@torch.no_grad()
def test_the_logits_are_the_head_of_the_pooled_states(
    tiny_classifier: Callable[..., Classifier], tiny_model: Path
) -> None:
    classifier = tiny_classifier()
    ids, mask = tokens(tiny_model)
    states = classifier.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    vectors = torch.stack([row[: int(kept.sum())].mean(0) for row, kept in zip(states, mask, strict=True)])
    torch.testing.assert_close(
        classifier(ids, mask), vectors @ classifier.head.weight.T + classifier.head.bias
    )


@torch.no_grad()
def test_a_saved_classifier_gives_the_same_logits(
    tiny_classifier: Callable[..., Classifier],
    tiny_family: Callable[[str], Path],
    tmp_path: Path,
    family: str,
) -> None:
    classifier = tiny_classifier(family, "last")
    classifier.encoder.get_input_embeddings().weight.mul_(1.5)
    tokenizer = load_tokenizer(tiny_family(family))
    classifier.save(tmp_path, tokenizer, {"max_length": 16})
    loaded = Classifier.load(tmp_path)
    assert (loaded.labels, loaded.pooling, loaded.training) == (LABELS, "last", False)
    assert torch.equal(loaded(*tokens(tmp_path)), classifier(*tokens(tiny_family(family))))
    eager = Classifier.load(tmp_path, attention="eager")
    torch.testing.assert_close(eager(*tokens(tmp_path)), loaded(*tokens(tmp_path)), rtol=1e-4, atol=1e-5)
    tree = json.loads((tmp_path / "classifier.json").read_text(encoding="utf-8"))
    assert tree == {"labels": LABELS, "pooling": "last", "max_length": 16}


def test_a_new_classifier_depends_on_the_seed_alone(tiny_model: Path, tmp_path: Path) -> None:
    extend_tokenizer(load_tokenizer(tiny_model), {}, tmp_path)
    first, again, other = (Classifier.new(tiny_model, tmp_path, "auto", LABELS, seed) for seed in (0, 0, 1))
    assert not first.training
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
    assert first.pooling == "mean"


@torch.no_grad()
def test_a_classifier_of_a_grown_vocabulary_is_saved_whole(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    added = choose_new_tokens(tokenizer, [Construct("topup", "topup", 1.0, 1.0, 2)], 1)
    grown = extend_tokenizer(tokenizer, added, tmp_path / "tokenizer")
    classifier = Classifier.new(tiny_model, tmp_path / "tokenizer", "auto", LABELS, 0)
    classifier.save(tmp_path / "model", grown, {})
    ids, mask = tokens(tmp_path / "model", ["topups"])
    assert int(ids.max()) == len(tokenizer.get_vocab())
    assert torch.equal(Classifier.load(tmp_path / "model")(ids, mask), classifier(ids, mask))


@torch.no_grad()
def test_a_head_that_expects_its_labels_starts_at_their_odds(
    tiny_classifier: Callable[..., Classifier],
) -> None:
    classifier = tiny_classifier()
    weight = classifier.head.weight.clone()
    targets = torch.zeros(999, 5)
    targets[:499, 0] = 1.0
    targets[:99, 1] = 1.0
    targets[:, 2] = 1.0
    classifier.init_head_bias_from_priors(targets)
    torch.testing.assert_close(classifier.head.bias.sigmoid()[:3], torch.tensor([0.4995, 0.0995, 0.9995]))
    assert classifier.head.bias.isfinite().all()
    assert torch.equal(classifier.head.weight, weight)
