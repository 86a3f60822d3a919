"""Probes of layers: against regressions made one by one, and what they say of tasks near and
far.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor
from torch.nn import functional as F

from tokensieve.method import fisher, probe
from tokensieve.model.batches import Inputs
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers
from tokensieve.model.state_cache import cache_states


def test_leave_one_out_errors_equal_those_of_separate_regressions(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    features = torch.randn(40, 6)
    targets = (features @ torch.randn(6, 4) + torch.randn(40, 4)).argmax(1)
    wanted = 2 * F.one_hot(targets, 4) - 1
    monkeypatch.setattr(probe, "PENALTIES", (0.5,))
    found = probe.leave_one_out_errors(features, targets)
    x = features.double() - features.double().mean(0)
    penalty = 0.5 * float(torch.linalg.eigvalsh(x.mT @ x).mean())
    for i in range(40):
        others = [j for j in range(40) if j != i]
        model = Ridge(alpha=penalty).fit(features[others].double().numpy(), wanted[others].numpy())
        predicted = model.predict(features[i : i + 1].double().numpy())[0]
        assert found[i] == int(np.argmax(predicted) != targets[i])
    assert 0 < found.sum() < 40


def test_features_without_sense_are_not_learned_by_heart() -> None:
    torch.manual_seed(0)
    targets = torch.arange(200) % 4
    assert probe.leave_one_out_errors(torch.randn(200, 150), targets).mean() > 0.6
    assert (
        probe.leave_one_out_errors(F.one_hot(targets).float() + 0.1 * torch.randn(200, 4), targets).mean()
        < 0.05
    )


@pytest.mark.parametrize("cut", [0, 2])
@pytest.mark.parametrize("scoring", [False, True])
def test_the_states_that_enter_the_layers_and_the_head_are_kept(
    family: str,
    scoring: bool,
    cut: int,
    tiny_classifier: Callable[..., Classifier],
    tiny_texts: tuple[list[str], list[str]],
) -> None:
    ids = [
        [2 + (place * 7 + len(text)) % 90 for place in range(2 + len(text) % 9)]
        for text in tiny_texts[0][:60]
    ]
    classifier, texts, layers = tiny_classifier(family), list(range(3, 60, 2)), sorted({cut, 2, 3})
    inputs = cache_states(Inputs(ids), classifier, cut)
    classifier.encoder.requires_grad_(False)
    targets = torch.arange(60) % len(classifier.labels)
    with probe.StateRecorder(classifier, layers, len(texts)) as recorder:
        if scoring:
            unwatched = fisher.fisher_scores(classifier, inputs, targets, texts=texts, cut=cut)
            watched = fisher.fisher_scores(
                classifier, inputs, targets, texts=texts, cut=cut, recorder=recorder
            )
            assert all(torch.equal(unwatched[name], found) for name, found in watched.items())
        else:
            recorder.run(inputs, texts)
    batch = Inputs(ids).batch(texts)
    with torch.no_grad():
        assert batch.ids is not None
        expected = [
            classifier.pool(
                classifier.hidden_states_at(batch.ids, batch.attention_mask, layer), batch.attention_mask
            )
            for layer in layers
        ]
        expected.append(
            classifier.pool(
                classifier.encoder(
                    input_ids=batch.ids, attention_mask=batch.attention_mask
                ).last_hidden_state,
                batch.attention_mask,
            )
        )
    torch.testing.assert_close(recorder.states, torch.stack(expected), rtol=1e-3, atol=1e-4)
    errors = recorder.errors(targets[texts])
    assert list(errors) == [*layers, len(encoder_layers(classifier.encoder))]
    assert all(
        torch.equal(errors[layer], probe.leave_one_out_errors(recorder.states[i], targets[texts]))
        for i, layer in enumerate(errors)
    )
    inputs.batch([0]).logits(classifier)
    assert not recorder._caught  # after the block, it has no states


def wrong(count: int, of: int = 200) -> Tensor:
    return torch.tensor([1.0] * count + [0.0] * (of - count)).double()


@pytest.mark.parametrize(
    ("lower", "top", "expected"),
    [
        (wrong(80), wrong(120), True),
        (wrong(80), wrong(90), False),  # fewer than 1.2 times as many
        (wrong(4), wrong(8), False),  # chance
        (wrong(120), wrong(80), False),
        (wrong(80), wrong(80), False),
    ],
)
def test_a_task_is_distant_if_the_top_surely_errs_more(lower: Tensor, top: Tensor, expected: bool) -> None:
    assert probe.is_far_from_pretraining({2: wrong(150), 4: lower, 6: top}, 1.2) == expected
    assert not probe.is_far_from_pretraining({6: top}, 1.2)
