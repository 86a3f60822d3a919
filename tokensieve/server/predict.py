"""POST /predict: read the request, tokenize its texts, compute logits, build the response."""

from __future__ import annotations

import asyncio
import time

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tokensieve.errors import excerpt
from tokensieve.inference.load import Model
from tokensieve.inference.token_ids import TokenIds
from tokensieve.server.batcher import Batcher, QueueFull
from tokensieve.server.config import Limits
from tokensieve.server.model_watcher import ModelWatcher
from tokensieve.server.prediction_log import PredictionLog
from tokensieve.server.prometheus import Metrics
from tokensieve.server.response import response_body
from tokensieve.server.schema import PredictRequest
from tokensieve.server.shadow import Shadow
from tokensieve.server.tokenization_pool import SHORT, TokenizationPool


class PredictEndpoint:
    """The endpoint of POST /predict."""

    def __init__(
        self,
        watcher: ModelWatcher,
        batcher: Batcher,
        pool: TokenizationPool,
        metrics: Metrics,
        limits: Limits,
        prediction_log: PredictionLog | None,
        shadow: Shadow | None,
    ) -> None:
        self._watcher, self._batcher, self._pool = watcher, batcher, pool
        self._metrics, self._limits, self._log = metrics, limits, prediction_log
        self._shadow = shadow

    async def predict(self, request: Request) -> Response:
        """Label one text, or several.

        Raises:
            HTTPException: With status 415 or 422 for a request that is not valid, with 503 if the
                queue is full or the response takes too long.
        """
        asked, loaded = await _read(request), self._watcher.current
        texts, several, top = _texts(asked, self._limits), asked.texts is not None, asked.top
        del asked
        _refuse_long_responses(loaded.model, len(texts), top, self._limits)
        try:
            async with asyncio.timeout(self._limits.timeout):
                sampled = self._shadow.sample(texts) if self._shadow else []
                began = time.perf_counter()
                tokenized = await self._tokenize(loaded.model, texts)
                if not self._log:
                    texts = []  # they may take megabytes, which need not wait with the request
                client = f"{request.client.host} {request.client.port}" if request.client else ""
                ids = [text.ids for text in tokenized]
                logits = await self._batcher.compute(loaded.model, ids, client)
                predictions = loaded.model.decide(logits, [text.truncated for text in tokenized], top)
                seconds = (time.perf_counter() - began) / max(1, len(ids))
                self._metrics.count_predictions(predictions)
                if self._shadow and sampled:
                    self._shadow.offer(sampled, predictions, loaded, seconds)
                if self._log:
                    # On a thread: a slow disk must not stop the event loop.
                    await asyncio.to_thread(self._log.write, texts, predictions, loaded.version)
        except QueueFull:
            detail = f"the queue is full ({self._batcher.waiting} texts); try again later"
            raise HTTPException(503, detail, {"Retry-After": "1"}) from None
        except TimeoutError:
            detail = f"no answer within {self._limits.timeout:g} s; send fewer texts, or try again later"
            raise HTTPException(503, detail, {"Retry-After": "5"}) from None
        body = response_body(predictions, several, loaded.model, loaded.version)
        return Response(body, media_type="application/json")

    async def _tokenize(self, model: Model, texts: list[str]) -> list[TokenIds]:
        # Short texts are tokenized on the event loop: a thread switch would cost more.
        if sum(map(len, texts)) <= SHORT:
            return model.tokenize(texts)
        with self._batcher.expecting(len(texts)):
            return await self._pool.encode(model, texts)


async def _read(request: Request) -> PredictRequest:
    """Return the JSON body of a request.

    Raises:
        HTTPException: With status 415 if it is not uncompressed JSON by its headers, with 422 if it
            is not valid.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "send a JSON object with text or texts, with Content-Type: application/json")
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        detail = f"the body has Content-Encoding {excerpt(coding)}; send it as it is, uncompressed"
        raise HTTPException(415, detail)
    try:
        # Not request.body(), which keeps the bytes as long as the request.
        asked = PredictRequest.model_validate_json(b"".join([chunk async for chunk in request.stream()]))
    except ValidationError as error:
        raise HTTPException(422, _reason(error)) from None
    except ClientDisconnect:
        # Nobody reads this response, but without it the log would contain a stack trace.
        raise HTTPException(422, "the body ended early") from None
    if asked.model_extra:
        raise HTTPException(422, f"{_shown(next(iter(asked.model_extra)))}: Extra inputs are not permitted")
    return asked


def _texts(asked: PredictRequest, limits: Limits) -> list[str]:
    if (asked.text is None) == (asked.texts is None):
        raise HTTPException(422, "give either text, a string, or texts, a list of strings")
    texts = asked.texts if asked.text is None else [asked.text]
    assert texts is not None
    if len(texts) > limits.max_texts:
        detail = f"texts holds {len(texts)} texts, allowed: {limits.max_texts}; send them in several requests"
        raise HTTPException(422, detail)
    for index, text in enumerate(texts):
        if len(text) > limits.max_characters:
            name = "text" if asked.texts is None else f"texts[{index}]"
            detail = f"{name} has {len(text)} characters, allowed: {limits.max_characters}; shorten it"
            raise HTTPException(422, detail)
    return texts


def _refuse_long_responses(model: Model, texts: int, top: int, limits: Limits) -> None:
    labels = texts * sum(min(top, len(manifest.labels)) for manifest in model.tasks.values())
    if labels > limits.max_candidates:
        allowed = f"allowed: {limits.max_candidates}; lower top, or send fewer texts"
        raise HTTPException(422, f"the answer would name {labels} labels, {allowed}")


def _reason(error: ValidationError) -> str:
    """Return why a body is not valid.

    pydantic's own message repeats the input, which may be private.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first['ctx']['error']}"
    if not first["loc"]:
        return "send a JSON object with text or texts, with Content-Type: application/json"
    field, *items = first["loc"]
    return f"{_shown(field)}{''.join(f'[{item}]' for item in items)}: {first['msg']}"


def _shown(name: object) -> str:
    return excerpt(name).strip("'\"")
