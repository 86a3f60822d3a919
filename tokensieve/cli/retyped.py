"""A failed command with the settings that its error message names, to be retyped."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from tokensieve.registry.store import without_password

# As messages write them: "data.text_column=Text ", data.text_column=[subject, body],
# data.label_separator='|', data.unlabelled=drop. A dot at the end is that of the sentence.
ASSIGNMENT = r"""(?:"\w+\.\w+=[^"]+"|\w+\.\w+=(?:\[[^\]]*\]|'[^']*'|[^\s;,'"]*[^\s;,'".]))"""
REMEDY = re.compile(rf"--set((?: {ASSIGNMENT})+)")


def retyped(words: Sequence[str], assignments: Sequence[str], message: str) -> str:
    """Return the command with the settings after the first `--set` of each line of a message.

    Args:
        words: The command's words, without the program's name.
        assignments: Those of its option --set, which a failed command undoes.
        message: Of the error. If several checks failed, each has a line, below one that ends with a
            colon.

    Returns:
        A sentence with the command, without passwords. Empty if an assignment cannot be read or is
        not allowed.
    """
    if message.startswith("--set"):
        return ""
    first, *others = message.splitlines() or [""]
    faults = others if first.endswith(":") else [message.replace("\n", " ")]
    found = [REMEDY.search(line) for line in faults]
    words_of = [re.findall(ASSIGNMENT, remedy[1]) for remedy in found if remedy]
    remedies = list(dict.fromkeys(_unquoted(word) for own in words_of for word in own))
    named = set(map(_key, remedies))
    last = {_key(own): own for own in assignments}  # that of a key that is assigned twice
    kept = [own for key, own in last.items() if key not in named]
    rest = [word for word in words if word != "--set" and word.removeprefix("--set=") not in assignments]
    command = ["tokensieve", *rest, "--set", *kept, *remedies]
    doubted = " and ".join(key for key in last if key in message)
    when = "With this correction" if remedies else f"After the correction{doubted and f' of {doubted}'}"
    if remedies and None in found:
        when = "After the other corrections"
    return f"The settings of this command are undone. {when}, type: {without_password(shlex.join(command))}"


def _key(assignment: str) -> str:
    return assignment.partition("=")[0].strip()


def _unquoted(assignment: str) -> str:
    key, equals, value = assignment.strip('"').partition("=")
    return key + equals + value.strip("'")
