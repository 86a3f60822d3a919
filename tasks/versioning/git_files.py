"""Write the ignore files of git and DVC.

This is done at every run: a project may be put into git later.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tokensieve.errors import InputError
from tokensieve.files import write_text
from tokensieve.project import Layout

# The data, everything made from them, and files that may contain passwords.
IGNORED = {
    ".gitignore": (
        "/.tokensieve/",
        "/artifacts/",
        "/data/raw/",
        "/data/.raw.new/",
        "/data/.raw.old/",
        "/data/source/",
        "/mlartifacts/",
        "/mlflow.db",
        "/.mlflow.db.*/",
        "/mlflow.db-journal",
        "/prefect.db*",
        "/store/",
    ),
    ".dvc/.gitignore": ("/config.local", "/tmp", "/cache"),
    # Otherwise DVC finds the copy of dvc.yaml that a run logs, as a second pipeline.
    ".dvcignore": ("/.tokensieve/", "/mlartifacts/", "/store/"),
}
KEPT = ("data/raw.dvc", "dvc.lock", "dvc.yaml")
# Two branches with new data each then merge without a conflict.
MERGED = "/data/versions.jsonl merge=union"


def write(layout: Layout, git: bool) -> None:
    """Add the missing lines to the ignore files.

    Inside git, also let git merge the list of data versions line by line.
    """
    for name, patterns in IGNORED.items():
        _add(layout.at(name), patterns)
    if git and _ignored(layout.root, ["data/versions.jsonl"]) == {}:
        _add(layout.at(".gitattributes"), (MERGED,))


def refuse_ignored(layout: Layout) -> None:
    """Check that git does not ignore the pointer to the data, dvc.yaml or dvc.lock.

    Raises:
        InputError: If it does. The message names the lines to add.
    """
    for path, source in _ignored(layout.root, list(KEPT)).items():
        folders = [f"!/{parent.as_posix()}/" for parent in reversed(Path(path).parents) if parent != Path()]
        lines = " and ".join(repr(line) for line in [*folders, f"!/{path}"])
        raise InputError(
            f"git ignores {path} ({source}), which it must not; "
            f"add {lines} at the end of {layout.at('.gitignore')}"
        )


def _ignored(root: Path, paths: list[str]) -> dict[str, str]:
    """Return the ignored `paths`, each with the file, line and pattern that ignores it.

    Empty if git is not installed.
    """
    command = ["git", "-C", str(root), "check-ignore", "--verbose", "--no-index", "-z", "--stdin"]
    try:
        done = subprocess.run(
            command, input="\0".join(paths) + "\0", capture_output=True, text=True, check=False
        )
    except OSError:
        return {}
    fields = done.stdout.split("\0")[:-1]
    rows = [fields[start : start + 4] for start in range(0, len(fields), 4)]
    return {
        path: f"{source}, line {line}: {pattern}"
        for source, line, pattern, path in rows
        if not pattern.startswith("!")
    }


def _add(path: Path, patterns: tuple[str, ...]) -> None:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    there = {line.strip().strip("/") for line in text.splitlines()}
    missing = [pattern for pattern in patterns if pattern.strip("/") not in there]
    if missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = text if not text or text.endswith("\n") else f"{text}\n"
        heading = "\n# tokensieve\n" if text else ""
        write_text(path, before + heading + "".join(f"{pattern}\n" for pattern in missing))
