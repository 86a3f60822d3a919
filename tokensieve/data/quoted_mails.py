"""Recognize quoted mails and signatures in texts."""

from __future__ import annotations

import re

_QUOTED = re.compile(
    r"^>+ ?\S|^-{2,} ?(?:original message|forwarded message|ursprüngliche nachricht)|^on .{5,80} wrote:\s*$"
    r"|^am .{5,80} schrieb .{1,80}:\s*$|^-- ?$",
    re.IGNORECASE | re.MULTILINE,
)


def count_quoted_lines(text: str) -> int:
    """Return the number of lines that quote another mail, introduce one or begin a signature."""
    return len(_QUOTED.findall(text)) if "\n" in text or text.startswith(">") else 0
