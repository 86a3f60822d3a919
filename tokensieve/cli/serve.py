"""The command `serve`. As in `main.py`, it imports what it needs when it runs."""

from __future__ import annotations

import argparse
import os
import re
import signal
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokensieve.errors import InputError, excerpt
from tokensieve.server.config import Limits, ServerConfig

if TYPE_CHECKING:
    from tokensieve.server.model_watcher import ModelSource

KEY = "TOKENSIEVE_API_KEY"

# Flag, the field that it sets of ServerConfig or Limits, whose default is the option's, and what it does.
OPTIONS: tuple[tuple[str, str, str], ...] = (
    ("--host", "host", "address to listen on"),
    ("--port", "port", "port to listen on"),
    ("--workers", "workers", "texts or batches computed at the same time; 0: as many as there are cores for"),
    (
        "--threads",
        "threads",
        "threads of one computation; all cores with --workers 1 answers a long text soonest",
    ),
    (
        "--batch",
        "max_batch_tokens",
        "tokens computed together at most, of texts that wait at the same time; 1: each text alone",
    ),
    (
        "--interval",
        "poll_interval",
        "seconds between two looks for a newer model; 0: as few as are cheap for its source",
    ),
    ("--queue", "max_queue", "texts that may wait; more are refused with status 503"),
    ("--max-texts", "max_texts", "texts a request at most"),
    ("--max-characters", "max_characters", "characters a text at most"),
    ("--max-body", "max_body", "bytes a request at most"),
    ("--max-candidates", "max_candidates", "labels that an answer may name in all, over its texts"),
    (
        "--max-held",
        "max_held",
        "bytes of all requests that wait for an answer; more are refused with status 503",
    ),
    ("--max-connections", "max_connections", "connections at most"),
    ("--timeout", "timeout", "seconds within which a body must arrive, an answer be made, and be read"),
    (
        "--keep-alive",
        "keep_alive",
        "seconds that an idle connection stays open; more than a load balancer in front keeps it",
    ),
    ("--grace", "grace", "seconds to finish requests in progress after SIGTERM"),
    (
        "--root-path",
        "root_path",
        "path prefix under which a proxy in front publishes the server, as in /classifier",
    ),
)
DEFAULTS: dict[str, Any] = asdict(ServerConfig()) | asdict(Limits())
MAY_BE_ZERO = ("--workers", "--port", "--interval")
FILES: tuple[tuple[str, str], ...] = (
    (
        "--api-key-file",
        f"file with the key that requests must send as Authorization: Bearer KEY (or the environment's {KEY})",
    ),
    ("--tls-certificate", "PEM file with the certificate, for https"),
    ("--tls-key", "PEM file with its private key"),
    ("--log-texts", "JSONL file to which texts and their labels are added; without it no text is kept"),
)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve`."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR_OR_URI",
        help="as for predict; a folder or an alias is followed",
    )
    for flag, name, about in OPTIONS:
        default = DEFAULTS[name]
        shown = f"{about} (default: {default})"
        parser.add_argument(
            flag,
            dest=name,
            type=type(default),
            default=default,
            metavar=flag[2:].split("-")[-1].upper(),
            help=shown,
        )
    about = "origin whose pages may send requests from a browser, as in https://example.org, or *; may be repeated (default: none)"
    parser.add_argument("--cors-origin", action="append", default=[], metavar="ORIGIN", help=about)
    for flag, about in FILES:
        parser.add_argument(flag, type=Path, metavar="FILE", help=about)


def run(options: argparse.Namespace, source: Callable[[argparse.Namespace], ModelSource]) -> None:
    """Serve the model of `source` until told to end.

    Raises:
        InputError: an option's value, or a file that cannot be read; as `ModelWatcher`.
    """
    # A hang-up ends a process that does not handle it; until the server does, it is to go on.
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _refuse(options)
    key = _key(options.api_key_file)
    from tokensieve.server import tls
    from tokensieve.server.app import serve
    from tokensieve.server.model_watcher import ModelWatcher
    from tokensieve.server.prediction_log import PredictionLog

    chosen = {name: getattr(options, name) for _, name, _ in OPTIONS}
    chosen |= {
        "tls_certificate": options.tls_certificate,
        "tls_key": options.tls_key,
        "cors_origins": tuple(options.cors_origin),
    }
    if options.tls_certificate:
        tls.check(options.tls_certificate, options.tls_key)
    settings = ServerConfig(**{spec.name: chosen[spec.name] for spec in fields(ServerConfig)})
    limits = Limits(**{spec.name: chosen[spec.name] for spec in fields(Limits)})
    journal = PredictionLog(options.log_texts) if options.log_texts else None
    serve(ModelWatcher(source(options), options.threads), settings, limits, key, journal)


def _refuse(options: argparse.Namespace) -> None:
    for flag, name, _ in OPTIONS:
        value = getattr(options, name)
        allowed = "at least 0" if flag in MAY_BE_ZERO else "above 0"
        if not isinstance(value, str) and (value < 0 or (value == 0 and allowed == "above 0")):
            raise InputError(f"{flag} is {value:g}; it must be {allowed}")
    if options.port > 65_535:
        raise InputError(f"--port is {options.port}; it must be at most 65535")
    if bool(options.tls_certificate) != bool(options.tls_key):
        raise InputError("--tls-certificate and --tls-key belong together; give both or none")
    root = options.root_path
    if root and not re.fullmatch(r"(/[\w.~-]+)+", root):
        raise InputError(
            f"--root-path is {excerpt(root)}; it must begin with / and not end with it, as in /classifier"
        )
    for origin in options.cors_origin:
        if origin != "*" and not re.fullmatch(r"https?://[\w.\[\]:-]+", origin):
            raise InputError(
                f"--cors-origin is {excerpt(origin)}; it must be * or scheme, host and port alone, as in https://example.org"
            )


def _key(path: Path | None) -> str | None:
    """Return the API key of a file, else of the environment; None if neither is given.

    Raises:
        InputError: If no request could ever match the key.
    """
    if path is None:
        key, name = os.environ.get(KEY), f"the environment's {KEY}"
        if key is None:
            return None
        remedy = "unset it to serve without a key"
    else:
        name, remedy = f"--api-key-file {path}", "leave the option out to serve without one"
        try:
            # A text editor ends the line; anything else around the key is kept out below.
            key = path.read_bytes().decode("utf-8").strip()
        except OSError as error:
            raise InputError(f"{name} cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise InputError(
                f"{name} is not UTF-8, so no request could match it; write the key alone into it"
            ) from None
    if not key.strip():
        raise InputError(f"{name} is empty; put the key into it, or {remedy}")
    if fault := _fault(key):
        raise InputError(
            f"{name} {fault}, so no request could match it; put the key alone into it, on one line"
        )
    return key


def _fault(key: str) -> str:
    """Return why a header can never have this key; empty if it can."""
    if key.startswith("\ufeff"):
        return "begins with a byte order mark"
    if len(key.splitlines()) > 1:
        return "has several lines"
    if key != key.strip():
        return "begins or ends with a blank or a line end"
    if any(ord(character) < 32 or ord(character) == 127 for character in key):
        return "has control characters"
    return "is not UTF-8" if any("\ud800" <= character <= "\udfff" for character in key) else ""
