"""Count control characters and signs of a wrong encoding in texts."""

from __future__ import annotations

import re

# Control characters except tab, line feed and carriage return, and lone surrogates. Neither UTF-8
# nor a tokenizer accepts a lone surrogate.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

# The characters that UTF-8 bytes from 0x80 to 0xBF become if read as Latin-1 or Windows-1252.
_TAIL = "\xa0-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_CAPITALS = "A-ZÀ-ÞĀ-ỿ"
_BROKEN = re.compile(
    "|".join(
        [
            # Latin-1's own control characters (0x80 to 0x9F) are never intended: they are bytes of
            # UTF-8 or Windows-1252.
            "[\ufffd\ud800-\udfff\x80-\x9f]",
            # Words in capitals may end in Ã or Â ("AMANHÃ…", "«ROMÂ»"). So before closing
            # punctuation these letters may be correct.
            "Ã[€‚ƒ„†‡ˆ‰Š‹ŒŽ‘•˜š›œžŸ¡-º¼-¿]",
            "Â[¡-º¼-¿]",
            f"(?<![{_CAPITALS}])[ÃÂ][\xa0»]",
            f"(?<![{_CAPITALS}])[ÃÄÅ][…–—’“”™›](?=[a-z])",
            # Polish and Czech letters, without ², ± and ·, which may follow the unit Å.
            "[ÄÅ][‚ƒ„†‡ˆ‰Š‹ŒšœžŸ¡¢¤-ªµ¶¸º¼-¾]",
            # Quotes, dashes, the euro sign, arrows and other symbols; emoji; a byte order mark;
            # U+FFFD itself.
            f"â[€‚„†ˆ‰Œ˜œ][{_TAIL}]",
            "ðŸ",
            "ï»¿|ï¿½",
            # Other scripts: one pair may be a letter and a sign, but two pairs in sequence are not.
            f"(?:[Â-ß][{_TAIL}]){{2}}",
            f"(?:[à-ï][{_TAIL}]{{2}}){{2}}",
        ]
    )
)


def count_control_characters(text: str) -> int:
    """Return the number of control characters and lone surrogates in `text`.

    Tabs and line ends are not counted.
    """
    return len(_CONTROL.findall(text))


def count_broken_sequences(text: str) -> int:
    """Return the number of signs of a wrong encoding in `text`.

    Such signs are U+FFFD, lone surrogates, and UTF-8 that was read as Latin-1 or Windows-1252.
    """
    return 0 if text.isascii() else len(_BROKEN.findall(text))
