"""An MLflow server whose aliases and tags are changed through its REST API; promotions need it."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from tokensieve.registry.mlflow_rest import ANSWER, LOOKUP, PROXY, RestRegistry
from tokensieve.registry.mlflow_rest_runs import RACE_SECONDS, RestRuns
from tokensieve.registry.store import RegistryError, text_of, well_formed


class RestEditor(RestRuns):
    """The registry of an MLflow server. It is a `store.RegistryEditor`."""

    def tags(self, name: str) -> dict[str, str]:
        return self._tags(
            self._ask("registered-models/get", "registered_model", name=name), "registered_model"
        )

    def version_tags(self, name: str, number: str) -> dict[str, str]:
        return self._tags(
            self._ask("model-versions/get", "model_version", name=name, version=number), "model_version"
        )

    def set_alias(self, name: str, alias: str, number: str) -> None:
        # If several processes create an alias at once, MLflow refuses all but one with 400. At the
        # next try it exists.
        end = time.monotonic() + RACE_SECONDS
        while True:
            try:
                self._change("registered-models/alias", {"name": name, "alias": alias, "version": number})
                return
            except RegistryError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def set_tag(self, name: str, key: str, value: str) -> None:
        self._change("registered-models/set-tag", {"name": name, "key": key, "value": value})

    def delete_version(self, name: str, number: str) -> None:
        self._change("model-versions/delete", {"name": name, "version": number}, "DELETE")

    def delete_alias(self, name: str, alias: str) -> None:
        self._change("registered-models/alias", {"name": name, "alias": alias}, "DELETE")

    def _tags(self, found: dict[str, Any] | None, kind: str) -> dict[str, str]:
        with well_formed(self.uri, "list of tags"):
            given = [] if found is None else found[kind].get("tags", [])
            return {text_of(tag["key"]): text_of(tag.get("value", "")) for tag in given}


def list_artifacts(server: RestRegistry, location: str) -> set[str]:
    """Return the names of the files and folders at `location`, which `server` serves."""
    folder = unquote(urlsplit(location).path).lstrip("/")
    with server._answer(
        f"{PROXY.rstrip('/')}?{urlencode({'path': folder})}", time.monotonic() + LOOKUP
    ) as response:
        tree = {} if response is None else json.loads(response.read(ANSWER))
    with well_formed(server.uri, "list of files"):
        return {text_of(file["path"]).rpartition("/")[2] for file in tree.get("files", [])}
