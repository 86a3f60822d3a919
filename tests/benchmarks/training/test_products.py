"""The measurement of matrix products: both ways compute the same, and each gets a speed."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from benchmarks.training.products import by_onednn, main, measure_products

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")


def test_onednn_computes_the_product_of_torch() -> None:
    x, weight, bias = torch.randn(6, 16), torch.randn(12, 16), torch.randn(12)
    torch.testing.assert_close(by_onednn(x, weight, bias), F.linear(x, weight, bias))
    assert by_onednn(x.mT, torch.randn(4, 6)).shape == (16, 4)


def test_each_product_gets_two_speeds() -> None:
    found = measure_products(rows=8, width=16, repeats=2)
    assert list(found) == ["forward", "input gradient", "gradient of selected rows"]
    assert all(plain > 0 and onednn > 0 for plain, onednn in found.values())


def test_the_command_prints_a_line_per_product(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        assert main(["--rows", "8", "--width", "16", "--repeats", "2"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert len(capsys.readouterr().out.splitlines()) == 3
