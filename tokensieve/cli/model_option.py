"""The options --model and --shadow: a folder, or a model of the registry."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tokensieve.cli.command import existing_project
from tokensieve.errors import InputError
from tokensieve.project import Layout

if TYPE_CHECKING:
    from tokensieve.registry.models import RegisteredModel
    from tokensieve.server.model_watcher import ModelSource

PREFIX = "models:/"

log = logging.getLogger("tokensieve")


def add_model(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Add the option --model, with `more` in its help. Without it, `find_model` chooses."""
    about = "folder of an exported model, models:/NAME@ALIAS or models:/NAME/VERSION"
    about += f"{more} (default: the project's champion, else its exported model)"
    parser.add_argument("--model", metavar="DIR_OR_URI", help=about)


def find_model(options: argparse.Namespace) -> Path:
    """Return the folder of the model that --model names, or of the model of the project.

    The model of the project is its champion, or its last export if there is no champion. The choice
    is logged, and `options.model` is set to it.

    Raises:
        InputError: If there is no such model.
    """
    if options.model:
        return model_folder(options)
    from tokensieve.inference.manifest import NAME
    from tokensieve.registry.project_identity import identity
    from tokensieve.settings import Settings

    layout = Layout(Path(options.project).resolve())
    if not layout.params.exists():
        raise InputError(
            f"{layout.root} is not a project. Use --model with the folder of an exported model or "
            f"{PREFIX}NAME@champion"
        )
    options.model = f"{PREFIX}{identity(layout, Settings.load(layout.params)).model}@champion"
    try:
        folder = model_folder(options)
    except InputError as error:
        exported: Path = layout.onnx
        if not (exported / NAME).exists():
            raise InputError(
                f"the project has no champion ({error}) and no exported model. Create one with tokensieve "
                "run, or use --model"
            ) from None
        log.info("model: %s, the project's last export (no champion: %s)", exported, error)
        options.model = str(exported)
        return exported
    log.info("model: %s, the champion (%s)", options.model, folder.name)
    return folder


def model_folder(options: argparse.Namespace) -> Path:
    """Return the folder of the exported model. A model of the registry is downloaded if needed.

    Raises:
        InputError: If it does not exist.
        RegistryError: If the registry cannot be reached.
    """
    if options.model.startswith(PREFIX):
        registry = _registry(options, options.model)
        return registry.fetch(registry.version())
    return _existing_folder(options.model, "--model")


def _existing_folder(model: str, flag: str) -> Path:
    folder = Path(model)
    if not folder.is_dir():
        raise InputError(
            f"{flag} {folder} does not exist; use the folder of an exported model (artifacts/onnx) or "
            f"{PREFIX}NAME@ALIAS"
        )
    return folder


def model_source(options: argparse.Namespace, flag: str = "--model") -> ModelSource:
    """Return the folder or the registered model that a server watches for new versions.

    Args:
        options: The options of the command.
        flag: The option that names the model.

    Raises:
        InputError: If the folder does not exist, or the address has another form.
    """
    from tokensieve.server.model_watcher import FolderSource

    model = getattr(options, flag.removeprefix("--"))
    if model.startswith(PREFIX):
        return _registry(options, model)
    return FolderSource(_existing_folder(model, flag))


def _registry(options: argparse.Namespace, model: str) -> RegisteredModel:
    """Return the registry that contains the model.

    With MLFLOW_TRACKING_URI no project is needed: a server has none.
    """
    from tokensieve.registry.models import RegisteredModel
    from tokensieve.registry.store import tracking_uri
    from tokensieve.settings import Settings

    known = bool(os.environ.get("MLFLOW_TRACKING_URI"))
    layout = Layout(Path(options.project).resolve()) if known else existing_project(options)
    settings = Settings.load(layout.params) if layout.params.exists() else Settings()
    return RegisteredModel(model, tracking_uri(layout, settings), layout.served)
