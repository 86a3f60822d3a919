"""The HTTP service: texts in as JSON, the live model's answers out. No text is sent back, none is kept without a journal."""

from __future__ import annotations

import logging
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from tokensieve import __version__
from tokensieve.cpus import cores
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import ONLY
from tokensieve.server import docs_page
from tokensieve.server.batcher import Batcher
from tokensieve.server.config import Limits, ServerConfig
from tokensieve.server.http_protocol import ConnectionLimits, connection_class
from tokensieve.server.logs import limit_repeats
from tokensieve.server.middleware import KNOWN, RequestLimits
from tokensieve.server.model_watcher import LoadedModel, ModelWatcher
from tokensieve.server.predict import PredictEndpoint
from tokensieve.server.prediction_log import PredictionLog
from tokensieve.server.prometheus import CONTENT_TYPE, Metrics
from tokensieve.server.schema import (
    ErrorResponse,
    Health,
    Index,
    Many,
    ManyByTask,
    ManySets,
    ModelInfo,
    ModelInfoByTask,
    One,
    OneByTask,
    OneSet,
    PredictRequest,
    Readiness,
)
from tokensieve.server.sockets import Server, bind, room_for
from tokensieve.server.tokenization_pool import TokenizationPool
from tokensieve.server.unread_bytes import HeldBytes

log = logging.getLogger("tokensieve")

PATHS = {
    "POST /predict": "labels of one text, or of several",
    "/model": "labels, thresholds and hashes of the model",
    "/ready": "which model answers",
    "/metrics": "for Prometheus",
    "/docs": "the description for people",
    "/openapi.json": "the description for programs",
}

DEFAULTS = ServerConfig()

Responses = dict[int | str, dict[str, Any]]


def create_app(
    live: ModelWatcher,
    batcher: Batcher,
    meters: Metrics,
    limits: Limits,
    key: str | None = None,
    journal: PredictionLog | None = None,
    settings: ServerConfig = DEFAULTS,
    held: HeldBytes | None = None,
    encoder: TokenizationPool | None = None,
) -> ASGIApp:
    """The service that answers with the live model, described at `/docs`; with `key`, only to those who send it."""
    encoder = encoder or TokenizationPool(cores())
    about, root = "Labels for texts, with calibrated probabilities.", settings.root_path
    # FastAPI's own pages load scripts from elsewhere.
    service = FastAPI(
        title="tokensieve",
        version=__version__,
        description=about,
        root_path=root,
        docs_url=None,
        redoc_url=None,
    )
    held = held or HeldBytes(limits.max_held)
    predict = PredictEndpoint(live, batcher, encoder, meters, limits, journal)
    refusals: Responses = {401: {"model": ErrorResponse}} if key else {}
    refused: Responses = refusals | {status: {"model": ErrorResponse} for status in (408, 413, 415, 422, 503)}
    answered: Responses = {
        200: {"model": One | Many | OneSet | ManySets | OneByTask | ManyByTask, "description": "The answers"}
    }
    plain: Responses = {200: {"content": {"text/plain": {}}}}
    body = {"content": {"application/json": {"schema": PredictRequest.model_json_schema()}}, "required": True}

    service.post(
        "/predict", response_model=None, responses=answered | refused, openapi_extra={"requestBody": body}
    )(predict.predict)

    @service.get("/", responses=refusals)
    async def index() -> Index:
        """What is found where."""
        return Index(service="tokensieve", version=__version__, paths=PATHS)

    @service.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page.docs(service.openapi(), root, key is not None))

    @service.get("/health")
    async def health() -> Health:
        """Whether the process lives."""
        return Health(status="ok")

    @service.get("/ready")
    async def ready(request: Request) -> Readiness:
        """Whether it answers, with which model, and why not with a newer one."""
        known = request.scope.get(KNOWN, True)
        trouble = (
            live.trouble
            if known or not live.trouble
            else "the newest model is not in use; send the API key to see why"
        )
        return Readiness(
            status="ready", version=live.current.version, trouble=trouble, checked=live.checked_at
        )

    @service.get("/metrics", responses=refusals | plain, response_class=Response)
    async def metrics() -> Response:
        """Counts and durations in Prometheus' text format."""
        current = live.current
        meters.queue.set(batcher.waiting)
        meters.model.clear()
        for task, manifest in current.model.tasks.items():
            meters.model.labels(task, current.version, manifest.data_hash).set(1)
        for outcome, count in live.swaps.items():
            meters.swaps.labels(outcome).set(count)
        meters.checked.set(live.looked or 0)
        meters.trouble.set(live.trouble is not None)
        meters.held.set(held.bodies)
        return Response(meters.text(), media_type=CONTENT_TYPE)

    @service.get("/model", responses=refusals)
    async def model() -> ModelInfo | ModelInfoByTask:
        """What answers: labels, thresholds, and the hashes of its files."""
        current = live.current
        facts = {task: _facts(manifest, current.version) for task, manifest in current.model.tasks.items()}
        return facts[ONLY] if ONLY in facts else ModelInfoByTask(version=current.version, tasks=facts)

    gate = RequestLimits(service, predict.predict, limits, meters, held, key, root)
    if not settings.cors_origins:
        return gate
    return CORSMiddleware(
        gate,
        settings.cors_origins,
        allow_methods=("GET", "POST"),
        allow_headers=("authorization", "content-type"),
    )


