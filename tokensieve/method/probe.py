"""Linear probes on an encoder before training: how far the task is from pre-training.

The upper layers of an encoder are specialized in its pre-training task. If the new task is far from
that one, the states of upper layers have less information about it than the states of lower layers.
Training only the upper layers cannot restore that information.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from tokensieve.bars import Bar
from tokensieve.model.batches import Inputs, batches_by_length
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers
from tokensieve.model.products import fast_products

PENALTIES = (0.01, 0.1, 1.0, 10.0)  # of the ridge regression, in units of the mean variance of a feature
SIGNIFICANT = 3.0  # standard errors


class StateRecorder:
    """Context manager that records pooled hidden states during forward passes.

    The probes reuse the forward passes of the scoring in this way.

    Attributes:
        states: float32 [layers + 1, texts, width]. They are the pooled states that enter each of
            `layers`, and last those that enter the head. `layers` are ascending, and none is below
            the layer of the inputs.
    """

    def __init__(self, classifier: Classifier, layers: Sequence[int], texts: int) -> None:
        self.states = torch.empty(len(layers) + 1, texts, classifier.head.in_features)
        self._classifier, self._layers = classifier, layers
        self._caught: dict[int, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> StateRecorder:
        modules = [
            *(encoder_layers(self._classifier.encoder)[layer] for layer in self._layers),
            self._classifier.head,
        ]
        self._handles = [
            module.register_forward_pre_hook(self._catcher(i), with_kwargs=True)
            for i, module in enumerate(modules)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._caught.clear()

    def record(self, rows: Sequence[int], mask: Tensor) -> None:
        """Record the states of the last forward pass.

        Args:
            rows: The indices in `states` of the texts of the batch.
            mask: The attention mask of the batch, int64 [batch, length].
        """
        for i in range(len(self._layers)):
            self.states[i, rows] = self._classifier.pool(self._caught[i], mask).float().cpu()
        self.states[-1, rows] = self._caught[len(self._layers)].float().cpu()

    @fast_products()
    @torch.inference_mode()
    def run(self, inputs: Inputs, texts: Sequence[int]) -> None:
        """Compute and record the states of the inputs at the indices `texts`."""
        self._classifier.eval()
        with Bar(name="computing states", unit="text", total=len(texts)) as bar:
            for rows in batches_by_length([inputs.lengths[i] for i in texts], inputs.tokens_per_batch):
                batch = inputs.batch([texts[row] for row in rows])
                batch.logits(self._classifier)
                self.record(rows, batch.attention_mask)
                bar.update(len(rows))

    def errors(self, targets: Tensor) -> dict[int, Tensor]:
        """Return which texts the probe of each layer misclassifies, float64 [texts] of 0 and 1.

        The keys are the numbers of the layers. The number of the head is the number of layers.
        `targets` are the classes of the texts, int64 [texts].
        """
        layers = [*self._layers, len(encoder_layers(self._classifier.encoder))]
        return {
            layer: leave_one_out_errors(states, targets)
            for layer, states in zip(layers, self.states, strict=True)
        }

    def _catcher(self, row: int) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            self._caught[row] = (args[0] if args else kwargs["hidden_states"]).detach()

        return hook


def leave_one_out_errors(features: Tensor, targets: Tensor) -> Tensor:
    """Return which texts a ridge regression on all other texts misclassifies.

    The result is float64 [texts] of 0 and 1, for the penalty with the fewest errors. Leaving a text
    out needs no second regression: its residual grows by the factor 1 / (1 - h) with its leverage h
    (Allen 1974). RidgeClassifierCV of scikit-learn makes the same errors, but takes 2 to 40 times
    as long.

    Args:
        features: float32 [texts, width].
        targets: int64 [texts].
    """
    wanted = F.one_hot(targets).double() * 2 - 1
    x = features.double() - features.double().mean(0)
    # With fewer texts than features, svd takes a fraction of the time of eigh.
    left, singular, _ = torch.linalg.svd(x, full_matrices=False)
    turned, values = left * singular, singular.square()
    variance = (values.sum() / x.shape[1]).clamp(min=1e-12)
    products = turned.mT @ (wanted - wanted.mean(0))
    tried = []
    for penalty in PENALTIES:
        inverse = 1 / (values + penalty * variance)
        leverage = (turned.square() * inverse).sum(1, keepdim=True) + 1 / len(x)
        fitted = wanted.mean(0) + turned @ (inverse.unsqueeze(1) * products)
        predicted = wanted - (wanted - fitted) / (1 - leverage).clamp(min=1e-9)
        tried.append((predicted.argmax(1) != targets).double())
    return min(tried, key=lambda wrong: float(wrong.sum()))


def is_far_from_pretraining(errors: Mapping[int, Tensor], ratio: float) -> bool:
    """Return whether the task is far from pre-training.

    It is if the top layer's probe makes more than `ratio` times the errors of a lower layer's
    probe, and if the difference is significant. `errors` are those of `StateRecorder.errors`.
    """
    *lower, top = (errors[layer] for layer in sorted(errors))
    return any(
        bool(top.sum() > ratio * other.sum()) and _significantly_more_errors(top, other) for other in lower
    )


def _significantly_more_errors(errors: Tensor, fewer: Tensor) -> bool:
    gaps = errors - fewer
    return bool(gaps.sum() > SIGNIFICANT * gaps.square().sum().sqrt())
