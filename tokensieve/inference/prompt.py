"""The prompt that a tokenizer puts in front of every text: where its tokenizer.json has it.

`model.prompt` puts it there.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

# The beginning of the name of the prompt's tokens in a tokenizer.json. The rest of the name is the
# prompt, percent-encoded.
MARKER = "[tokensieve-prompt]"
NAME = re.compile(rb'"' + re.escape(MARKER).encode() + rb'([^"]*)"')


def token_name(prompt: str) -> str:
    """Return the name of the tokens of `prompt`."""
    return MARKER + quote(prompt, safe="")


def prompt_of(content: bytes) -> str:
    """Return the prompt in `content`, a tokenizer.json; empty if it has none."""
    found = NAME.search(content)
    return unquote(found[1].decode()) if found else ""
