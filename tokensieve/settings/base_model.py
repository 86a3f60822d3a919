"""What `base.model` may be, and where its folder is: a relative one starts at the project."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tokensieve.errors import InputError, excerpt

# The form of a Hugging Face id. Whether there is such a model is seen when it is loaded.
HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def check_base_model(model: str, project: Path) -> None:
    """Check that `base.model` is a folder or has the form of a Hugging Face id.

    Raises:
        InputError: If it is neither.
    """
    folders = base_folders(model, project)
    if not HUB_ID.fullmatch(model) and not any(folder.is_dir() for folder in folders):
        raise InputError(
            f"base.model {excerpt(model)} was not found; tried folder {', folder '.join(map(str, folders))}; "
            "use the folder of a model, or a Hugging Face id (owner/model)"
        )


def base_folders(model: str, project: Path) -> list[Path]:
    """Return the folders that `base.model` may be, as absolute paths.

    A relative one starts at the project. The current directory is the second, because earlier
    versions stored a path that started there as it was typed.
    """
    starts = project.absolute(), Path.cwd()
    return list(dict.fromkeys(Path(os.path.normpath(start / model)) for start in starts))


def stored_base_model(model: str, project: Path) -> str:
    """Return `base.model` as `params.yaml` stores it, so that a run finds it from any directory.

    Args:
        model: As typed: the id of a Hugging Face model, or a folder. A relative folder starts at
            the current directory, or else at the project.
        project: The folder of the project.
    """
    inside, here = (folders := base_folders(model, project))[0], folders[-1]
    # An id such as org/name may also be the name of a folder: only one with a model counts.
    if here == inside or not (here / "config.json").is_file():
        return model
    root = project.absolute()
    return here.relative_to(root).as_posix() if root in here.parents else str(here)
