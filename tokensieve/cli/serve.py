"""The command `serve`."""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import signal
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tokensieve.cli.command import PREDICT, Answer, Command, add_project
from tokensieve.cli.model_option import add_model, find_model, model_source
from tokensieve.errors import InputError, excerpt
from tokensieve.project import Layout
from tokensieve.server.config import Limits, ServerConfig, ShadowConfig

log = logging.getLogger("tokensieve")

KEY = "TOKENSIEVE_API_KEY"

# Flag, field of ServerConfig or Limits (which also has the default), and help.
OPTIONS: tuple[tuple[str, str, str], ...] = (
    ("--host", "host", "address to listen on"),
    ("--port", "port", "port to listen on"),
    ("--workers", "workers", "parallel inference threads; 0: one per available core"),
    ("--threads", "threads", "threads per inference; for long texts, use all cores and --workers 1"),
    ("--max-batch-tokens", "max_batch_tokens", "maximum tokens per batch of queued texts; 1: no batches"),
    ("--poll-interval", "poll_interval", "seconds between checks for a new model; 0: chosen by its source"),
    ("--max-queue", "max_queue", "maximum queued texts; more are refused with status 503"),
    ("--max-texts", "max_texts", "maximum texts per request"),
    ("--max-characters", "max_characters", "maximum characters per text"),
    ("--max-body", "max_body", "maximum bytes per request"),
    ("--max-candidates", "max_candidates", "maximum labels per response, over all its texts"),
    ("--max-held", "max_held", "maximum bytes of all open requests; more are refused with status 503"),
    ("--max-connections", "max_connections", "maximum open connections"),
    ("--max-feedback", "max_feedback", "maximum bytes of the feedback file; more is refused"),
    ("--timeout", "timeout", "seconds to receive a request, to compute a response and to send it, each"),
    ("--keep-alive", "keep_alive", "seconds until an idle connection is closed; more than a load balancer's"),
    ("--grace", "grace", "seconds to finish open requests after SIGTERM"),
    ("--root-path", "root_path", "path prefix that a proxy adds, for example /classifier"),
)
DEFAULTS: dict[str, Any] = asdict(ServerConfig()) | asdict(Limits())
MAY_BE_ZERO = ("--workers", "--port", "--poll-interval")
FILES: tuple[tuple[str, str], ...] = (
    (
        "--api-key-file",
        f"file with the API key; requests send it as Authorization: Bearer KEY (or set {KEY})",
    ),
    ("--tls-certificate", "PEM file with the certificate, for https"),
    ("--tls-key", "PEM file with its private key"),
    ("--shadow-report", "JSON file of the comparison (default: .tokensieve/shadow.json of the project)"),
    ("--feedback", "JSONL file for corrections from the console; by default they are refused"),
    ("--log-texts", "JSONL file to append texts and predictions to; by default no text is stored"),
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    add_model(parser, "; a new version in the folder or under the alias is loaded")
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
    about = "origin of pages that may send requests, for example https://example.org, or *; repeatable"
    parser.add_argument("--cors-origin", action="append", default=[], metavar="ORIGIN", help=about)
    parser.add_argument(
        "--shadow",
        metavar="DIR_OR_URI",
        help="a challenger, as for --model: it predicts texts in the background, for a comparison",
    )
    parser.add_argument(
        "--shadow-share",
        type=float,
        default=ShadowConfig.share,
        metavar="SHARE",
        help=f"share of texts that the challenger gets, above 0, at most 1 (default: {ShadowConfig.share})",
    )
    parser.add_argument("--no-console", action="store_true", help="serve no web page at /")
    for flag, about in FILES:
        parser.add_argument(flag, type=Path, metavar="FILE", help=about)


def serve(options: argparse.Namespace, answer: Answer) -> None:
    """Serve an exported model over HTTP until a signal ends the server.

    Raises:
        InputError: If an option is wrong or a file cannot be read, or as `ModelWatcher`.
    """
    # Ignore a hang-up until the server handles it. Otherwise it would end the process.
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _refuse(options)
    key = _key(options.api_key_file)
    if not options.model:
        find_model(options)
    log.info("loading %s ...", options.model)  # the imports below take seconds, too
    from tokensieve.server import app, tls
    from tokensieve.server.feedback import FeedbackLog
    from tokensieve.server.model_watcher import ModelWatcher
    from tokensieve.server.prediction_log import PredictionLog

    chosen = {name: getattr(options, name) for _, name, _ in OPTIONS}
    chosen |= {
        "tls_certificate": options.tls_certificate,
        "tls_key": options.tls_key,
        "cors_origins": tuple(options.cors_origin),
        "console": not options.no_console,
    }
    if options.tls_certificate:
        tls.check(options.tls_certificate, options.tls_key)
    settings = ServerConfig(**{spec.name: chosen[spec.name] for spec in fields(ServerConfig)})
    limits = Limits(**{spec.name: chosen[spec.name] for spec in fields(Limits)})
    journal = PredictionLog(options.log_texts) if options.log_texts else None
    feedback = FeedbackLog(options.feedback, limits.max_feedback) if options.feedback else None
    shadow = _shadow(options)
    watcher = ModelWatcher(model_source(options), options.threads)
    app.serve(watcher, settings, limits, key, journal, shadow, feedback)


def _shadow(options: argparse.Namespace) -> ShadowConfig | None:
    """Return the challenger and where its comparison is written. None without --shadow."""
    if not options.shadow:
        return None
    report = options.shadow_report or Layout(Path(options.project).resolve()).shadow
    return ShadowConfig(model_source(options, "--shadow"), report, options.shadow_share)


def _refuse(options: argparse.Namespace) -> None:
    for flag, name, _ in OPTIONS:
        value = getattr(options, name)
        allowed = "at least 0" if flag in MAY_BE_ZERO else "above 0"
        if isinstance(value, str):
            continue
        if not (math.isfinite(value) and value >= 0) or (value == 0 and allowed == "above 0"):
            finite = "" if math.isfinite(value) else "finite and "
            raise InputError(f"{flag} is {value:g}; it must be {finite}{allowed}")
    if not 0 < options.shadow_share <= 1:
        raise InputError(f"--shadow-share is {options.shadow_share:g}; it must be above 0 and at most 1")
    if options.shadow_report and not options.shadow:
        raise InputError("--shadow-report is of no use without --shadow; name the challenger, or omit it")
    if options.port > 65_535:
        raise InputError(f"--port is {options.port}; it must be at most 65535")
    if bool(options.tls_certificate) != bool(options.tls_key):
        raise InputError("--tls-certificate and --tls-key belong together; use both or neither")
    root = options.root_path
    if root and not re.fullmatch(r"(/[\w.~-]+)+", root):
        raise InputError(
            f"--root-path is {excerpt(root)}; it must start with / and not end with /, for example "
            "/classifier"
        )
    for origin in options.cors_origin:
        if origin != "*" and not re.fullmatch(r"https?://[\w.\[\]:-]+", origin):
            raise InputError(
                f"--cors-origin is {excerpt(origin)}; it must be * or only a scheme, host and port, for "
                "example https://example.org"
            )


def _key(path: Path | None) -> str | None:
    """Return the API key of the file, else of the environment; None if there is neither.

    Raises:
        InputError: If no request could ever match the key.
    """
    if path is None:
        key, name = os.environ.get(KEY), f"the environment's {KEY}"
        if key is None:
            return None
        remedy = "unset it to serve without a key"
    else:
        name, remedy = f"--api-key-file {path}", "omit the option to serve without a key"
        try:
            # A text editor adds a line end. Anything else around the key is refused below.
            key = path.read_bytes().decode("utf-8").strip()
        except OSError as error:
            raise InputError(f"{name} cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise InputError(
                f"{name} is not UTF-8, so no request could match it; the file must contain only the key"
            ) from None
    if not key.strip():
        raise InputError(f"{name} is empty; write the key into it, or {remedy}")
    if fault := _fault(key):
        raise InputError(
            f"{name} {fault}, so no request could match it; it must contain only the key, on one line"
        )
    return key


def _fault(key: str) -> str:
    """Return why no header can contain this key; empty if it can."""
    if key.startswith("\ufeff"):
        return "begins with a byte order mark"
    if len(key.splitlines()) > 1:
        return "has several lines"
    if key != key.strip():
        return "begins or ends with a space or a line end"
    if any(ord(character) < 32 or ord(character) == 127 for character in key):
        return "has control characters"
    return "is not UTF-8" if any("\ud800" <= character <= "\udfff" for character in key) else ""


COMMANDS = (Command("serve", PREDICT, serve, _add_arguments, extra="serve", handles_signals=True),)
