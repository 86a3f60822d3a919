"""A failed command with the settings that its error message names, to be retyped."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from tokensieve.registry.store import without_password

REMEDY = re.compile(r"--set((?: \w+\.\w+=(?:\[[^\]]*\]|[^\s;,]+))+)")


def retyped(words: Sequence[str], assignments: Sequence[str], message: str) -> str:
    """Return the command with the settings after the first `--set` of an error message.

    Args:
        words: The command's words, without the program's name.
        assignments: Those of its option --set, which a failed command undoes.
        message: Of the error.

    Returns:
        A sentence with the command, without passwords. Empty if the command had no assignments, or
        if the error is about one of them.
    """
    if not assignments or message.startswith("--set"):
        return ""
    found = REMEDY.search(message)
    remedies = re.findall(r"\w+\.\w+=(?:\[[^\]]*\]|\S+)", found[1]) if found else []
    named = {assignment.partition("=")[0] for assignment in remedies}
    kept = [own for own in assignments if own.partition("=")[0].strip() not in named]
    rest = [word for word in words if word != "--set" and word.removeprefix("--set=") not in assignments]
    command = ["tokensieve", *rest, "--set", *kept, *remedies]
    when = "With this correction" if remedies else "After the correction"
    return f"The settings of this command are undone. {when}, type: {without_password(shlex.join(command))}"
