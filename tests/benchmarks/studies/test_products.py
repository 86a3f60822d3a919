"""The measurement of matrix products: each gets two speeds."""

from __future__ import annotations

import pytest
import torch

from benchmarks.studies.products import main, measure_products


def test_each_product_gets_two_speeds() -> None:
    found = measure_products(rows=8, width=16, repeats=2)
    assert list(found) == ["forward", "input gradient", "gradient of selected rows"]
    assert all(plain > 0 and fast > 0 for plain, fast in found.values())


def test_the_command_prints_a_line_per_product(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        assert main(["--rows", "8", "--width", "16", "--repeats", "2"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert len(capsys.readouterr().out.splitlines()) == 3
