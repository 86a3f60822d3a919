"""Patches of model folders: extract a patch, apply it to a base model, remove it from a classifier.

Here a base is the part of a base model that a classifier uses: the encoder as `load_encoder` reads
it (float32, without pooler or language modelling head), the tokenizer and the declared pooling, in
the files that transformers writes. Removing a patch gives this base, without other parts of the
published files. A patch can be applied to a base that another patch was removed from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tokensieve.errors import InputError, excerpt
from tokensieve.files import atomic_folder, read_json, write_json
from tokensieve.model.encoder import PIECES, load_encoder, load_tokenizer, quiet_transformers, weights_hash
from tokensieve.model.patch import Patch, State, apply_patch, find_changes, revert_patch, state_hash
from tokensieve.project import Layout

WEIGHTS, HEAD, FACTS = "model.safetensors", "head.safetensors", "classifier.json"
KEYS = ("labels", "pooling", "max_length", "base", "base_hash")
POOLING = "1_Pooling/config.json"
# The files of a model other than its weights. A patch cannot write any other file.
FILES = (
    *(
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ),
    *("added_tokens.json", "chat_template.jinja", PIECES, POOLING),
)


def extract(base: Path, model: Path) -> Patch:
    """Return the patch from the base in folder `base` to the classifier in folder `model`.

    Raises:
        InputError: If `model` is not a classifier, or was fine-tuned from another base.
    """
    classifier = read_metadata(model)
    new = read_state(model)
    found = weights_hash(base)
    if found != classifier["base_hash"]:
        raise InputError(
            f"{model} was fine-tuned from {excerpt(classifier['base'])} with weights "
            f"{classifier['base_hash'][:12]}, but {base} has weights {found[:12]}. Pass the folder of the "
            "right base with --base"
        )
    with TemporaryDirectory() as name:
        _write_base(base, Path(name))
        old = read_state(Path(name))
        before, after = _files(Path(name)) | _files(base, (POOLING,)), _files(model)
    files = {
        name: (before.get(name), after.get(name)) for name in FILES if before.get(name) != after.get(name)
    }
    return Patch(classifier, find_changes(old, new), files, state_hash(old), state_hash(new))


def apply(patch: Patch, base: Path, output: Path) -> None:
    """Apply the patch to the base in folder `base`, and write the classifier into folder `output`.

    The result has the files that `Classifier.save` writes.

    Raises:
        InputError: If the patch is for another base, or `output` already exists.
    """
    _refuse_existing(output)
    with atomic_folder(output) as folder:
        _write_base(base, folder)
        _write_state(apply_patch(read_state(folder), patch), folder)
        _write_files({name: new for name, (_, new) in patch.files.items()}, folder)
        write_json(folder / FACTS, patch.classifier)


def remove(patch: Patch, model: Path, output: Path) -> None:
    """Remove the patch from the classifier in folder `model`, and write the base into `output`.

    Raises:
        InputError: If the patch is for another classifier, or `output` already exists.
    """
    _refuse_existing(output)
    with atomic_folder(output) as folder:
        _write_state(revert_patch(read_state(model), patch), folder)
        _write_files(_files(model) | {name: old for name, (old, _) in patch.files.items()}, folder)


def read_metadata(model: Path) -> dict[str, Any]:
    """Return the content of classifier.json.

    Raises:
        InputError: If the folder has no complete classifier.json, or no head.
    """
    classifier = read_json(model / FACTS) if (model / FACTS).exists() else {}
    missing = [key for key in KEYS if key not in classifier] + [HEAD] * (not (model / HEAD).exists())
    if missing:
        of_project = Layout(model).model
        usable = of_project if (of_project / FACTS).exists() else "artifacts/model"
        raise InputError(
            f"{model} is not a fine-tuned model: {missing[0]} is missing from {FACTS} or the folder. Use "
            f"{usable}"
        )
    return classifier


def read_state(folder: Path) -> State:
    """Return the arrays of the encoder in a model folder, and of the head if there is one.

    Raises:
        InputError: If the encoder is missing or damaged.
    """
    try:
        state = {f"encoder.{name}": array for name, array in load_file(folder / WEIGHTS).items()}
        head = load_file(folder / HEAD) if (folder / HEAD).exists() else {}
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{folder} does not contain a complete {WEIGHTS} ({error}). Use a model folder, for example "
            "artifacts/model"
        ) from None
    return state | {f"head.{name}": array for name, array in head.items()}


def _write_base(base: Path, folder: Path) -> None:
    """Write the base as `Classifier.save` writes an encoder and its tokenizer."""
    encoder = load_encoder(base)
    with quiet_transformers():
        encoder.save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)


def _write_state(state: State, folder: Path) -> None:
    """Write the weight files of a model folder.

    The arrays may be mapped from the same files. So the new files are renamed to the old names.
    """
    for prefix, file in (("encoder.", WEIGHTS), ("head.", HEAD)):
        arrays = {
            name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
        }
        if arrays:
            save_file(arrays, folder / f"{file}.new", metadata={"format": "pt"} if file == WEIGHTS else None)
            (folder / f"{file}.new").replace(folder / file)


def _files(folder: Path, names: tuple[str, ...] = FILES) -> dict[str, bytes | None]:
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _write_files(texts: Mapping[str, bytes | None], folder: Path) -> None:
    """Write each content into the file of its name; None removes the file."""
    foreign = sorted(texts.keys() - set(FILES))
    if foreign:
        raise InputError(
            f"the patch would write file {excerpt(foreign[0])}, which is not part of a model. Extract it "
            "again"
        )
    for name, text in texts.items():
        if text is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(text)


def _refuse_existing(output: Path) -> None:
    """Raise InputError if `output` exists, because it would be replaced with all its content."""
    if output.exists():
        raise InputError(f"{output} already exists; pass a new folder with --output")
