"""The command `serve`. As in `cli.py`, it imports what it needs when it runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokensieve.errors import InputError
from tokensieve.server.service import Limits, Service

if TYPE_CHECKING:
    from tokensieve.server.live import Source

KEY = "TOKENSIEVE_API_KEY"

# Flag, the field that it sets of Service or Limits, whose default is the option's, and what it does.
OPTIONS: tuple[tuple[str, str, str], ...] = (
    ("--host", "host", "address to listen on"),
    ("--port", "port", "port to listen on"),
    ("--workers", "workers", "texts or batches computed at the same time; 0: as many as there are cores for"),
    ("--threads", "threads", "threads of one computation; all cores with --workers 1 answers a long text soonest"),
    ("--batch", "batch", "tokens computed together at most, of texts that wait at the same time; 1: each text alone"),
    ("--interval", "interval", "seconds between two looks for a newer model; 0: as few as are cheap for its source"),
    ("--queue", "queue", "texts that may wait; more are refused with status 503"),
    ("--max-texts", "texts", "texts a request at most"),
    ("--max-characters", "characters", "characters a text at most"),
    ("--max-body", "body", "bytes a request at most"),
    ("--timeout", "seconds", "seconds within which a body must arrive and an answer be made"),
)
DEFAULTS: dict[str, Any] = asdict(Service()) | asdict(Limits())
MAY_BE_ZERO = ("--workers", "--port", "--interval")
FILES: tuple[tuple[str, str], ...] = (
    ("--api-key-file", f"file with the key that requests must send as Authorization: Bearer KEY (or the environment's {KEY})"),
    ("--tls-certificate", "PEM file with the certificate, for https"),
    ("--tls-key", "PEM file with its private key"),
    ("--log-texts", "JSONL file to which texts and their labels are added; without it no text is kept"),
)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve`."""
    parser.add_argument("--model", required=True, metavar="DIR_OR_URI", help="as for predict; a folder or an alias is followed")
    for flag, name, about in OPTIONS:
        default = DEFAULTS[name]
        shown = f"{about} (default: {default})"
        parser.add_argument(flag, dest=name, type=type(default), default=default, metavar=flag[2:].split("-")[-1].upper(), help=shown)
    for flag, about in FILES:
        parser.add_argument(flag, type=Path, metavar="FILE", help=about)


def run(options: argparse.Namespace, source: Callable[[argparse.Namespace], Source]) -> None:
    """Serve the model of `source` until told to end.

    Raises:
        InputError: an option's value, or a file that cannot be read; as `Live`.
    """
    _refuse(options)
    key = _key(options.api_key_file)
    from tokensieve.server.app import serve
    from tokensieve.server.journal import Journal
    from tokensieve.server.live import Live

    chosen = {name: getattr(options, name) for _, name, _ in OPTIONS}
    files = {"certificate": options.tls_certificate, "private_key": options.tls_key}
    settings = Service(**{spec.name: chosen[spec.name] for spec in fields(Service) if spec.name in chosen}, **files)
    limits = Limits(**{spec.name: chosen[spec.name] for spec in fields(Limits)})
    journal = Journal(options.log_texts) if options.log_texts else None
    serve(Live(source(options), options.threads), settings, limits, key, journal)


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
    for path in filter(None, (options.tls_certificate, options.tls_key)):
        if not path.is_file():
            raise InputError(f"{path} is no file; give the PEM files of certificate and key")


def _key(path: Path | None) -> str | None:
    """The API key of a file, else of the environment; None: there is none."""
    if path is None:
        return os.environ.get(KEY) or None
    try:
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(f"--api-key-file {path} cannot be read ({error.strerror})") from None
    if not key:
        raise InputError(f"--api-key-file {path} is empty; write the key into it, or leave the option out to serve without one")
    return key
