"""Strip HTML from texts, equally in training and in serving.

`strip_html` parses with html.parser of the standard library. It is repeated until nothing is left
to strip. So a text that is clean already stays as it is, and text that was escaped twice is read.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

NONE, HTML = "none", "html"
ROUNDS = 8  # more only for texts that were made to need them

# Elements that begin a new line, and elements whose content is no text.
_BLOCKS = """
    address article aside blockquote body br center dd div dl dt fieldset figure footer form h1 h2
    h3 h4 h5 h6 head header hr html li main nav ol option p pre section table tbody td tfoot th
    thead tr ul
"""
HIDDEN = frozenset(("script", "style", "title", "template"))
_INLINE = """
    a abbr acronym b base bdi bdo big button caption cite code col colgroup data del dfn em
    figcaption font i iframe img input ins kbd label legend link map mark meta meter noscript object
    o:p output param picture q s samp select small source span strike strong sub summary sup svg
    textarea time tt u var video wbr
"""
BLOCKS = frozenset(_BLOCKS.split())
TAGS = BLOCKS | HIDDEN | frozenset(_INLINE.split())

_ESCAPED = re.compile(r"&(?:(?:amp|#0*38|#[xX]0*26);)+")  # an ampersand that was escaped many times
# What html.parser is given as markup. Other angle brackets are escaped for it: its time grows with
# the square of the length for "<a <a <a". Comments are bounded for the same reason. Ampersands that
# begin no entity are escaped, too: it would read "&section" as an entity "&sect" without semicolon.
_MARKUP = re.compile(
    r"(</?[a-zA-Z][^<>]*>|<!--.{0,2000}?-->|<![a-zA-Z][^<>]*>|<\?[^<>]*>)|<"
    r"|&(?!(?:[a-zA-Z][a-zA-Z0-9]+|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});)",
    re.DOTALL,
)
_LITERAL = {"<": "&lt;", "&": "&amp;"}
_SPACES = re.compile(r"[^\S\n]+")
_TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9:]*)(?:[\s/][^<>]*)?>")
_ENTITY = re.compile(r"&(?:[a-zA-Z][a-zA-Z0-9]+|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});")


def strip_html(text: str) -> str:
    """Return a text without HTML tags and comments, with the characters that entities stand for.

    Blocks such as paragraphs become lines, and scripts and styles are removed. What is in angle
    brackets and not a tag of HTML, such as a mail address, stays.
    """
    for _ in range(ROUNDS):
        if "<" not in text and "&" not in text:
            return text
        before, text = text, _stripped(_ESCAPED.sub("&", text))
        if text == before:
            return text
    return text


def count_markup(text: str) -> int:
    """Return the number of HTML tags and entities in `text`."""
    if "<" not in text and "&" not in text:
        return 0
    tags = sum(found[1].lower() in TAGS for found in _TAG.finditer(text))
    return tags + sum(1 for _ in _ENTITY.finditer(text))


class _Reader(HTMLParser):
    """Collects the text of a document.

    `closed` are the elements of HIDDEN that are closed somewhere. Without an end, an element would
    hide the rest of the text.
    """

    def __init__(self, closed: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._closed, self._hidden = closed, 0

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in HIDDEN:
            self._hidden += tag in self._closed
        elif tag in BLOCKS:
            self.parts.append("\n")
        elif tag not in TAGS and not self._hidden:
            self.parts.append(self.get_starttag_text() or "")

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        if tag not in HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in BLOCKS:
            self.parts.append("\n")
        elif tag not in TAGS and not self._hidden:
            self.parts.append(f"</{tag}>")


def _stripped(text: str) -> str:
    lower = text.lower()
    reader = _Reader(frozenset(tag for tag in HIDDEN if f"</{tag}" in lower))
    reader.feed(_MARKUP.sub(lambda found: found[1] or _LITERAL[found[0]], text))
    reader.close()
    lines = (line.strip() for line in _SPACES.sub(" ", "".join(reader.parts)).split("\n"))
    return "\n".join(line for line in lines if line)
