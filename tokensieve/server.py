"""The HTTP service: texts in as JSON, a predictor's answers out. No text is ever logged or sent back.

Not here: queueing, metrics, authentication, and exchanging the model while running.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokensieve import __version__
from tokensieve.errors import excerpt
from tokensieve.predictor import LabelSet, Prediction, Predictor


@dataclass(frozen=True)
class Limits:
    """What one request may hold; more is refused.

    MiniLM on 2 cores is busy for half a second with 128 questions, and for 5 s with as many texts of 128 tokens.
    """

    texts: int = 128
    characters: int = 20_000
    body: int = 1_048_576


LIMITS = Limits()


class Query(BaseModel):
    """One text, or many."""

    model_config = ConfigDict(strict=True, extra="forbid")

    text: str | None = None
    texts: list[str] | None = None
    top: int = Field(3, ge=1, description="how many of the likeliest labels to name")


class Candidate(BaseModel):
    label: str
    probability: float


class Answer(BaseModel):
    """The prediction for one text; `top` holds the likeliest labels, the first being `label`."""

    label: str
    probability: float
    uncertain: bool
    truncated: bool
    top: list[Candidate]


class One(Answer):
    """The answer to `text`."""

    data_hash: str


class Many(BaseModel):
    """The answers to `texts`, in their order."""

    predictions: list[Answer]
    data_hash: str


class Labels(BaseModel):
    """The labels of one text, which may be none; `top` holds the likeliest ones, whether the text has them or not."""

    labels: list[Candidate]
    uncertain: bool
    truncated: bool
    top: list[Candidate]


class OneSet(Labels):
    """The answer to `text` of a model that gives any number of labels."""

    data_hash: str


class ManySets(BaseModel):
    """The answers to `texts` of such a model, in their order."""

    predictions: list[Labels]
    data_hash: str


class Refusal(BaseModel):
    """Why a request was not answered."""

    detail: str


class Health(BaseModel):
    status: str
    data_hash: str
    base: str
    classes: int


class BodyLimit:
    """Refuses a body of more than `size` bytes as soon as they have come, whatever its Content-Length says."""

    # Starlette has one too, which answers in plain text where every other refusal is JSON.

    def __init__(self, app: ASGIApp, size: int) -> None:
        self.app = app
        self.size = size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.size:
                raise HTTPException(413, f"the body is larger than {self.size} bytes; send fewer texts a request")
            return message

        await self.app(scope, counted, send)


def app(predictor: Predictor, limits: Limits = LIMITS) -> FastAPI:
    """The service that answers with `predictor`: `POST /predict` and `GET /health`, described at `/docs`."""
    service = FastAPI(title="tokensieve", version=__version__)
    service.add_middleware(BodyLimit, size=limits.body)
    manifest = predictor.manifest
    one, many = (OneSet, ManySets) if manifest.thresholds else (One, Many)

    # A plain function runs on a thread of its own, so that a long request holds up neither the others nor the health check.
    @service.post("/predict", response_model=one | many, responses={status: {"model": Refusal} for status in (400, 413, 422)})
    def predict(query: Query) -> BaseModel:
        answers = [_answer(found) for found in predictor.predict(_texts(query, limits), query.top)]
        if query.texts is None:
            return one.model_validate(dict(answers[0]) | {"data_hash": manifest.data_hash})
        return many.model_validate({"predictions": answers, "data_hash": manifest.data_hash})

    @service.get("/health")
    async def health() -> Health:
        return Health(status="ok", data_hash=manifest.data_hash, base=manifest.base, classes=len(manifest.labels))

    @service.exception_handler(RequestValidationError)
    def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": _reason(error)}, status_code=422)

    return service


def serve(folder: Path, host: str, port: int) -> None:
    """Answer requests with the model of a served folder until the process is told to end. Raises InputError as `Predictor.load`."""
    # The access log would hold a text that someone puts into the address.
    uvicorn.run(app(Predictor.load(folder)), host=host, port=port, access_log=False)


def _texts(query: Query, limits: Limits) -> list[str]:
    if (query.text is None) == (query.texts is None):
        raise HTTPException(422, "give either text, a string, or texts, a list of strings")
    texts = query.texts if query.text is None else [query.text]
    assert texts is not None
    if len(texts) > limits.texts:
        raise HTTPException(422, f"texts holds {len(texts)} texts, allowed: {limits.texts}; send them in several requests")
    for place, text in enumerate(texts):
        name = "text" if query.texts is None else f"texts[{place}]"
        if len(text) > limits.characters:
            raise HTTPException(422, f"{name} has {len(text)} characters, allowed: {limits.characters}; shorten it")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise HTTPException(422, f"{name}: character {error.start + 1} is half a surrogate pair, not Unicode") from None
    return texts


def _answer(found: Prediction | LabelSet) -> Answer | Labels:
    doubts = {"uncertain": found.uncertain, "truncated": found.truncated}
    if isinstance(found, LabelSet):
        return Labels(labels=_candidates(found.labels), top=_candidates(found.top), **doubts)
    return Answer(label=found.label, probability=found.probability, top=_candidates(found.top), **doubts)


def _candidates(labels: Iterable[tuple[str, float]]) -> list[Candidate]:
    return [Candidate(label=label, probability=probability) for label, probability in labels]


def _reason(error: RequestValidationError) -> str:
    # FastAPI's own answer repeats the input, which may be private, and fails with a 500 where that holds half a surrogate pair.
    first = error.errors()[0]
    place = [step for step in first["loc"] if step != "body"]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}"
    if not place:
        return "send a JSON object with text or texts, with Content-Type: application/json"
    name = excerpt(place[0]).strip("'\"") + "".join(f"[{step}]" for step in place[1:])
    return f"{name}: {first['msg']}"
