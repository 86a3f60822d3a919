"""Download a model from the Hugging Face hub, and find the reason if that fails."""

from __future__ import annotations

import os
from pathlib import Path

from tokensieve.disk import FULL, NOT_PERMITTED
from tokensieve.errors import causes, excerpt

# Weights only as safetensors, so that nothing is unpickled. `encoder_check.py` refuses a repository
# without them.
PATTERNS = ["*.json", "*.txt", "*.safetensors", "*.model"]
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")
UNREACHABLE = {"TransportError", "ConnectionError", "LocalEntryNotFoundError"}


def download(model: str) -> Path:
    """Return the folder of a model in the hub's cache, downloaded if necessary.

    Raises:
        Exception: Any error of the hub's client. `failure_reason` describes it.
    """
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, allow_patterns=PATTERNS))


def failure_reason(error: Exception) -> str:
    """Return why `download` failed, and the remedy."""
    from huggingface_hub import constants, errors

    found = list(causes(error))
    kinds = {kind.__name__ for cause in found for kind in type(cause).__mro__}
    if fault := next(filter(None, map(_disk, found)), None):
        return fault
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(error)
    if "OfflineModeIsEnabled" in kinds:
        return (
            f"it is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids the download; "
            "unset it once"
        )
    if isinstance(error, errors.HFValidationError):
        return "this is neither a folder nor a name of the form owner/model"
    if kinds & UNREACHABLE:
        last = next((str(cause) for cause in reversed(found) if str(cause)), type(error).__name__)
        return f"it is not in the cache and {constants.ENDPOINT} cannot be reached{_proxy()}: {last}"
    return f"{type(error).__name__}: {excerpt(' '.join(str(error).split()), 200)}"


def _disk(error: BaseException) -> str | None:
    from huggingface_hub import constants

    if not isinstance(error, OSError):
        return None
    path = error.filename or constants.HF_HUB_CACHE
    if error.errno in FULL:
        return f"the disk of {path} is full. Free some space, or set HF_HOME to a folder on another disk"
    if error.errno in NOT_PERMITTED:
        return f"{path} is not writable. Set HF_HOME to a writable folder"
    return None


def _refused(error: Exception) -> str:
    """Return the reason and the remedy for an HTTP error of the hub."""
    from huggingface_hub import constants, errors, get_token

    assert isinstance(error, errors.HfHubHTTPError)
    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        return "it is gated; accept its terms on its page, and set HF_TOKEN to a token of that account"
    if status in (401, 403, 404):
        token = (
            "HF_TOKEN may lack the right to read it"
            if get_token()
            else "if it is private, set HF_TOKEN to a token that may read it"
        )
        return f"the hub has no such model, or it may not be read (status {status}); check the name; {token}"
    return f"{constants.ENDPOINT} answered with status {status}; try again later"


def _proxy() -> str:
    """Return the proxy in use, without credentials in its address."""
    for key in PROXIES:
        scheme, found, rest = os.environ.get(key, "").rpartition("://")
        if rest:
            return f" through {key}={scheme}{found}{rest.rpartition('@')[2]}"
    return ""
