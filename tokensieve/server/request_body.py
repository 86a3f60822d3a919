"""Read the JSON body of a request."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from tokensieve.errors import InputError, excerpt
from tokensieve.json_objects import RepeatedKeyError, check_keys
from tokensieve.server.batcher import Batcher
from tokensieve.server.config import Limits
from tokensieve.text_rule import TextOrColumns, TextRule

Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, kind: type[Body], fields: str) -> Body:
    """Return the JSON body of a request. `fields` are the fields that an error message names.

    Raises:
        HTTPException: With status 415 if it is not uncompressed JSON by its headers, with 422 if it
            is not valid.
    """
    wanted = f"send a JSON object with {fields}, with Content-Type: application/json"
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise HTTPException(415, wanted)
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        detail = f"the body has Content-Encoding {excerpt(coding)}; send it as it is, uncompressed"
        raise HTTPException(415, detail)
    try:
        # Not request.body(), which keeps the bytes as long as the request.
        body = b"".join([chunk async for chunk in request.stream()])
        asked = kind.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, _reason(error, wanted)) from None
    except ClientDisconnect:
        # Nobody reads this response, but without it the log would contain a stack trace.
        raise HTTPException(422, "the body ended early") from None
    if asked.model_extra:
        unknown = _shown(next(iter(asked.model_extra)))
        raise HTTPException(422, f"{unknown}: unknown field; allowed: {', '.join(kind.model_fields)}")
    _refuse_repeated_keys(body)
    return asked


def read_text(given: TextOrColumns, rule: TextRule, name: str, limits: Limits) -> str:
    """Return the text of a field `name` of a request: a string, or an object with columns.

    Raises:
        HTTPException: With status 422 if the object does not have the model's columns, or the text
            is longer than allowed.
    """
    try:
        text = rule.text(given, name)
    except InputError as error:
        raise HTTPException(422, str(error)) from None
    refuse_long_text(text, name, limits)
    return text


def refuse_long_text(text: str, name: str, limits: Limits) -> None:
    """Raise HTTPException with status 422 if a text is longer than allowed. `name` is its field."""
    if len(text) > limits.max_characters:
        detail = f"{name} has {len(text)} characters, allowed: {limits.max_characters}; shorten it"
        raise HTTPException(422, detail)


def queue_full(batcher: Batcher) -> HTTPException:
    """Return the response to a request whose texts do not fit into the queue."""
    detail = f"the queue is full ({batcher.waiting} texts); try again later"
    return HTTPException(503, detail, {"Retry-After": "1"})


def too_slow(limits: Limits, remedy: str) -> HTTPException:
    """Return the response to a request that takes longer than allowed."""
    detail = f"no answer within {limits.timeout:g} s; {remedy}, or try again later"
    return HTTPException(503, detail, {"Retry-After": "5"})


def _refuse_repeated_keys(body: bytes) -> None:
    """Raise HTTPException with status 422 if an object has a key twice.

    pydantic takes the last value, and its parser cannot be asked for the others. So the body is
    read once more, which takes a microsecond for a short text.
    """
    try:
        check_keys(body.decode())
    except RepeatedKeyError as error:
        raise HTTPException(422, f"{error}; send it once") from None


def _reason(error: ValidationError, wanted: str) -> str:
    """Return why a body is not valid.

    pydantic's own message repeats the input, which may be private.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first['ctx']['error']}"
    if not first["loc"]:
        return wanted
    field, *items = first["loc"]
    # The other items are pydantic's names of the types that a field may have.
    places = "".join(f"[{item}]" for item in items if isinstance(item, int))
    return f"{_shown(field)}{places}: {first['msg']}"


def _shown(name: object) -> str:
    return excerpt(name).strip("'\"")
