"""Requests for predictions: what they may say, and how they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tokensieve.errors import excerpt
from tokensieve.inference.load import Logits, Model
from tokensieve.inference.token_ids import Encoded
from tokensieve.server.batcher import Batcher, QueueFull
from tokensieve.server.config import Limits
from tokensieve.server.middleware import error_response
from tokensieve.server.model_watcher import LoadedModel, ModelWatcher
from tokensieve.server.prediction_log import PredictionLog
from tokensieve.server.prometheus import Metrics
from tokensieve.server.response import response_body
from tokensieve.server.schema import PredictRequest
from tokensieve.server.tokenization_pool import SHORT, TokenizationPool


class PredictEndpoint:
    """Answers requests with the live model."""

    def __init__(
        self,
        live: ModelWatcher,
        batcher: Batcher,
        encoder: TokenizationPool,
        meters: Metrics,
        limits: Limits,
        journal: PredictionLog | None,
    ) -> None:
        self._live, self._batcher, self._encoder = live, batcher, encoder
        self._meters, self._limits, self._journal = meters, limits, journal

    async def predict(self, request: Request) -> Response:
        """Label one text, or several."""
        query, loaded = await _query(request), self._live.current
        texts, many, top = _texts(query, self._limits), query.texts is not None, query.top
        del query
        _refuse_long_answers(loaded.model, len(texts), top, self._limits)
        try:
            async with asyncio.timeout(self._limits.timeout):
                encoded = await self._encoded(loaded.model, texts)
                finish = self._finisher(loaded, texts if self._journal else [], many, top, encoded)
                del texts  # which may take megabytes, and would wait with the request
                client = f"{request.client.host} {request.client.port}" if request.client else ""
                answer = await self._batcher.compute(
                    loaded.model, [text.ids for text in encoded], finish, client
                )
        except QueueFull:
            return error_response(
                503, f"{self._batcher.waiting} texts wait already; try again later", {"Retry-After": "1"}
            )
        except TimeoutError:
            detail = f"no answer within {self._limits.timeout:g} s; send fewer texts, or try again later"
            return error_response(503, detail, {"Retry-After": "5"})
        return Response(answer, media_type="application/json")

    async def _encoded(self, model: Model, texts: list[str]) -> list[Encoded]:
        # Uncontended, a thread costs more than the tokens of a short text.
        if sum(map(len, texts)) <= SHORT:
            return model.encode(texts)
        with self._batcher.expecting(len(texts)):
            return await self._encoder.encode(model, texts)

    def _finisher(
        self, loaded: LoadedModel, texts: list[str], many: bool, top: int, encoded: list[Encoded]
    ) -> Callable[[Logits], bytes]:
        truncated = [text.truncated for text in encoded]

        def finish(logits: Logits) -> bytes:
            answers = loaded.model.answers_by_task(logits, truncated, top)
            self._meters.answered(answers)
            if self._journal:
                self._journal.write(texts, answers, loaded.version)
            return response_body(answers, many, loaded.model, loaded.version)

        return finish


async def _query(request: Request) -> PredictRequest:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "send a JSON object with text or texts, with Content-Type: application/json")
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise HTTPException(
            415, f"the body has Content-Encoding {excerpt(coding)}; send it as it is, uncompressed"
        )
    try:
        # Not request.body(), which keeps the bytes as long as the request.
        query = PredictRequest.model_validate_json(b"".join([chunk async for chunk in request.stream()]))
    except ValidationError as error:
        raise HTTPException(422, _reason(error)) from None
    except ClientDisconnect:
        # Nobody reads this; without it the log would show a stack trace for a client that hung up.
        raise HTTPException(422, "the body ended early") from None
    if query.model_extra:
        raise HTTPException(422, f"{_plain(next(iter(query.model_extra)))}: Extra inputs are not permitted")
    return query


def _texts(query: PredictRequest, limits: Limits) -> list[str]:
    if (query.text is None) == (query.texts is None):
        raise HTTPException(422, "give either text, a string, or texts, a list of strings")
    texts = query.texts if query.text is None else [query.text]
    assert texts is not None
    if len(texts) > limits.max_texts:
        raise HTTPException(
            422, f"texts holds {len(texts)} texts, allowed: {limits.max_texts}; send them in several requests"
        )
    for place, text in enumerate(texts):
        if len(text) > limits.max_characters:
            name = "text" if query.texts is None else f"texts[{place}]"
            raise HTTPException(
                422, f"{name} has {len(text)} characters, allowed: {limits.max_characters}; shorten it"
            )
    return texts


def _refuse_long_answers(model: Model, texts: int, top: int, limits: Limits) -> None:
    named = texts * sum(min(top, len(manifest.labels)) for manifest in model.tasks.values())
    if named > limits.max_candidates:
        raise HTTPException(
            422,
            f"the answer would name {named} labels, allowed: {limits.max_candidates}; lower top, or send fewer texts",
        )


def _reason(error: ValidationError) -> str:
    # pydantic's own message repeats the input, which may be private.
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first['ctx']['error']}"
    if not first["loc"]:
        return "send a JSON object with text or texts, with Content-Type: application/json"
    place = [step for step in first["loc"] if step != "body"]
    name = _plain(place[0]) + "".join(f"[{step}]" for step in place[1:])
    return f"{name}: {first['msg']}"


def _plain(name: object) -> str:
    return excerpt(name).strip("'\"")
