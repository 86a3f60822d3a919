from __future__ import annotations

import math

import pytest
import torch

from tokensieve.evaluation.temperature import fit_temperature
from tokensieve.training.losses import calibrated_loss, mean_loss


def drawn(multi_label: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of 200 texts and 5 classes, and targets that they tell something about."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 5, generator=generator) * 2
    noisy = logits + torch.randn(200, 5, generator=generator) * 3
    return logits, (noisy > 1).float() if multi_label else noisy.argmax(1)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_calibrated_loss_is_that_of_the_fitted_temperature(multi_label: bool) -> None:
    logits, targets = drawn(multi_label)
    temperature = fit_temperature(logits.double().numpy(), targets.numpy())
    at_temperature = mean_loss(logits / temperature, targets).item()
    assert at_temperature < mean_loss(logits, targets).item()
    assert calibrated_loss(logits, targets) == pytest.approx(at_temperature, abs=1e-4)


@pytest.mark.parametrize("multi_label", [False, True])
def test_larger_logits_of_the_same_answers_have_the_same_calibrated_loss(multi_label: bool) -> None:
    logits, targets = drawn(multi_label)
    assert mean_loss(3 * logits, targets) > 1.5 * mean_loss(logits, targets)
    assert calibrated_loss(3 * logits, targets) == pytest.approx(calibrated_loss(logits, targets), abs=0.02)


def test_a_text_without_an_error_has_a_finite_loss() -> None:
    logits = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    assert 0 < calibrated_loss(logits, torch.tensor([0, 1])) < 1


@pytest.mark.parametrize(
    ("factor", "texts"), [(1.0, 1), (1.0, 3), (1e-30, 200), (1e6, 200), (1e30, 200)], ids=str
)
@pytest.mark.parametrize("kind", ["classes", "one class", "labels", "no label"])
def test_the_calibrated_loss_of_any_logits_is_finite_and_at_most_the_plain_one(
    factor: float, texts: int, kind: str
) -> None:
    logits, targets = (part[:texts] for part in drawn("label" in kind))
    targets = torch.zeros_like(targets) if kind in ("one class", "no label") else targets
    found, plain = calibrated_loss(factor * logits, targets), mean_loss(factor * logits, targets).item()
    assert math.isfinite(found)
    assert 0 <= found <= plain * (1 + 1e-5)
