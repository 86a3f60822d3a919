from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tokensieve.method.mask import Mask, unit_count
from tokensieve.method.sparse import SparseLinear, sparse_layers
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_linears

IDS = torch.tensor([[2, 40, 50, 60, 3], [2, 41, 51, 3, 0], [2, 42, 3, 0, 0]])
KEPT = (IDS != 0).long()
TARGETS = torch.tensor([0, 1, 2])
SHAPES = ("rows", "columns", "entries")
FAMILIES = ("bert", "mpnet", "modernbert", "qwen2")


def mask_of(classifier: Classifier, shape: str, cut: int = 2) -> Mask:
    """A third of the rows, columns or entries of all linears from layer `cut` up; for "layers" all
    rows.
    """
    draw = torch.Generator().manual_seed(0)
    linears = encoder_linears(classifier.encoder, cut)
    if shape == "layers":
        return Mask("rows", {name: torch.arange(linear.out_features) for name, linear in linears.items()})
    sizes = {name: unit_count(linear.weight, shape) for name, linear in linears.items()}
    return Mask(
        shape,
        {
            name: torch.randperm(size, generator=draw)[: size // 3].sort().values
            for name, size in sizes.items()
        },
    )


def part(weight: Tensor, chosen: Tensor, shape: str) -> Tensor:
    """The chosen rows, columns or entries of a weight."""
    return {
        "rows": lambda: weight[chosen],
        "columns": lambda: weight[:, chosen],
        "entries": lambda: weight.flatten()[chosen],
    }[shape]()


def loss_of(classifier: Classifier) -> Tensor:
    return F.cross_entropy(classifier(IDS, KEPT), TARGETS)


def weights_of(classifier: Classifier) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in classifier.state_dict().items()}


def trained_sparsely(classifier: Classifier, mask: Mask, steps: int) -> list[float]:
    losses = []
    with sparse_layers(classifier.encoder, mask) as sparse:
        parameters = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)
        for _ in range(steps):
            loss = loss_of(classifier)
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            for module in sparse.values():
                module.write()
    return losses


