"""The HTTP server: routes, and the start and end of the process.

A request passes `http_protocol` (limits on its head), `middleware` (API key, limits on its body)
and its route. `predict` computes the response with `batcher`. Texts are not logged, and not stored
without a prediction log.
"""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterable
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tokensieve.cpus import cores
from tokensieve.inference.prediction import SINGLE_TASK
from tokensieve.server.batcher import Batcher
from tokensieve.server.config import Limits, ServerConfig, ShadowConfig
from tokensieve.server.console_page import FILES, PREFIX, ConsolePages
from tokensieve.server.explain import ExplainEndpoint
from tokensieve.server.feedback import FeedbackEndpoint, FeedbackLog
from tokensieve.server.held_bytes import HeldBytes
from tokensieve.server.http_protocol import connection_class
from tokensieve.server.info import InfoEndpoints
from tokensieve.server.logs import limit_repeats
from tokensieve.server.middleware import RequestLimits, error_response
from tokensieve.server.model_watcher import LoadedModel, ModelWatcher
from tokensieve.server.predict import PredictEndpoint
from tokensieve.server.prediction_log import PredictionLog
from tokensieve.server.prometheus import Metrics, ShadowMetrics
from tokensieve.server.shadow import Shadow
from tokensieve.server.sockets import Server, bind, room_for
from tokensieve.server.timeouts import ConnectionLimits
from tokensieve.server.tokenization_pool import TokenizationPool

log = logging.getLogger("tokensieve")

DEFAULTS = ServerConfig()


def create_app(
    watcher: ModelWatcher,
    batcher: Batcher,
    metrics: Metrics,
    limits: Limits,
    key: str | None = None,
    prediction_log: PredictionLog | None = None,
    config: ServerConfig = DEFAULTS,
    held: HeldBytes | None = None,
    pool: TokenizationPool | None = None,
    shadow: Shadow | None = None,
    feedback: FeedbackLog | None = None,
) -> Starlette:
    """Return the application.

    With `key`, all but health probes and the console's files need this API key.
    """
    held = held or HeldBytes(limits.max_held)
    predict = PredictEndpoint(
        watcher, batcher, pool or TokenizationPool(cores()), metrics, limits, prediction_log, shadow
    )
    info = InfoEndpoints(watcher, batcher, metrics, held, config.root_path, key is not None, shadow)
    console = ConsolePages(info.index, config.root_path, limits, key is not None, feedback is not None)
    routes = [
        Route("/predict", predict.predict, methods=["POST"]),
        Route("/explain", ExplainEndpoint(watcher, batcher, limits).explain, methods=["POST"]),
        Route("/feedback", FeedbackEndpoint(watcher, limits, feedback).feedback, methods=["POST"]),
        Route("/", console.page if config.console else info.index),
        *_info_routes(info),
        *(Route(f"{PREFIX}{name}", console.file) for name in FILES if config.console),
    ]
    for route in routes:
        route.methods = (route.methods or set()) - {"HEAD"}  # which Starlette adds to GET
    cors = Middleware(
        CORSMiddleware,
        allow_origins=config.cors_origins,
        allow_methods=("GET", "POST"),
        allow_headers=("authorization", "content-type"),
    )
    guard = Middleware(RequestLimits, limits, metrics, held, key, config.root_path, config.console)
    return Starlette(
        routes=routes,
        middleware=[cors, guard] if config.cors_origins else [guard],
        exception_handlers={HTTPException: _http_error},
    )


def _info_routes(info: InfoEndpoints) -> list[Route]:
    return [
        Route("/health", info.health),
        Route("/ready", info.ready),
        Route("/metrics", info.metrics),
        Route("/model", info.model),
        Route("/openapi.json", info.openapi),
        Route("/docs", info.docs),
    ]


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_response(error.status_code, error.detail, error.headers)


