"""Measure the matrix products of a training step: as torch computes them, and with `fast_products`.

    python -m benchmarks.studies.products [--rows 256] [--width 384] [--repeats 30]

The two are the same on processors on which MKL is not slow (`tokensieve.processor.mkl_is_slow`).
The command measures on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from tokensieve.model.products import fast_products

TURNS = 5  # of each way, in alternation; the fastest counts, since other processes disturb
SHARE = 0.15  # selected rows of an unfrozen layer: a budget of 10%, with a third of the layers frozen

WAYS: tuple[Callable[[], AbstractContextManager[None]], ...] = (nullcontext, fast_products)


def measure_products(rows: int, width: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Return the two speeds of the products of a layer of 4 x `width` units.

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
    products: dict[str, tuple[int, Callable[[], Tensor]]] = {
        "forward": (whole, lambda: F.linear(x, weight, bias)),
        "input gradient": (whole, lambda: gradient @ weight),
        "gradient of selected rows": (selected, lambda: part.mT @ x),
    }
    return {name: _speeds(compute, repeats, work) for name, (work, compute) in products.items()}


def _speeds(compute: Callable[[], Tensor], repeats: int, operations: int) -> tuple[float, float]:
    work = operations * repeats / 1e9
    fastest = [float("inf"), float("inf")]
    for _ in range(TURNS):
        for place, way in enumerate(WAYS):
            with way():
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
    for name, (plain, fast) in measure_products(options.rows, options.width, options.repeats).items():
        print(f"{name:26} torch {plain:6.0f}  fast_products {fast:6.0f} GFLOP/s  ratio {fast / plain:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