def trained_densely(classifier: Classifier, mask: Mask, steps: int) -> list[float]:
    """The plain reference: whole weights and biases are trained, and what is not selected is put
    back after each step.
    """
    classifier.encoder.requires_grad_(False)
    free: list[tuple[nn.Parameter, Tensor, Tensor]] = []
    for name, chosen in mask.indices.items():
        linear = classifier.encoder.get_submodule(name)
        selected = torch.zeros(linear.weight.shape, dtype=torch.bool)
        {"rows": selected, "columns": selected.mT, "entries": selected.view(-1)}[mask.shape][chosen] = True
        free.append((linear.weight, linear.weight.detach().clone(), selected))
        if mask.shape == "rows" and linear.bias is not None:
            free.append((linear.bias, linear.bias.detach().clone(), selected[:, 0]))
    embeddings = classifier.encoder.get_input_embeddings().weight
    selected = torch.zeros(embeddings.shape, dtype=torch.bool)
    selected[mask.tokens] = True
    free += [(embeddings, embeddings.detach().clone(), selected)] if len(mask.tokens) else []
    parameters = [parameter.requires_grad_(True) for parameter, _, _ in free]
    optimizer = torch.optim.AdamW([*parameters, *classifier.head.parameters()], lr=1e-2, weight_decay=0.1)
    losses = []
    for _ in range(steps):
        loss = loss_of(classifier)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for parameter, before, selected in free:
                parameter.copy_(torch.where(selected, parameter, before))
    return losses


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [*SHAPES, "layers"])
def test_sparse_training_is_dense_training_of_the_selected_weights(
    tiny_classifier: Callable[..., Classifier], shape: str, family: str
) -> None:
    # In double precision: the gradient of a key's bias is zero but for rounding, and AdamW makes
    # whole steps of that.
    sparse, dense = tiny_classifier(family).double(), tiny_classifier(family).double()
    start, mask = weights_of(sparse), mask_of(sparse, shape)
    losses = trained_sparsely(sparse, mask, 6)
    assert losses == pytest.approx(trained_densely(dense, mask, 6), rel=1e-9)
    assert losses[-1] < 0.8 * losses[0]
    expected = weights_of(dense)
    for name, found in weights_of(sparse).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-8, atol=1e-8)
        assert torch.equal(found == start[name], expected[name] == start[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_chosen_tokens_train_as_rows_of_the_dense_embeddings(
    tiny_classifier: Callable[..., Classifier], family: str
) -> None:
    sparse, dense = tiny_classifier(family).double(), tiny_classifier(family).double()
    mask = replace(mask_of(sparse, "entries", 0), tokens=torch.tensor([40, 42, 63]))
    start, logits = weights_of(sparse), sparse(IDS, KEPT)
    with sparse_layers(sparse.encoder, mask):
        assert torch.equal(sparse(IDS, KEPT), logits)
    assert trained_sparsely(sparse, mask, 4) == pytest.approx(trained_densely(dense, mask, 4), rel=1e-9)
    name = next(
        name
        for name, tensor in dense.named_parameters()
        if tensor is dense.encoder.get_input_embeddings().weight
    )
    new = weights_of(sparse)[name]
    torch.testing.assert_close(new, weights_of(dense)[name], rtol=1e-8, atol=1e-8)
    # No text has token 63: weight decay alone moves it.
    assert (new != start[name]).any(1).nonzero().flatten().tolist() == [40, 42, 63]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_selected_keeps_every_bit(tiny_classifier: Callable[..., Classifier], shape: str) -> None:
    classifier = tiny_classifier()
    before, mask = weights_of(classifier), mask_of(classifier, shape)
    trained_sparsely(classifier, mask, 3)
    changed = {name: found != before[name] for name, found in weights_of(classifier).items()}
    for name, chosen in mask.indices.items():
        moved = changed.pop(f"encoder.{name}.weight")
        lines = {"rows": moved.any(1), "columns": moved.any(0), "entries": moved.flatten()}[shape]
        assert lines.nonzero().flatten().tolist() == chosen.tolist()
        biases = changed.pop(f"encoder.{name}.bias").nonzero().flatten().tolist()
        assert biases == (chosen.tolist() if shape == "rows" else [])
    assert {name for name, moved in changed.items() if moved.any()} == {"head.weight", "head.bias"}


@pytest.mark.parametrize("shape", SHAPES)
def test_modules_are_restored_with_the_trained_values(
    tiny_classifier: Callable[..., Classifier], shape: str
) -> None:
    classifier = tiny_classifier()
    mask = mask_of(classifier, shape)
    before, names = encoder_linears(classifier.encoder), list(classifier.state_dict())
    with sparse_layers(classifier.encoder, mask) as sparse:
        assert set(sparse) == set(mask.indices)
        assert all(classifier.encoder.get_submodule(name) is module for name, module in sparse.items())
        trainable = {
            name for name, parameter in classifier.encoder.named_parameters() if parameter.requires_grad
        }
        kinds = ("values", "shifts") if shape == "rows" else ("values",)
        assert trainable == {f"{name}.{kind}" for name in mask.indices for kind in kinds}
        with torch.no_grad():
            for module in sparse.values():
                module.values.fill_(7.0)
    assert encoder_linears(classifier.encoder) == before
    assert list(classifier.state_dict()) == names
    for name, chosen in mask.indices.items():
        weight = classifier.encoder.get_submodule(name).weight
        assert (part(weight, chosen, shape) == 7).all()


def test_an_interrupted_training_puts_the_modules_back_too(
    tiny_classifier: Callable[..., Classifier],
) -> None:
    classifier = tiny_classifier()
    before = encoder_linears(classifier.encoder)
    with pytest.raises(KeyboardInterrupt), sparse_layers(classifier.encoder, mask_of(classifier, "rows")):
        raise KeyboardInterrupt
    assert encoder_linears(classifier.encoder) == before


@pytest.mark.parametrize("shape", [*SHAPES, "layers"])
def test_attaching_changes_nothing(tiny_classifier: Callable[..., Classifier], shape: str) -> None:
    classifier = tiny_classifier()
    before, logits = weights_of(classifier), classifier(IDS, KEPT)
    with sparse_layers(classifier.encoder, mask_of(classifier, shape)):
        assert torch.equal(classifier(IDS, KEPT), logits)
    assert all(torch.equal(found, before[name]) for name, found in weights_of(classifier).items())
    assert torch.equal(classifier(IDS, KEPT), logits)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_the_gradients_are_autograds(shape: str, bias: bool) -> None:
    torch.manual_seed(0)
    linear, chosen = nn.Linear(5, 4, bias), torch.tensor([0, 2])
    x = torch.randn(2, 3, 5, requires_grad=True)
    weight = torch.randn(2, 3, 4)
    (linear(x) * weight).sum().backward()
    whole, below = linear.weight.grad, x.grad
    x.grad = None
    sparse = SparseLinear(linear, chosen, shape)
    (sparse(x) * weight).sum().backward()
    torch.testing.assert_close(sparse.values.grad, part(whole, chosen, shape))
    torch.testing.assert_close(x.grad, below)
    if bias and shape == "rows":
        torch.testing.assert_close(sparse.shifts.grad, linear.bias.grad[chosen])
    else:
        assert sparse.shifts is None


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_in_bfloat16_are_close_and_of_the_parameters_type(shape: str) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(24, 16), torch.randn(4, 5, 24, requires_grad=True)
    module = SparseLinear(linear, torch.tensor([1, 3, 8]), shape)

    def gradients(reduced: bool) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            output = module(x)
        assert output.dtype == (torch.bfloat16 if reduced else torch.float32)
        return list(torch.autograd.grad(output.float().square().sum(), [x, *module.parameters()]))

    for exact, rounded in zip(gradients(False), gradients(True), strict=True):
        assert rounded.dtype == torch.float32
        assert (exact - rounded).norm() < 0.02 * exact.norm()
