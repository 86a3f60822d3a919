"""Pydantic models of the requests and responses. The OpenAPI document is made from them.

Only requests are parsed with them. Responses to /predict are built without them, for speed (see
`response`).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

# `TextRule.text` checks the values: pydantic would give one error per wrong value.
Row = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "null"]}}),
]


class PredictRequest(BaseModel):
    """One text, or several."""

    # `predict` refuses unknown fields. If pydantic did, a body of 100,000 of them would give as
    # many errors, 60 MiB.
    model_config = ConfigDict(strict=True, extra="allow", json_schema_extra={"additionalProperties": False})

    text: str | Row | None = Field(
        None,
        description="the text to label; for a model of several columns also an object with their values. "
        "Send either text or texts",
    )
    # fail_fast: a list of a million wrong items would otherwise give as many errors, 430 MiB.
    texts: list[str | Row] | None = Field(
        None, fail_fast=True, description="several texts to label; the predictions have the same order"
    )
    top: int = Field(3, ge=1, le=10_000, description="number of most likely labels to return")


class ExplainRequest(BaseModel):
    """One text, whose words are removed one by one."""

    model_config = ConfigDict(strict=True, extra="allow", json_schema_extra={"additionalProperties": False})

    text: str | Row = Field(description="the text to explain, or the values of its columns")
    label: str | None = Field(None, description="label to explain; null for the most likely one")


Label = Annotated[str, Field(max_length=1000)]
Labels = Annotated[list[Label], Field(max_length=100)]


class FeedbackRequest(BaseModel):
    """A text with its right label."""

    model_config = ConfigDict(strict=True, extra="allow", json_schema_extra={"additionalProperties": False})

    text: str | Row = Field(description="the text, or the values of its columns")
    label: Label | Labels = Field(description="its right label; for a multi-label model, a list of labels")
    task: str | None = Field(None, description="task of a shared model")
    predicted: Label | Labels | None = Field(None, description="label that the model gave, or list of labels")
    version: str | None = Field(None, max_length=200, description="version of the model that gave it")


class FeedbackResponse(BaseModel):
    """The text and its label are in the feedback file."""

    stored: bool = Field(description="always true")


class ModelOrigin(BaseModel):
    """The model that made a prediction."""

    version: str = Field(
        description="version of the model in its registry, or the first digits of its manifest's SHA-256"
    )
    data_hash: str = Field(description="hash of the model's training data")


class SharedModelOrigin(BaseModel):
    """The shared model that made the predictions of several tasks."""

    version: str = Field(description="first digits of its manifest's SHA-256")
    data_hashes: dict[str, str] = Field(description="hash of the training data of each task")


class LabelProbability(BaseModel):
    """A label and its calibrated probability."""

    label: str
    probability: float = Field(ge=0, le=1)


class SingleLabelPrediction(BaseModel):
    """The prediction for one text."""

    label: str = Field(description="most likely label")
    probability: float = Field(ge=0, le=1, description="its calibrated probability")
    uncertain: bool = Field(
        description=(
            "true if the probability is below the model's threshold, its lead over the second label is "
            "below the margin, or the text has no visible character"
        )
    )
    truncated: bool = Field(description="true if the text has more tokens than the model reads")
    top: list[LabelProbability] = Field(description="most likely labels; the first is `label`")


class SingleLabelResponse(SingleLabelPrediction, ModelOrigin):
    """The response to `text`."""


class SingleLabelResponses(ModelOrigin):
    """The response to `texts`."""

    predictions: list[SingleLabelPrediction] = Field(description="one per text, in the same order")


class MultiLabelPrediction(BaseModel):
    """The prediction of a multi-label model for one text."""

    labels: list[LabelProbability] = Field(
        description="labels of the text, the most likely first; may be empty"
    )
    uncertain: bool = Field(
        description=(
            "true if the probability of some label is close to its threshold, or the text has no "
            "visible character"
        )
    )
    truncated: bool = Field(description="true if the text has more tokens than the model reads")
    top: list[LabelProbability] = Field(description="most likely labels, whether the text has them or not")


class MultiLabelResponse(MultiLabelPrediction, ModelOrigin):
    """The response of a multi-label model to `text`."""


class MultiLabelResponses(ModelOrigin):
    """The response of a multi-label model to `texts`."""

    predictions: list[MultiLabelPrediction] = Field(description="one per text, in the same order")


class TasksPrediction(BaseModel):
    """The predictions of several tasks for one text."""

    tasks: dict[str, SingleLabelPrediction | MultiLabelPrediction] = Field(description="prediction by task")


class TasksResponse(TasksPrediction, SharedModelOrigin):
    """The response of a shared model to `text`."""


class TasksResponses(SharedModelOrigin):
    """The response of a shared model to `texts`."""

    predictions: list[TasksPrediction] = Field(description="one per text, in the same order")


class WordEffect(BaseModel):
    """A word of a text, and its effect on the label that is explained."""

    text: str = Field(description="the word as it is at its first occurrence")
    spans: list[list[int]] = Field(
        description="its occurrences: index of the first character, and index after the last one"
    )
    effect: float = Field(
        description="log odds of the label with the word minus those without it, in nats; positive if the "
        "word supports the label"
    )
    probability: float = Field(ge=0, le=1, description="probability of the label without the word")
    labels: list[LabelProbability] = Field(description="labels of the text without the word")


class TextExplanation(BaseModel):
    """The effect of each word of a text. All occurrences of a word are removed together."""

    label: str = Field(description="label that is explained")
    probability: float = Field(ge=0, le=1, description="its calibrated probability")
    labels: list[LabelProbability] = Field(description="labels of the text")
    truncated: bool = Field(description="true if the text has more tokens than the model reads")
    words: list[WordEffect] = Field(
        description="the words that the model reads, in the order of the text; if there are more than "
        "max_texts - 1 or 127 different ones, sequences of neighbouring words"
    )
    phrases: list[WordEffect] = Field(
        description="the phrases of the text that distinguish classes, each removed as a whole; empty for "
        "models of earlier versions"
    )


class ExplainResponse(TextExplanation, ModelOrigin):
    """The response to POST /explain."""

    text: str | None = Field(
        None, description="the text that the spans refer to; absent if it is the text of the request"
    )
    milliseconds: float = Field(description="time that the server needed")


class TasksExplainResponse(SharedModelOrigin):
    """The response of a shared model to POST /explain."""

    text: str | None = Field(
        None, description="the text that the spans refer to; absent if it is the text of the request"
    )
    tasks: dict[str, TextExplanation] = Field(description="explanation by task")
    milliseconds: float = Field(description="time that the server needed")


class ErrorResponse(BaseModel):
    """The reason why a request was refused."""

    detail: str


class Index(BaseModel):
    """The paths of the server."""

    service: str = Field(description="always tokensieve")
    version: str = Field(description="version of tokensieve")
    paths: dict[str, str] = Field(description="what each path returns")


class Health(BaseModel):
    """The process responds."""

    status: str = Field(description="always ok")


class Readiness(BaseModel):
    """The model that is served, and why a newer one is not."""

    status: str = Field(description="always ready; the server listens only once it is")
    version: str = Field(description="version of the model that is served")
    trouble: str | None = Field(
        description="why the newest model is not served; null if it is. "
        "Without the API key the reason is left out"
    )
    checked: str | None = Field(
        description="time of the last successful check for a newer model; null if there was none"
    )


class ModelInfo(ModelOrigin):
    """The model that is served."""

    name: str = Field("", description="name of the registered model; empty for a folder")
    base: str = Field(description="pretrained model that it was trained from")
    labels: list[str]
    several: bool = Field(description="true for a multi-label model")
    max_length: int = Field(description="tokens of a text that the model reads")
    truncation: str = Field(
        description="which part of a longer text it reads: head, or head_tail for equal parts of both ends"
    )
    prompt: str = Field(description="what the model puts in front of every text; empty for nothing")
    text_columns: list[str] = Field(
        description="columns that the model reads, joined by line feeds; empty for one text"
    )
    clean: str = Field(description="what the model strips from its texts: none, or html")
    temperature: float = Field(description="temperature of the calibration: logits are divided by it")
    threshold: float = Field(description="confidence below which a prediction is uncertain")
    margin: float = Field(description="lead over the second label below which a prediction is uncertain")
    variant: str = Field(description="variant of the ONNX graph")
    parity: dict[str, float] = Field(description="agreement of the exported model with PyTorch")
    files: dict[str, str] = Field(description="SHA-256 by file name")


class ModelInfoByTask(BaseModel):
    """The shared model that is served."""

    name: str = Field("", description="name of the registered model; empty for a folder")
    version: str = Field(description="first digits of its manifest's SHA-256")
    tasks: dict[str, ModelInfo]
