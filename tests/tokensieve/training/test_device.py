"""A GPU that is there and does not work: simulated, since what is built in is asked last."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import onnxruntime
import pytest
import torch

from tokensieve.errors import InputError
from tokensieve.export import build_variants
from tokensieve.inference import session
from tokensieve.training import device
from tokensieve.training.device import choose_device


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    for asked in (device.gpu_fault, device._left_out, session.cuda_problem):
        asked.cache_clear()
    yield
    for asked in (device.gpu_fault, device._left_out, session.cuda_problem):
        asked.cache_clear()


@pytest.fixture
def cuda_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")


def test_the_setting_is_followed() -> None:
    assert choose_device("cpu") == "cpu"
    device.gpu_fault.cache_clear()


@pytest.mark.skipif(bool(torch.version.cuda), reason="torch has CUDA")
def test_torch_without_cuda_trains_on_the_cpu_and_warns_only_if_a_gpu_is_requested(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert choose_device("auto") == "cpu"
    assert caplog.messages == []
    with pytest.raises(
        InputError,
        match=r"^finetune\.device is cuda, but torch .* is built without CUDA\. .* set finetune\.device=cpu",
    ):
        choose_device("cuda")


def test_torch_for_gpus_without_a_gpu_warns_once(
    cuda_torch: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with caplog.at_level(logging.WARNING, "tokensieve"):
        assert [choose_device("auto"), choose_device("auto")] == ["cpu", "cpu"]
    assert caplog.messages == [
        "Training on the CPU: torch finds no GPU ('there is none, or its driver is not installed'). "
        "Set finetune.device=cpu if this is intended."
    ]


def test_a_gpu_that_is_found_and_does_not_compute_is_left_out_with_its_reason(
    cuda_torch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This torch has no CUDA: the first computation fails, as it does on a GPU that torch was not
    # built for.
    if torch.cuda.is_available():
        pytest.skip("there is a GPU that works")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cpu"
    with pytest.raises(
        InputError,
        match=r"but the GPU does not compute \(.*\)\. Repair that, or set finetune\.device=cpu",
    ):
        choose_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_that_works_is_used() -> None:
    assert (choose_device("auto"), choose_device("cuda"), choose_device("cpu")) == ("cuda", "cuda", "cpu")


def test_onnxruntime_with_cuda_built_in_and_no_gpu_leaves_fp16_out(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoConfig

    if not session.cuda_problem():
        pytest.skip("there is a GPU that works")
    session.cuda_problem.cache_clear()
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: [session.CUDA, "CPUExecutionProvider"]
    )
    assert session.cuda_problem()
    reason = build_variants.unavailable(AutoConfig.for_model("bert"), ["fp16", "int8"])
    assert list(reason) == ["fp16"]
    assert "CUDA built in and finds no GPU that works" in reason["fp16"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(session.CUDA in onnxruntime.get_available_providers(), reason="onnxruntime has CUDA")
def test_onnxruntime_without_cuda_names_the_package_to_install() -> None:
    assert (
        session.cuda_problem()
        == f"onnxruntime {onnxruntime.__version__} is built without CUDA; install onnxruntime-gpu"
    )
