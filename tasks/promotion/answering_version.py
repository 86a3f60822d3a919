"""Whether a registered version loads and answers a text: checked before a rollback to it."""

from __future__ import annotations

from pathlib import Path

from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.registry.models import RegisteredModel
from tokensieve.registry.store import SERVED, ModelVersion, RegistryEditor, RegistryError, local_path

TEXT = "Does this version answer?"


def why_not_answering(layout: Layout, store: RegistryEditor, name: str, number: str) -> str:
    """Return why a version does not answer.

    Empty: its files were fetched and checked, and it answered a text.

    Raises:
        RegistryError: If the registry, or the host of the files, does not respond.
    """
    found = store.version(name, number)
    if found is None:
        return "deleted"
    from tokensieve.inference.load import load  # only here: promotions need no ONNX Runtime

    try:
        folder = model_folder(layout, store, name, number, found)
        answers = load(folder, 1).predict_by_task([TEXT])
    except RegistryError:
        raise
    except InputError as error:
        return str(error)
    return "" if all(len(predictions) == 1 for predictions in answers.values()) else "gives no answer"


def model_folder(layout: Layout, store: RegistryEditor, name: str, number: str, found: ModelVersion) -> Path:
    """Return the model folder of a version.

    If it is not on this machine, it is downloaded to the project's cache.

    Raises:
        InputError: If the files are gone or damaged.
        RegistryError: If the host of the files does not respond.
    """
    local = local_path(found.location)
    if local:
        return local / SERVED
    return RegisteredModel(f"models:/{name}/{number}", store.uri, layout.served).fetch(number)
