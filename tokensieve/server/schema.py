"""What a request may say and what an answer says: the models of the OpenAPI description.

Answers are written by `answers` without these models, which cost more than the rest of the request; a test holds both alike.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Origin(BaseModel):
    """The model that answered."""

    version: str = Field(
        description="of the model in its registry, or the first digits of its manifest's SHA-256"
    )
    data_hash: str = Field(description="content hash of the data that the model was trained on")


class PredictRequest(BaseModel):
    """One text, or many."""

    # Unknown fields are refused by `predict`: refused here, a body of 100,000 of them gives as many errors, 60 MiB of them.
    model_config = ConfigDict(strict=True, extra="allow", json_schema_extra={"additionalProperties": False})

    text: str | None = Field(None, description="the text to label; give it or texts")
    # A list of a million wrong items would otherwise give as many errors, 430 MiB of them.
    texts: list[str] | None = Field(
        None, fail_fast=True, description="several texts to label, answered in their order"
    )
    top: int = Field(3, ge=1, le=10_000, description="how many of the likeliest labels to name")


class Candidate(BaseModel):
    """A label and its calibrated probability."""

    label: str
    probability: float = Field(ge=0, le=1)


class Answer(BaseModel):
    """The prediction for one text."""

    label: str = Field(description="the likeliest label")
    probability: float = Field(ge=0, le=1, description="its calibrated probability")
    uncertain: bool = Field(
        description="the probability is below the model's threshold, or its lead over the second below the margin"
    )
    truncated: bool = Field(description="the text has more tokens than the model reads")
    top: list[Candidate] = Field(description="the likeliest labels, the first being `label`")


class One(Answer, Origin):
    """The answer to `text`."""


class Many(Origin):
    """The answers to `texts`, in their order."""

    predictions: list[Answer]


class Labels(BaseModel):
    """The labels of one text from a model that gives any number of them."""

    labels: list[Candidate] = Field(
        description="the labels the text has, which may be none, the likeliest first"
    )
    uncertain: bool = Field(
        description="some label's probability is too close to where it would be decided otherwise"
    )
    truncated: bool = Field(description="the text has more tokens than the model reads")
    top: list[Candidate] = Field(description="the likeliest labels, whether the text has them or not")


class OneSet(Labels, Origin):
    """The answer to `text` of a model that gives any number of labels."""


class ManySets(Origin):
    """The answers to `texts` of such a model, in their order."""

    predictions: list[Labels]


class OriginByTask(BaseModel):
    """The shared model that answered."""

    version: str = Field(description="the first digits of its manifest's SHA-256")
    data_hashes: dict[str, str] = Field(
        description="by task, content hash of the data that it was trained on"
    )


class ByTask(BaseModel):
    """The answers of several tasks for one text."""

    tasks: dict[str, Answer | Labels] = Field(description="by task")


class OneByTask(ByTask, OriginByTask):
    """The answer to `text` of a model that several tasks share."""


class ManyByTask(OriginByTask):
    """The answers to `texts` of such a model, in their order."""

    predictions: list[ByTask]


class ErrorResponse(BaseModel):
    """Why a request was not answered."""

    detail: str


class Index(BaseModel):
    """Where to find what."""

    service: str = Field(description="always tokensieve")
    version: str = Field(description="of tokensieve")
    paths: dict[str, str] = Field(description="what is found at each path")


class Health(BaseModel):
    """The process lives."""

    status: str = Field(description="always ok")


class Readiness(BaseModel):
    """What answers now, and why a newer model does not."""

    status: str = Field(description="always ready: before it is, nothing listens")
    version: str = Field(description="of the model that answers")
    trouble: str | None = Field(
        description="why the newest model was not taken; the one before it goes on answering. With the API key in full, without it in short"
    )
    checked: str | None = Field(
        description="when the source of models last said which version to serve; null: not since the start"
    )


class ModelInfo(Origin):
    """The model that answers."""

    base: str = Field(description="the pretrained model that it was made from")
    labels: list[str]
    several: bool = Field(description="a text may have any number of labels")
    max_length: int = Field(description="tokens of a text that are read")
    truncation: str = Field(
        description="what is read of a longer text: head, or head_tail for both ends in equal parts"
    )
    temperature: float = Field(description="by which logits are divided")
    threshold: float = Field(description="confidence below which an answer is uncertain")
    margin: float = Field(description="lead over the second label below which it is uncertain, too")
    variant: str = Field(description="build of the graph")
    parity: dict[str, float] = Field(description="how close to torch the exported model was on real texts")
    files: dict[str, str] = Field(description="SHA-256 by file name")


class ModelInfoByTask(BaseModel):
    """The model that answers, shared by several tasks."""

    version: str = Field(description="the first digits of its manifest's SHA-256")
    tasks: dict[str, ModelInfo]
