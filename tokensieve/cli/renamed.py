"""Accept commands and options that had another name in an earlier version, for one release."""

from __future__ import annotations

import sys
from collections.abc import Sequence

COMMANDS: dict[str, tuple[str, ...]] = {
    "version": ("data", "add"),
    "versions": ("data", "list"),
    "restore": ("data", "restore"),
    "export": ("export-shared",),
    "triton": ("export-triton",),
}
OPTIONS: dict[str, dict[str, str]] = {
    "serve": {"--batch": "--max-batch-tokens", "--interval": "--poll-interval", "--queue": "--max-queue"},
    "export": {"--shared-prefix": ""},  # its values are positional now
}


def with_new_names(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the present names. Print one line to stderr that names them."""
    if not arguments:
        return []
    command, changes = arguments[0], []
    if command in COMMANDS:
        changes.append(f"'{command}' is now '{' '.join(COMMANDS[command])}'")
    new = list(COMMANDS.get(command, (command,)))
    options = OPTIONS.get(command, {})
    for argument in arguments[1:]:
        flag, equals, value = argument.partition("=")
        if flag not in options:
            new.append(argument)
            continue
        if options[flag]:
            changes.append(f"{flag} is now {options[flag]}")
            new.append(f"{options[flag]}{equals}{value}")
        elif value:
            new.append(value)
    if changes:
        print(f"tokensieve: {', '.join(dict.fromkeys(changes))}", file=sys.stderr)
    return new
