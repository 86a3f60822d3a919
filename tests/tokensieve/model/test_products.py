"""Matrix products by oneDNN: the same numbers everywhere, and torch as it was afterwards."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tokensieve import fit
from tokensieve.model import products
from tokensieve.model.products import SHORT, fast_attention, fast_products
from tokensieve.settings import Finetune

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")


def library() -> str:
    """Return "bf16" if oneDNN computes float32 products."""
    return str(torch.backends.mkldnn.matmul.fp32_precision)  # type: ignore[attr-defined]


@pytest.fixture
def slow_mkl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "mkl_is_slow", lambda: True)


def test_products_are_those_of_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(70, 96, generator=generator), torch.randn(130, 96, generator=generator)
    exact = x.double() @ weight.double().T
    with fast_products():
        found = F.linear(x, weight)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)


def test_torch_is_as_before_afterwards(slow_mkl: None) -> None:
    before = library()
    with fast_products():
        with fast_products():
            assert library() == "bf16"
        assert library() == "bf16"
    assert library() == before
    with pytest.raises(ZeroDivisionError), fast_products():
        raise ZeroDivisionError
    assert library() == before
    assert torch.get_float32_matmul_precision() == "highest"  # torch.compile reads it


def test_nothing_changes_if_mkl_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "mkl_is_slow", lambda: False)
    before = library()
    with fast_products():
        assert library() == before


@pytest.mark.parametrize(
    ("tokens", "by_onednn", "fused"), [(SHORT, True, False), (SHORT + 1, True, True), (SHORT, False, True)]
)
def test_short_texts_have_no_fused_attention(
    tokens: int, by_onednn: bool, fused: bool, slow_mkl: None
) -> None:
    mask = torch.ones(2, tokens, dtype=torch.int64)
    with fast_products() if by_onednn else nullcontext(), fast_attention(mask):
        assert torch.backends.cuda.flash_sdp_enabled() == fused
    assert torch.backends.cuda.flash_sdp_enabled()


def test_the_attention_of_short_texts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a processor with AMX, which keeps MKL, oneDNN would round to bfloat16.
    monkeypatch.setattr(products, "BY_ONEDNN", library())
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 10, 8, generator=generator)
    mask = torch.tensor([[1] * 10, [1] * 6 + [0] * 4])
    fused = F.scaled_dot_product_attention(query, key, value, mask[:, None, None].bool())
    with fast_attention(mask):
        assert not torch.backends.cuda.flash_sdp_enabled()
        found = F.scaled_dot_product_attention(query, key, value, mask[:, None, None].bool())
    torch.testing.assert_close(found, fused)


def test_all_of_training_and_prediction_uses_it(
    slow_mkl: None,
    tiny_model: Path,
    tiny_texts: tuple[list[str], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[str] = []
    fused: list[bool] = []
    linear, attention = F.linear, F.scaled_dot_product_attention

    def spy(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        used.append(library())
        return linear(x, weight, bias)

    def spy_attention(*args: Any, **kwargs: Any) -> Tensor:
        fused.append(torch.backends.cuda.flash_sdp_enabled())
        return attention(*args, **kwargs)

    monkeypatch.setattr(F, "linear", spy)
    monkeypatch.setattr(F, "scaled_dot_product_attention", spy_attention)
    fitted = fit(
        *tiny_texts,
        base={"model": str(tiny_model), "max_length": 12},
        finetune=Finetune(max_epochs=4, batch_size=8, threads=1),
    )
    trained = len(used)
    fitted.predict(tiny_texts[0][:4])
    assert len(used) > trained > 0
    assert set(used) == {"bf16"}
    assert set(fused) == {False}
