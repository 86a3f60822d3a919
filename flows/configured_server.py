"""Check that the Prefect server of PREFECT_API_URL, or of Prefect's profile, responds."""

from __future__ import annotations

import os

import httpx
from prefect.client.orchestration import get_client
from prefect.context import get_settings_context
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_PROFILES_PATH,
    temporary_settings,
)

from tokensieve.errors import InputError, excerpt
from tokensieve.registry.store import without_password

TIMEOUT = 10.0  # seconds


def check_server() -> None:
    """Ask the configured server for its version. Do nothing if no server is configured.

    Raises:
        InputError: If it does not respond, or if it is not a Prefect API.
    """
    url = PREFECT_API_URL.value()
    if not url:
        return
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True, httpx_settings={"timeout": TIMEOUT}) as client,
        ):
            response = client.request("GET", "/admin/version")
            response.raise_for_status()
            response.json()
    except httpx.HTTPStatusError as error:
        if error.response.status_code in (401, 403):
            raise InputError(
                f"{_named(url)}, which requires credentials; set PREFECT_API_AUTH_STRING or PREFECT_API_KEY"
            ) from None
        raise InputError(
            f"{_named(url)}, which is not Prefect's API (status {error.response.status_code}); {_remedy()}"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{_named(url)}, but no Prefect server responds there ({reason}); start it, or {_remedy()}"
        ) from None
    except ValueError:
        raise InputError(
            f"{_named(url)}, which is not Prefect's API (it ends in /api); {_remedy()}"
        ) from None


def _named(url: str) -> str:
    shown = excerpt(without_password(url), 200)
    if os.environ.get("PREFECT_API_URL"):
        return f"PREFECT_API_URL is {shown}"
    if _profile():
        return (
            f"Prefect's profile '{_profile()}' ({PREFECT_PROFILES_PATH.value()}) sets PREFECT_API_URL to "
            f"{shown}"
        )
    return f"Prefect's settings (prefect config view --show-sources) set PREFECT_API_URL to {shown}"


def _remedy() -> str:
    if os.environ.get("PREFECT_API_URL"):
        return "set PREFECT_API_URL to the address of a running server, or unset it to use a temporary one"
    if _profile():
        return "use a temporary server (prefect profile use ephemeral)"
    return "set it to the address of a running server"


def _profile() -> str | None:
    """Return the name of the active profile if it sets the address."""
    profile = get_settings_context().profile
    return profile.name if PREFECT_API_URL in profile.settings else None
