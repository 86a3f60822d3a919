"""Measure the matrix products of a training step: as torch computes them, and by oneDNN.

    python -m benchmarks.training.products [--rows 256] [--width 384] [--repeats 30]

PyTorch computes float32 products with MKL, if it was built with MKL. On a processor of another
maker than Intel, MKL may use AVX2 only, even if the processor has AVX-512. oneDNN uses AVX-512
there. The results of the two differ by rounding. The command measures on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

TURNS = 5  # of each way, in alternation; the fastest counts, since other processes disturb
SHARE = 0.15  # selected rows of an unfrozen layer: a budget of 10%, with a third of the layers frozen

Ways = tuple[Callable[[], Tensor], Callable[[], Tensor]]
"""A product as torch computes it, and by oneDNN."""


def by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `F.linear(x, weight, bias)`, computed by oneDNN."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def measure_products(rows: int, width: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Return the speeds of torch and of oneDNN for the products of a layer of 4 x `width` units.

    Args:
        rows: The number of tokens in a batch, with padding.
        width: The width of the hidden states.
        repeats: How often each product is computed per turn.

    Returns:
        Billions of multiplications and additions per CPU second, by product.
    """
    generator = torch.Generator().manual_seed(0)
    x, gradient = (torch.randn(rows, size, generator=generator) for size in (width, 4 * width))
    weight, bias = torch.randn(4 * width, width, generator=generator), torch.zeros(4 * width)
    part = gradient[:, : round(SHARE * 4 * width)].contiguous()
    whole, selected = 2 * x.numel() * 4 * width, 2 * part.numel() * width  # operations
    ways: dict[str, tuple[int, Ways]] = {
        "forward": (whole, (lambda: F.linear(x, weight, bias), lambda: by_onednn(x, weight, bias))),
        "input gradient": (whole, (lambda: gradient @ weight, lambda: by_onednn(gradient, weight.t()))),
        "gradient of selected rows": (selected, (lambda: part.mT @ x, lambda: by_onednn(part.mT, x.mT))),
    }
    return {name: _speeds(pair, repeats, work) for name, (work, pair) in ways.items()}


def _speeds(pair: Ways, repeats: int, operations: int) -> tuple[float, float]:
    torch.testing.assert_close(*(compute() for compute in pair), rtol=1e-3, atol=1e-3)
    work = operations * repeats / 1e9
    fastest = [float("inf"), float("inf")]
    for _ in range(TURNS):
        for place, compute in enumerate(pair):
            start = time.process_time()
            for _ in range(repeats):
                compute()
            fastest[place] = min(fastest[place], time.process_time() - start)
    return work / fastest[0], work / fastest[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per product."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=256, help="tokens of a batch, with padding")
    parser.add_argument("--width", type=int, default=384, help="of the hidden states")
    parser.add_argument("--repeats", type=int, default=30, help="products per turn")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name, (plain, onednn) in measure_products(options.rows, options.width, options.repeats).items():
        print(f"{name:26} torch {plain:6.0f}  oneDNN {onednn:6.0f} GFLOP/s  ratio {onednn / plain:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
