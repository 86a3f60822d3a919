"""Choose the device that trains a classifier: a GPU that computes correctly, or the CPU."""

from __future__ import annotations

import logging
import warnings
from functools import cache

import torch

from tokensieve.errors import InputError, excerpt

log = logging.getLogger("tokensieve")


def choose_device(wanted: str) -> str:
    """Return cuda or cpu for the setting `finetune.device`.

    With auto, it is cuda if a GPU works. If torch is built for GPUs and none works, the reason is
    logged.

    Raises:
        InputError: If cuda is requested and no GPU works.
    """
    if wanted == "cpu":
        return "cpu"
    fault = gpu_fault()
    if not fault:
        return "cuda"
    if wanted == "cuda":
        raise InputError(f"finetune.device is cuda, but {fault}. Repair that, or set finetune.device=cpu")
    return _left_out(fault)


@cache
def _left_out(fault: str) -> str:
    """Return cpu. If torch is built for GPUs, log once why none is used."""
    if torch.version.cuda or torch.version.hip:
        log.warning("Training on the CPU: %s. Set finetune.device=cpu if this is intended.", fault)
    return "cpu"


@cache
def gpu_fault() -> str:
    """Return why no GPU can be used; empty if one computes correctly.

    A GPU that torch finds may still not work, so a small product is computed on it.
    """
    if not (torch.version.cuda or torch.version.hip):
        return f"torch {torch.__version__} is built without CUDA"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = torch.cuda.is_available()
    if not found:
        reason = (
            " ".join(str(caught[0].message).split())
            if caught
            else "there is none, or its driver is not installed"
        )
        return f"torch finds no GPU ({excerpt(reason, 200)})"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if (torch.ones(8, 8, device="cuda") @ torch.ones(8, 8, device="cuda")).sum().item() == 8**3:
                return ""
        return "the GPU computes wrong numbers"
    except Exception as error:  # a GPU that is too old or too new, out of memory, in use by one process alone
        return (
            f"the GPU does not compute ({type(error).__name__}: {excerpt(' '.join(str(error).split()), 200)})"
        )