def serve(
    live: ModelWatcher,
    settings: ServerConfig,
    limits: Limits,
    key: str | None = None,
    journal: PredictionLog | None = None,
) -> None:
    """Answer requests until SIGTERM or SIGINT.

    Raises:
        InputError: If it cannot listen.
    """
    meters, held = Metrics(), HeldBytes(limits.max_held)
    sockets = bind(settings.host, settings.port)
    workers = settings.workers or max(1, cores() // settings.threads)
    batcher, encoder = (
        Batcher(workers, settings.max_batch_tokens, limits.max_queue, meters.batches.observe),
        TokenizationPool(workers),
    )
    live.follow(settings.poll_interval)
    config = uvicorn.Config(
        create_app(live, batcher, meters, limits, key, journal, settings, held, encoder),
        # It would hold a text that someone puts into the address.
        access_log=False,
        http=connection_class(ConnectionLimits(limits.timeout, room_for(limits.max_connections)), held),
        ws="none",
        # Behind a proxy, its connections are the clients that the batcher tells apart.
        proxy_headers=False,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        backlog=2048,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=settings.grace,
    )
    limit_repeats()
    address = f"{'https' if settings.tls_certificate else 'http'}://{_shown(settings.host)}:{sockets[0].getsockname()[1]}{settings.root_path}"
    server = Server(
        config,
        lambda: _say_what_is_served(live.current, address, key),
        journal.reopen if journal else lambda: None,
    )
    try:
        server.run(sockets)
    finally:
        live.stop()
        batcher.close()
        encoder.close()
        if journal:
            journal.close()
    if server.interrupted:
        raise SystemExit(130)


def _say_what_is_served(loaded: LoadedModel, address: str, key: str | None) -> None:
    """Log the model, the address, whether a key is asked for, and a command to try it."""
    for task, manifest in loaded.model.tasks.items():
        of = f"task {task}: " if task != ONLY else ""
        shown = (loaded.version, of, len(manifest.labels), manifest.threshold, manifest.max_length)
        log.info("model %s: %s%d labels, uncertain below %.3g, reads %d tokens", *shown)
    log.info(
        "%s at %s", "requests need the API key" if key else "no API key: every request is answered", address
    )
    authorization = ' -H "authorization: Bearer $TOKENSIEVE_API_KEY"' if key else ""
    log.info(
        "curl -s %s/predict%s -H 'content-type: application/json' -d '{\"text\": \"...\"}'",
        address,
        authorization,
    )


def _shown(host: str) -> str:
    """Return a host as an address that can be asked."""
    if host in ("", "0.0.0.0", "::"):
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host


def _facts(manifest: Manifest, version: str) -> ModelInfo:
    same = ("data_hash", "base", "variant", "max_length", "truncation", "temperature", "threshold", "margin")
    return ModelInfo(
        version=version,
        labels=list(manifest.labels),
        several=bool(manifest.thresholds),
        parity=dict(manifest.parity),
        files=dict(manifest.files),
        **{name: getattr(manifest, name) for name in same},
    )
