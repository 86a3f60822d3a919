"""POST /predict: read the request, tokenize its texts, compute logits, build the response."""

from __future__ import annotations

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tokensieve.inference.load import Model
from tokensieve.inference.token_ids import TokenIds
from tokensieve.server.batcher import Batcher, QueueFull
from tokensieve.server.config import Limits
from tokensieve.server.model_watcher import ModelWatcher
from tokensieve.server.prediction_log import PredictionLog
from tokensieve.server.prometheus import Metrics
from tokensieve.server.request_body import queue_full, read_body, read_text, too_slow
from tokensieve.server.response import response_body
from tokensieve.server.schema import PredictRequest
from tokensieve.server.shadow import Shadow
from tokensieve.server.tokenization_pool import SHORT, TokenizationPool
from tokensieve.text_rule import TextRule


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
        asked = await read_body(request, PredictRequest, "text or texts")
        loaded = self._watcher.current
        texts, several, top = (
            _texts(asked, loaded.model.text_rule, self._limits),
            asked.texts is not None,
            asked.top,
        )
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
                predictions = loaded.model.decide(logits, tokenized, top)
                seconds = (time.perf_counter() - began) / max(1, len(ids))
                self._metrics.count_predictions(predictions)
                if self._shadow and sampled:
                    self._shadow.offer(sampled, predictions, loaded, seconds)
                if self._log:
                    # On a thread: a slow disk must not stop the event loop.
                    await asyncio.to_thread(self._log.write, texts, predictions, loaded.version)
        except QueueFull:
            raise queue_full(self._batcher) from None
        except TimeoutError:
            raise too_slow(self._limits, "send fewer texts") from None
        body = response_body(predictions, several, loaded.model, loaded.version)
        return Response(body, media_type="application/json")

    async def _tokenize(self, model: Model, texts: list[str]) -> list[TokenIds]:
        # Short texts are tokenized on the event loop: a thread switch would cost more.
        if sum(map(len, texts)) <= SHORT:
            return model.tokenize(texts)
        with self._batcher.expecting(len(texts)):
            return await self._pool.encode(model, texts)


def _texts(asked: PredictRequest, rule: TextRule, limits: Limits) -> list[str]:
    if (asked.text is None) == (asked.texts is None):
        if not rule.columns:
            raise HTTPException(422, "give either text, a string, or texts, a list of strings")
        raise HTTPException(422, f"give either text, {rule.accepted}, or texts, a list of them")
    texts = asked.texts if asked.text is None else [asked.text]
    assert texts is not None
    if len(texts) > limits.max_texts:
        detail = f"texts holds {len(texts)} texts, allowed: {limits.max_texts}; send them in several requests"
        raise HTTPException(422, detail)
    return [
        read_text(text, rule, "text" if asked.texts is None else f"texts[{index}]", limits)
        for index, text in enumerate(texts)
    ]


def _refuse_long_responses(model: Model, texts: int, top: int, limits: Limits) -> None:
    labels = texts * sum(min(top, len(manifest.labels)) for manifest in model.tasks.values())
    if labels > limits.max_candidates:
        allowed = f"allowed: {limits.max_candidates}; lower top, or send fewer texts"
        raise HTTPException(422, f"the answer would name {labels} labels, {allowed}")
