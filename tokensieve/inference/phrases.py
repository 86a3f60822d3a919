"""The phrases of a model: its constructs of several words, which `explain` removes as a whole.

They are a file in the model folder. Folders of earlier versions have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokensieve.errors import InputError
from tokensieve.files import write_text
from tokensieve.inference.words import count_words

NAME = "phrases.json"


def save_phrases(folder: Path, constructs: Iterable[str]) -> None:
    """Write those of `constructs` that have several words, in their order, each once."""
    phrases = list(dict.fromkeys(text for text in constructs if count_words(text) > 1))
    write_text(folder / NAME, json.dumps(phrases, ensure_ascii=False, indent=0) + "\n")


def read_phrases(folder: Path, files: Mapping[str, bytes]) -> frozenset[str]:
    """Return the phrases of a model folder. Empty if it has no such file.

    `files` has the checked content of the files in the folder, by name.

    Raises:
        InputError: If the file is not a list of texts.
    """
    try:
        found = json.loads(files[NAME].decode("utf-8")) if NAME in files else []
    except (ValueError, RecursionError) as error:
        raise InputError(f"{folder / NAME} is not JSON ({error}); export the model again") from None
    if not isinstance(found, list) or not all(isinstance(phrase, str) for phrase in found):
        raise InputError(f"{folder / NAME} must be a list of texts; export the model again")
    return frozenset(found)
