"""POST /explain: the words that decide the label of one text."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tokensieve.errors import InputError
from tokensieve.inference.explain import MOST, Effect, Explanation, effects, occlude
from tokensieve.inference.load import Model
from tokensieve.inference.prediction import SINGLE_TASK
from tokensieve.server.batcher import Batcher, QueueFull
from tokensieve.server.config import Limits
from tokensieve.server.model_watcher import LoadedModel, ModelWatcher
from tokensieve.server.request_body import queue_full, read_body, read_text, too_slow
from tokensieve.server.response import label_fields, model_origin
from tokensieve.server.schema import ExplainRequest


class ExplainEndpoint:
    """The endpoint of POST /explain. Texts are not written to the prediction log."""

    def __init__(self, watcher: ModelWatcher, batcher: Batcher, limits: Limits) -> None:
        self._watcher, self._batcher, self._limits = watcher, batcher, limits
        # With the text itself, as many predictions as one request may ask for.
        self._most = max(1, min(MOST, limits.max_texts - 1))

    async def explain(self, request: Request) -> Response:
        """Return the effect of each word of a text on its label.

        Raises:
            HTTPException: With status 415 or 422 for a request that is not valid, with 503 if the
                queue is full or the response takes too long.
        """
        asked = await read_body(request, ExplainRequest, "text")
        loaded, began = self._watcher.current, time.perf_counter()
        rule = loaded.model.text_rule
        text = rule.cleaned(read_text(asked.text, rule, "text", self._limits))
        client = f"{request.client.host} {request.client.port}" if request.client else ""
        try:
            async with asyncio.timeout(self._limits.timeout):
                found = await self._explained(loaded.model, text, asked.label, client)
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        except QueueFull:
            raise queue_full(self._batcher) from None
        except TimeoutError:
            raise too_slow(self._limits, "send a shorter text") from None
        shown = None if text == asked.text else text
        return Response(_body(found, shown, loaded, began), media_type="application/json")

    async def _explained(
        self, model: Model, text: str, label: str | None, client: str
    ) -> dict[str, Explanation]:
        # On threads: finding the words of a long text takes some milliseconds.
        with self._batcher.expecting(self._most + 1):
            occlusion = await asyncio.to_thread(occlude, model, text, most=self._most)
        logits = await self._batcher.compute(model, occlusion.ids, client)
        return await asyncio.to_thread(effects, model, occlusion, logits, label)


def _body(found: dict[str, Explanation], text: str | None, loaded: LoadedModel, began: float) -> bytes:
    trees = {task: _fields(explanation) for task, explanation in found.items()}
    body = trees.get(SINGLE_TASK, {"tasks": trees})
    body |= {} if text is None else {"text": text}
    body |= {"milliseconds": round((time.perf_counter() - began) * 1e3, 1)}
    body |= model_origin(loaded.model, loaded.version)
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _fields(found: Explanation) -> dict[str, Any]:
    return {
        "label": found.label,
        "probability": found.probability,
        "labels": label_fields(found.labels),
        "truncated": found.truncated,
        "words": [_word(effect) for effect in found.words],
        "phrases": [_word(effect) for effect in found.phrases],
    }


def _word(effect: Effect) -> dict[str, Any]:
    return {
        "text": effect.text,
        "spans": effect.spans,
        "effect": effect.effect,
        "probability": effect.probability,
        "labels": label_fields(effect.labels),
    }
