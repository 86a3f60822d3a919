"""The web page at `/`, for people who try the model: its files, and who may load them.

The files contain no data, so they need no API key. The page sends the key with each request for
data. A strict content security policy forbids everything from elsewhere and all inline scripts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from tokensieve import __version__
from tokensieve.server.config import Limits

FOLDER = Path(__file__).parent / "console"
PAGE = "index.html"
TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = ("console.css", "console.js", "csv.js", "icon.svg", "view.js")
PREFIX = "/console/"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}

Endpoint = Callable[[Request], Awaitable[Response]]


class ConsolePages:
    """The endpoints of the web page."""

    def __init__(self, index: Endpoint, root_path: str, limits: Limits, key: bool, feedback: bool) -> None:
        """Read the files.

        Args:
            index: The endpoint of `/` for programs.
            root_path: Path prefix of a proxy in front.
            limits: The limits that the page must respect.
            key: Whether requests for data need the API key.
            feedback: Whether corrections are stored.
        """
        self._index = index
        self._files = {name: (FOLDER / name).read_bytes() for name in FILES}
        facts = {
            "key": "yes" if key else "no",
            "feedback": "yes" if feedback else "no",
            "texts": limits.max_texts,
            "characters": limits.max_characters,
            "bytes": limits.max_body,
            "program": __version__,
        }
        attributes = " ".join(f'data-{name}="{escape(str(value))}"' for name, value in facts.items())
        page = (FOLDER / PAGE).read_text(encoding="utf-8").replace("<body>", f"<body {attributes}>")
        self._page = page.replace('<base href="./">', f'<base href="{escape(root_path) or "."}/">').encode()

    async def page(self, request: Request) -> Response:
        """Return the page to a browser, and the paths of the server to other clients."""
        if is_page_request(request.scope):
            return _file(PAGE, self._page)
        return await self._index(request)

    async def file(self, request: Request) -> Response:
        """Return a script, a style sheet or a picture of the page."""
        name = request.scope["path"].removeprefix(PREFIX)
        return _file(name, self._files[name])


def is_page_request(scope: Scope) -> bool:
    """Return whether a request is for the page or one of its files, as a browser sends it."""
    path = scope["path"]
    if path.startswith(PREFIX):
        return path.removeprefix(PREFIX) in FILES
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
    return path == "/" and b"text/html" in accepted


def _file(name: str, content: bytes) -> Response:
    kind = TYPES[Path(name).suffix]
    return Response(content, media_type=f"{kind}; charset=utf-8", headers=HEADERS)
