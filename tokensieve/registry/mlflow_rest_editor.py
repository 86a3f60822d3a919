"""An MLflow server whose aliases and tags are changed through its REST API; promotions need it."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from tokensieve.errors import InputError, excerpt
from tokensieve.registry.mlflow_rest import ANSWER, API, LOOKUP, PROXY, RestRegistry
from tokensieve.registry.store import RegistryError, text_of, well_formed, without_password

RACE_SECONDS = 2.0  # for which a refused change of an alias is tried again


class RestEditor(RestRegistry):
    """The registry of an MLflow server. It is a `store.RegistryEditor`."""

    def tags(self, name: str) -> dict[str, str]:
        return self._tags(
            self._ask("registered-models/get", "registered_model", name=name), "registered_model"
        )

    def version_tags(self, name: str, number: str) -> dict[str, str]:
        return self._tags(
            self._ask("model-versions/get", "model_version", name=name, version=number), "model_version"
        )

    def metrics(self, run: str) -> dict[str, float]:
        found = self._ask("runs/get", "run", run_id=run) if run else None
        with well_formed(self.uri, "run"):
            given = [] if found is None else found["run"]["data"].get("metrics", [])
            return {text_of(metric["key"]): float(metric["value"]) for metric in given}

    def set_alias(self, name: str, alias: str, number: str) -> None:
        # If several processes create an alias at once, MLflow refuses all but one with 400. At the
        # next try it exists.
        end = time.monotonic() + RACE_SECONDS
        while True:
            try:
                self._change("registered-models/alias", name=name, alias=alias, version=number)
                return
            except RegistryError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def set_tag(self, name: str, key: str, value: str) -> None:
        self._change("registered-models/set-tag", name=name, key=key, value=value)

    def _tags(self, found: dict[str, Any] | None, kind: str) -> dict[str, str]:
        with well_formed(self.uri, "list of tags"):
            given = [] if found is None else found[kind].get("tags", [])
            return {text_of(tag["key"]): text_of(tag.get("value", "")) for tag in given}

    def _change(self, endpoint: str, **fields: str) -> None:
        """Send a change.

        Raises:
            InputError: If the object does not exist, or if the server redirects, which loses the
                change.
        """
        with self._answer(API + endpoint, time.monotonic() + LOOKUP, json.dumps(fields).encode()) as response:
            address = response.geturl() if response else ""
        if address and not address.endswith(API + endpoint):
            raise InputError(
                f"MLflow redirects to {without_password(address)}; set register.uri or MLFLOW_TRACKING_URI to that server"
            )
        if not address:
            raise InputError(f"model {excerpt(fields['name'])}, or its version, was deleted meanwhile")


def list_artifacts(server: RestRegistry, location: str) -> set[str]:
    """Return the names of the files and folders at `location`, which `server` serves."""
    folder = unquote(urlsplit(location).path).lstrip("/")
    with server._answer(
        f"{PROXY.rstrip('/')}?{urlencode({'path': folder})}", time.monotonic() + LOOKUP
    ) as response:
        tree = {} if response is None else json.loads(response.read(ANSWER))
    with well_formed(server.uri, "list of files"):
        return {text_of(file["path"]).rpartition("/")[2] for file in tree.get("files", [])}