def serve(
    watcher: ModelWatcher,
    config: ServerConfig,
    limits: Limits,
    key: str | None = None,
    prediction_log: PredictionLog | None = None,
    shadow_config: ShadowConfig | None = None,
    feedback: FeedbackLog | None = None,
) -> None:
    """Respond to requests until SIGTERM or SIGINT.

    Raises:
        InputError: If it cannot listen on the address, or as `Shadow`.
        SystemExit: With status 130, after SIGINT.
    """
    metrics, held = Metrics(), HeldBytes(limits.max_held)
    sockets = bind(config.host, config.port)
    workers = config.workers or max(1, cores() // config.threads)
    batcher = Batcher(workers, config.max_batch_tokens, limits.max_queue, metrics.batches.observe)
    pool = TokenizationPool(workers)
    shadow = _started_shadow(shadow_config, watcher, batcher, metrics, config) if shadow_config else None
    app = create_app(
        watcher, batcher, metrics, limits, key, prediction_log, config, held, pool, shadow, feedback
    )
    watcher.follow(config.poll_interval)
    limit_repeats()
    address = _address(config, sockets[0].getsockname()[1])
    files = [file for file in (prediction_log, feedback) if file is not None]
    server = Server(
        _uvicorn_config(app, config, limits, held),
        lambda: _log_start(watcher.current, address, key, config.console),
        partial(_reopen, files),
    )
    try:
        server.run(sockets)
    finally:
        watcher.stop()
        if shadow:
            shadow.close()
        batcher.close()
        pool.close()
        for file in files:
            file.close()
    if server.interrupted:
        raise SystemExit(130)


def _started_shadow(
    shadow: ShadowConfig, watcher: ModelWatcher, batcher: Batcher, metrics: Metrics, config: ServerConfig
) -> Shadow:
    started = Shadow(shadow, watcher, batcher.idle, ShadowMetrics(metrics.registry), config.threads)
    started.start(config.poll_interval)
    return started


def _reopen(files: Iterable[PredictionLog | FeedbackLog]) -> None:
    """Open the files again after a log rotation."""
    for file in files:
        file.reopen()


def _uvicorn_config(app: Starlette, config: ServerConfig, limits: Limits, held: HeldBytes) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # The access log would contain texts that clients put into the address.
        access_log=False,
        http=connection_class(ConnectionLimits(limits.timeout, room_for(limits.max_connections)), held),
        ws="none",
        # The command line has given it a handler for --quiet and --log-format json.
        log_config=None if logging.getLogger("uvicorn").handlers else uvicorn.config.LOGGING_CONFIG,
        # The batcher distinguishes clients by their connections, also behind a proxy.
        proxy_headers=False,
        ssl_certfile=config.tls_certificate,
        ssl_keyfile=config.tls_key,
        backlog=2048,
        timeout_keep_alive=config.keep_alive,
        timeout_graceful_shutdown=config.grace,
    )


def _log_start(loaded: LoadedModel, address: str, key: str | None, console: bool) -> None:
    """Log the model, the address, whether requests need the API key, and a command to try it."""
    for task, manifest in loaded.model.tasks.items():
        prefix = f"task {task}: " if task != SINGLE_TASK else ""
        shown = (loaded.version, prefix, len(manifest.labels), manifest.threshold, manifest.max_length)
        log.info("model %s: %s%d labels, uncertain below %.3g, reads %d tokens", *shown)
    access = "requests need the API key" if key else "no API key: every request is answered"
    log.info("%s at %s%s", access, address, " (open it in a browser to try the model)" if console else "")
    header = ' -H "authorization: Bearer $TOKENSIEVE_API_KEY"' if key else ""
    columns = next(iter(loaded.model.tasks.values())).text_columns
    text = dict.fromkeys(columns, "...") if columns else "..."
    body = shlex.quote(json.dumps({"text": text}, ensure_ascii=False))
    log.info("curl -s %s/predict%s -H 'content-type: application/json' -d %s", address, header, body)


def _address(config: ServerConfig, port: int) -> str:
    """Return a URL under which this machine can reach the server."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    scheme = "https" if config.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{config.root_path}"
