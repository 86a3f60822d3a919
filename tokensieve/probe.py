"""The linear probe: multinomial logistic regression on frozen features. It is the head that training starts from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tokensieve.classifier import Classifier
from tokensieve.inputs import Inputs, by_length


@torch.inference_mode()
def features(classifier: Classifier, inputs: Inputs) -> Tensor:
    """One vector a text, float32 [texts, width], as the classifier's head sees them."""
    classifier.eval()
    found = torch.empty(len(inputs), classifier.encoder.config.hidden_size)
    for indices in by_length(inputs.lengths):
        found[indices] = inputs.batch(indices).features(classifier).float().cpu()
    return found


def fit(x: Tensor, targets: Tensor, classes: int, penalty: float = 1e-3, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weight [classes, width] and bias [classes] that minimise mean cross-entropy plus `penalty` times half the squared weights
    of the standardised features [texts, width]; the standardisation is folded into what is returned."""
    mean, scale = x.mean(0), x.std(0).clamp(min=1e-6)
    x = (x - mean) / scale
    weight, bias = torch.zeros(classes, x.shape[1], requires_grad=True), torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(F.linear(x, weight, bias), targets, weights) + penalty / 2 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        return weight / scale, bias - weight @ (mean / scale)
