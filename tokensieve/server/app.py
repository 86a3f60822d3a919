"""The HTTP service: texts in as JSON, the live model's answers out. No text is sent back, none is kept without a journal."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokensieve import __version__
from tokensieve.errors import excerpt
from tokensieve.manifest import Manifest
from tokensieve.predictor import ONLY, LabelSet, Prediction, cores
from tokensieve.served import Answers, Logits
from tokensieve.server.batcher import Batcher, Full
from tokensieve.server.journal import Journal
from tokensieve.server.live import Live, Loaded
from tokensieve.server.meters import CONTENT_TYPE, Meters
from tokensieve.server.protocol import punctual
from tokensieve.server.schema import (
    Facts,
    FactsByTask,
    Health,
    Many,
    ManyByTask,
    ManySets,
    One,
    OneByTask,
    OneSet,
    Query,
    Readiness,
    Refusal,
)
from tokensieve.server.service import Limits, Service

# Characters that are tokenized at once on the thread that answers: some 100 microseconds. Longer texts get a thread of their own.
SHORT = 2_000
OPEN = ("/health", "/ready")  # without a key: who probes them has none


Responses = dict[int | str, dict[str, Any]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Gate:
    """Refuses requests without the key, and bodies that are too large or too slow, whatever their headers say; measures the others.

    Texts go to `predict` from here: through the framework's layers (middleware, telemetry, routing, dependencies) a request without
    the graph's work takes 0.3 ms of CPU, past them 0.2.
    """

    def __init__(self, app: ASGIApp, predict: Endpoint, limits: Limits, meters: Meters, key: str | None) -> None:
        self.app, self.predict, self.limits, self.meters, self.key = app, predict, limits, meters, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.key and scope["path"] not in OPEN and not self._known(scope):
            self.meters.requests.labels("401").inc()
            refusal = JSONResponse({"detail": "send the API key as Authorization: Bearer KEY"}, 401, headers={"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, send)
            return
        began, seen, status = time.perf_counter(), 0, 500
        ends = asyncio.get_running_loop().time() + self.limits.seconds

        async def counted() -> Message:
            nonlocal seen
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body did not arrive within {self.limits.seconds:g} s") from None
            seen += len(message.get("body", b""))
            if seen > self.limits.body:
                raise HTTPException(413, f"the body is larger than {self.limits.body} bytes; send fewer texts a request")
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        if scope["path"] != "/predict":
            await self.app(scope, counted, send)
            return
        try:
            if scope["method"] == "POST":
                response = await self._answer(Request(scope, counted))
                await response(scope, counted, noted)
            else:
                await self.app(scope, counted, noted)
        finally:
            self.meters.seconds.observe(time.perf_counter() - began)
            self.meters.requests.labels(str(status)).inc()

    async def _answer(self, request: Request) -> Response:
        try:
            return await self.predict(request)
        except HTTPException as error:
            return await http_exception_handler(request, error)

    def _known(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, f"Bearer {self.key}".encode())


def app(
    live: Live,
    batcher: Batcher,
    meters: Meters,
    limits: Limits,
    key: str | None = None,
    journal: Journal | None = None,
) -> Gate:
    """The service that answers with the live model, described at `/docs`; with `key`, only to those who send it."""
    service = FastAPI(title="tokensieve", version=__version__, description="Labels for texts, with calibrated probabilities.")
    refusals: Responses = {401: {"model": Refusal}} if key else {}
    refused: Responses = refusals | {status: {"model": Refusal} for status in (408, 413, 415, 422, 503)}
    answered: Responses = {200: {"model": One | Many | OneSet | ManySets | OneByTask | ManyByTask, "description": "The answers"}}
    plain: Responses = {200: {"content": {"text/plain": {}}}}
    body = {"content": {"application/json": {"schema": Query.model_json_schema()}}, "required": True}

    @service.post(
        "/predict",
        response_model=None,
        responses=answered | refused,
        openapi_extra={"requestBody": body},
    )
    async def predict(request: Request) -> Response:
        """Label one text, or several."""
        query = await _query(request)
        texts = _texts(query, limits)
        loaded = live.current
        try:
            async with asyncio.timeout(limits.seconds):
                # Uncontended, a thread costs more than the tokens of a short text.
                if sum(map(len, texts)) <= SHORT:
                    encoded = loaded.model.encode(texts)
                else:
                    with batcher.expecting(len(texts)):
                        encoded = await asyncio.to_thread(loaded.model.encode, texts)
                finish = _finisher(loaded, query, texts, [text.truncated for text in encoded])
                client = f"{request.client.host} {request.client.port}" if request.client else ""
                content = await batcher.compute(loaded.model, [text.ids for text in encoded], finish, client)
        except Full:
            return _refusal(503, f"{batcher.waiting} texts wait already; try again later", {"Retry-After": "1"})
        except TimeoutError:
            return _refusal(503, f"no answer within {limits.seconds:g} s; send fewer texts, or try again later", {"Retry-After": "5"})
        return Response(content, media_type="application/json")

    def _finisher(loaded: Loaded, query: Query, texts: list[str], truncated: list[bool]) -> Callable[[Logits], bytes]:
        def finish(logits: Logits) -> bytes:
            answers = loaded.model.answers_by_task(logits, truncated, query.top)
            meters.answered(answers)
            if journal:
                journal.write(texts, answers, loaded.version)
            return _content(answers, query.texts is not None, loaded)

        return finish

    @service.get("/health")
    async def health() -> Health:
        """Whether the process lives."""
        return Health(status="ok")

    @service.get("/ready")
    async def ready() -> Readiness:
        """Whether it answers, with which model, and why not with a newer one."""
        current = live.current
        return Readiness(status="ready", version=current.version, trouble=live.trouble)

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
        return Response(meters.text(), media_type=CONTENT_TYPE)

    @service.get("/model", responses=refusals)
    async def model() -> Facts | FactsByTask:
        """What answers: labels, thresholds, and the hashes of its files."""
        current = live.current
        facts = {task: _facts(manifest, current.version) for task, manifest in current.model.tasks.items()}
        return facts[ONLY] if ONLY in facts else FactsByTask(version=current.version, tasks=facts)

    return Gate(service, predict, limits, meters, key)


def serve(live: Live, settings: Service, limits: Limits, key: str | None = None, journal: Journal | None = None) -> None:
    """Answer requests until the process is told to end."""
    meters = Meters()
    batcher = Batcher(settings.workers or max(1, cores() // settings.threads), settings.batch, limits.queue, meters.batches.observe)
    live.follow(settings.interval)
    try:
        # The access log would hold a text that someone puts into the address.
        uvicorn.run(
            app(live, batcher, meters, limits, key, journal),
            host=settings.host,
            port=settings.port,
            access_log=False,
            http=punctual(limits.seconds),
            # Behind a proxy, its connections are the clients that the batcher tells apart.
            proxy_headers=False,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.private_key,
            backlog=2048,
        )
    finally:
        live.stop()
        batcher.close()
        if journal:
            journal.close()


async def _query(request: Request) -> Query:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "send a JSON object with text or texts, with Content-Type: application/json")
    try:
        return Query.model_validate_json(await request.body())
    except ValidationError as error:
        raise HTTPException(422, _reason(error)) from None
    except ClientDisconnect:
        # Nobody reads this; without it the log would show a stack trace for a client that hung up.
        raise HTTPException(422, "the body ended early") from None


def _texts(query: Query, limits: Limits) -> list[str]:
    if (query.text is None) == (query.texts is None):
        raise HTTPException(422, "give either text, a string, or texts, a list of strings")
    texts = query.texts if query.text is None else [query.text]
    assert texts is not None
    if len(texts) > limits.texts:
        raise HTTPException(422, f"texts holds {len(texts)} texts, allowed: {limits.texts}; send them in several requests")
    for place, text in enumerate(texts):
        if len(text) > limits.characters:
            name = "text" if query.texts is None else f"texts[{place}]"
            raise HTTPException(422, f"{name} has {len(text)} characters, allowed: {limits.characters}; shorten it")
    return texts


def _content(answers: Answers, many: bool, loaded: Loaded) -> bytes:
    """The body of an answer, as `schema` describes it."""
    of: dict[str, Any]
    if ONLY in answers:
        trees = [_tree(answer) for answer in answers[ONLY]]
        of = {"version": loaded.version, "data_hash": loaded.model.tasks[ONLY].data_hash}
    else:
        texts = zip(*answers.values(), strict=True)
        trees = [{"tasks": {task: _tree(answer) for task, answer in zip(answers, text, strict=True)}} for text in texts]
        of = {"version": loaded.version, "data_hashes": {task: manifest.data_hash for task, manifest in loaded.model.tasks.items()}}
    tree = {"predictions": trees} | of if many else trees[0] | of
    return json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _tree(found: Prediction | LabelSet) -> dict[str, Any]:
    doubts = {"uncertain": found.uncertain, "truncated": found.truncated, "top": _candidates(found.top)}
    if isinstance(found, LabelSet):
        return {"labels": _candidates(found.labels)} | doubts
    return {"label": found.label, "probability": found.probability} | doubts


def _candidates(labels: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for label, probability in labels]


def _facts(manifest: Manifest, version: str) -> Facts:
    same = ("data_hash", "base", "variant", "max_length", "truncation", "temperature", "threshold", "margin")
    return Facts(
        version=version,
        labels=list(manifest.labels),
        several=bool(manifest.thresholds),
        parity=dict(manifest.parity),
        files=dict(manifest.files),
        **{name: getattr(manifest, name) for name in same},
    )


def _refusal(status: int, detail: str, headers: dict[str, str]) -> Response:
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)


def _reason(error: ValidationError) -> str:
    # pydantic's own message repeats the input, which may be private.
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first['ctx']['error']}"
    if not first["loc"]:
        return "send a JSON object with text or texts, with Content-Type: application/json"
    place = [step for step in first["loc"] if step != "body"]
    name = excerpt(place[0]).strip("'\"") + "".join(f"[{step}]" for step in place[1:])
    return f"{name}: {first['msg']}"
