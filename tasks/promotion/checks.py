"""Checks before a promotion: whose version it is, and whether the same model was rolled back."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.promotion.history import Entry, rolled_back
from tasks.tracking.registered_files import served_manifest
from tokensieve.errors import InputError, Refused, excerpt
from tokensieve.registry.project_identity import Identity
from tokensieve.registry.store import ModelVersion, RegistryEditor

PROJECT = "tokensieve.project"  # tag of a run and a version: the id of its project
FINGERPRINT = "tokensieve.fingerprint"  # tag of a run and a version: the hash of the artifacts


def check_project(store: RegistryEditor, own: Identity, number: str, tags: dict[str, str]) -> None:
    """Check that this project registered a version.

    One without a project (earlier versions) passes.

    Raises:
        InputError: If another project registered it.
    """
    other = tags.get(PROJECT)
    if other and other != own.project:
        ours = [
            known
            for known in store.versions(own.model)
            if store.version_tags(own.model, known).get(PROJECT) == own.project
        ]
        newest = f"--version {max(map(int, ours))} is this project's newest; " if ours and own.project else ""
        raise InputError(
            f"version {number} of model '{own.model}' was registered by project {excerpt(other)}, "
            f"not by this one; {newest}set register.name to keep the two apart, "
            "or use --other-project to promote it anyway"
        )


def same_model(store: RegistryEditor, name: str, number: str, moves: Sequence[Entry]) -> Sequence[str]:
    """Return the run and the fingerprint of a version.

    Other versions with one of them are the same model. For a deleted version they are read from the
    last move to it.
    """
    found = store.version(name, number)
    if found is None:
        return next((move.same for move in reversed(moves) if move.to_version == number), ())
    marks = {"run": found.run_id, "fingerprint": store.version_tags(name, number).get(FINGERPRINT)}
    return [f"{kind} {mark}" for kind, mark in marks.items() if mark]


def check_not_rolled_back(
    store: RegistryEditor, name: str, number: str, moves: Sequence[Entry], confirmed: bool
) -> None:
    """Check that neither a version nor another one of the same model was rolled back.

    Raises:
        Refused: If one was, unless `confirmed`.
    """
    same = same_model(store, name, number, moves)
    for other, move in rolled_back(moves).items():
        if not confirmed and {number, *same} & {other, *move.from_same}:
            which = "was" if other == number else f"is the same model as version {other}, which was"
            raise Refused(
                f"version {number} {which} rolled back at {move.at}; to promote it again, give its "
                f'number and a reason: --version {number} --reason "..."'
            )


def check_complete(store: RegistryEditor, found: ModelVersion, name: str, number: str) -> None:
    """Check that a version has its manifest and the files in it.

    Raises:
        InputError: If it lacks one.
    """
    if served_manifest(store, found) is None:
        raise InputError(
            f"version {number} of model '{name}' has no manifest.json, or a file that it lists is missing; "
            "its files were moved"
        )
