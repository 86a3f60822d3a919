"""Compute matrix products with the faster of the two libraries in torch, MKL and oneDNN."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tokensieve.processor import mkl_is_slow

# oneDNN makes a kernel for each shape of a product. oneDNN and torch's wrapper of it each keep the
# last 1,024 of them, which takes up to 1 GB. To make one again is as fast as to find it.
KERNEL_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
KERNELS = "16"
BY_ONEDNN = "bf16"
SHORT = 64  # tokens; for longer texts, the fused kernel of the attention saves much memory


@contextmanager
def fast_products() -> Iterator[None]:
    """Let torch compute float32 products with oneDNN, if MKL is slow on this processor.

    The results differ by rounding only. It is also a decorator.
    """
    if not (mkl_is_slow() and torch.backends.mkldnn.is_available()):
        yield
        return
    for name in KERNEL_CACHES:  # read at the first product by oneDNN
        os.environ.setdefault(name, KERNELS)
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision
    # torch has no setting that only selects oneDNN. This one also allows it to round to bfloat16,
    # which it does on no processor for which `mkl_is_slow` is true.
    products.fp32_precision = BY_ONEDNN
    try:
        yield
    finally:
        products.fp32_precision = before


@contextmanager
def fast_attention(mask: Tensor) -> Iterator[None]:
    """Let torch compute the attention of short texts without its fused kernel, if oneDNN is used.

    That kernel computes a small product per text and head. By oneDNN, it takes 2 to 20 times as
    long as one product for all of them.

    Args:
        mask: The attention mask, int64 [batch, length].
    """
    library = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    if library != BY_ONEDNN or mask.device.type != "cpu" or mask.shape[1] > SHORT:
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield
