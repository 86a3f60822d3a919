"""The Python API: `fit` trains a classifier from texts and labels, without a project folder.

Example:

    from tokensieve import fit

    classifier = fit(texts, labels)
    classifier.evaluate(other_texts, other_labels)["test_accuracy"]
    classifier.predict(["where is my order?"])[0].label
    classifier.export("model")

`Predictor` reads the exported folder.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tokensieve.data.examples import Examples
from tokensieve.data.label_names import prepare_labels
from tokensieve.data.labels import class_names, encode_targets
from tokensieve.data.normalize import is_blank
from tokensieve.data.split import check_trainable, split_examples
from tokensieve.errors import InputError, excerpt
from tokensieve.evaluation.decision_rule import fit_decision_rule
from tokensieve.evaluation.report import report
from tokensieve.export.onnx_graph import export_onnx
from tokensieve.files import atomic_folder
from tokensieve.fitting import Fitted, encode, fit_classifier
from tokensieve.inference.manifest import MODEL, TOKENIZER, Manifest
from tokensieve.inference.prediction import Prediction, predictions
from tokensieve.inference.token_ids import replace_surrogates
from tokensieve.model.batches import token_counts
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import find_base_model, weights_hash
from tokensieve.model.encoder_check import check_base
from tokensieve.settings import Section, Settings, sections
from tokensieve.text_rule import TextOrColumns, TextRule
from tokensieve.training.loop import compute_logits, set_threads
from tokensieve.truncation import HEAD

Labels = Sequence[str] | Sequence[Sequence[str]]
"""One label per text, or for multi-label data any number of labels per text."""


@dataclass(frozen=True)
class FittedClassifier:
    """A trained classifier with calibrated probabilities, as `fit` returns it.

    Attributes:
        labels: The names of the classes, sorted.
        history: One record per epoch: epoch (from 1), train_loss, validation_loss and
            validation_accuracy. The losses are in nats per text. That of validation is at its best
            temperature.
        constructs: The words and phrases most informative about the labels, the best first.
    """

    labels: tuple[str, ...]
    history: list[dict[str, Any]]
    constructs: list[str]
    _network: Classifier
    _tokenizer: PreTrainedTokenizerFast
    _manifest: Manifest
    _settings: Settings
    _base_hash: str

    def predict(self, texts: Sequence[TextOrColumns], top: int = 3) -> list[Prediction]:
        """Return the prediction for each text, as `Predictor.predict` does.

        `top` is the number of most likely labels that each prediction lists.

        Raises:
            InputError: If `top` is less than 1, or `TextRule.text` raises it.
        """
        rule = self._manifest.text_rule
        joined = [replace_surrogates(text) for text in rule.all_cleaned(rule.texts(texts))]
        if not joined:
            return predictions(np.empty((0, len(self.labels))), self._manifest, [], [], top)
        lengths = token_counts(self._tokenizer, joined)
        truncated = [length > self._manifest.max_length for length in lengths]
        return predictions(self._logits(joined), self._manifest, truncated, list(map(is_blank, joined)), top)

    def evaluate(self, texts: Sequence[TextOrColumns], labels: Labels) -> dict[str, Any]:
        """Return accuracy, F1, calibration error and coverage on labelled texts.

        They have the names and units of the evaluation report (`evaluation.report.report`).

        Raises:
            InputError: If there are no texts, if there are not as many labels as texts, or if the
                classifier does not have one of the labels.
        """
        examples = _examples(texts, labels, "evaluate", self._manifest.text_rule)
        if unknown := sorted(set(class_names(examples.labels)) - set(self.labels)):
            raise InputError(f"label {excerpt(unknown[0])} does not occur in training. Leave out its texts")
        multi_label = bool(self._manifest.thresholds)
        targets = encode_targets(examples.labels, self.labels, multi_label).numpy()
        return report({"test": self._logits(examples.texts)}, targets, list(self.labels), self._manifest.rule)

    def save(self, folder: str | Path) -> None:
        """Write the PyTorch model as a Hugging Face model folder.

        It replaces `folder` if that exists.
        """
        with atomic_folder(Path(folder)) as temporary:
            self._write(temporary)

    def export(self, folder: str | Path) -> None:
        """Write the ONNX model that `Predictor.load` and `tokensieve serve --model` read.

        It replaces `folder` if that exists. The model computes in float32. Faster variants lose a
        little accuracy: the pipeline exports one only after a comparison with PyTorch on texts that
        were not trained on.
        """
        with tempfile.TemporaryDirectory() as name, atomic_folder(Path(folder)) as temporary:
            model = Path(name)
            self._write(model)
            export_onnx(model, temporary / MODEL)
            shutil.copyfile(model / TOKENIZER, temporary / TOKENIZER)
            self._manifest.save(temporary)

    def _write(self, folder: Path) -> None:
        base, backend = self._settings.base, self._tokenizer.backend_tokenizer
        backend.no_truncation()  # set by earlier calls; not part of the model
        backend.no_padding()
        metadata = {"max_length": base.max_length, "base": base.model, "base_hash": self._base_hash}
        if base.truncation != HEAD:
            metadata["truncation"] = base.truncation
        self._network.save(folder, self._tokenizer, metadata)

    def _logits(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        inputs = encode(self._tokenizer, texts, self._network, self._settings)
        return compute_logits(self._network, inputs).numpy()


def fit(
    texts: Sequence[TextOrColumns],
    labels: Labels,
    validation: tuple[Sequence[TextOrColumns], Labels] | None = None,
    **settings: Section | Mapping[str, Any],
) -> FittedClassifier:
    """Train a classifier by token-driven sparse fine-tuning, and calibrate its probabilities.

    The idea is that of arXiv 2508.08635; `fitting.fit_classifier` is our implementation.

    Args:
        texts: The training texts. If `data.text_column` is a list, each may be a dict with the
            values of these columns.
        labels: The label of each text. For multi-label data, the labels of each text: a list or
            tuple of strings, which may be empty.
        validation: Texts and labels for early stopping and calibration. If None, a share of the
            training texts is split off.
        settings: Sections of `params.yaml`, each a dict or one of the classes of
            `tokensieve.settings`. For example `base={"model": "..."}, finetune={"max_epochs": 5},
            data={"seed": 1}`. The rest have their defaults.

    Raises:
        InputError: If a setting is unknown or not allowed, if texts and labels do not match, if
            there are fewer than two classes or too few texts, or if the base model does not suit
            the settings.
    """
    chosen = _settings_of(settings)
    set_threads(chosen.finetune.threads)
    train, held_out = _train_and_validation(texts, labels, validation, chosen)
    names = _at_least_two_classes(train)
    base = find_base_model(chosen.base.model)
    check_base(base, chosen)
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_classifier(train, held_out, names, chosen, base, Path(folder))
    targets = encode_targets(held_out.labels, names, train.multi_label)
    return FittedClassifier(
        tuple(names),
        fitted.history,
        [construct.text for construct in fitted.constructs],
        fitted.classifier.eval(),
        fitted.tokenizer,
        _calibrated(fitted, held_out.texts, targets, names, chosen),
        chosen,
        weights_hash(base),
    )


def _train_and_validation(
    texts: Sequence[TextOrColumns],
    labels: Labels,
    validation: tuple[Sequence[TextOrColumns], Labels] | None,
    settings: Settings,
) -> tuple[Examples, Examples]:
    """Return the examples to train on, and those for early stopping and calibration."""
    rule = settings.data.text_rule
    parts = {"train": _examples(texts, labels, "fit", rule), "test": Examples()}
    if validation is not None:
        parts["validation"] = _examples(*validation, "validation", rule)
    parts = prepare_labels(parts, settings.data).parts
    parts, _ = split_examples(parts, settings.split, settings.data.seed, settings.data.shots)
    check_trainable(parts | {"test": parts["validation"]})
    return parts["train"], parts["validation"]


def _at_least_two_classes(train: Examples) -> list[str]:
    names = class_names(train.labels)
    if len(names) < 2:
        only = excerpt(names[0]) if names else "none"
        raise InputError(f"fit: the only class is {only}; use at least two classes")
    return names


def _calibrated(
    fitted: Fitted, texts: Sequence[str], targets: Tensor, names: Sequence[str], settings: Settings
) -> Manifest:
    """Return the manifest with the decision rule that is fitted on these validation texts."""
    logits = compute_logits(fitted.classifier, encode(fitted.tokenizer, texts, fitted.classifier, settings))
    no_texts = np.empty((0, len(names)))
    rule = fit_decision_rule(logits.double().numpy(), targets.numpy(), no_texts, settings.evaluate).rule
    return Manifest(
        labels=tuple(names),
        **dataclasses.asdict(rule),
        max_length=settings.base.max_length,
        data_hash="",
        base=settings.base.model,
        parity={},
        truncation=settings.base.truncation,
        text_columns=settings.data.text_rule.columns,
        clean=settings.data.clean,
    )


def _settings_of(given: Mapping[str, Section | Mapping[str, Any]]) -> Settings:
    """Return the settings with the sections `given`."""
    kinds = sections()
    built = {
        name: section for name, section in given.items() if name in kinds and isinstance(section, kinds[name])
    }
    rest = {name: section for name, section in given.items() if name not in built}
    return dataclasses.replace(Settings.of(rest, "fit"), **built)  # type: ignore[arg-type]


def _examples(texts: Sequence[TextOrColumns], labels: Labels, what: str, rule: TextRule) -> Examples:
    """Return texts with labels as examples.

    Raises:
        InputError: If there are no texts, or not as many labels.
    """
    if isinstance(texts, str) or isinstance(labels, str):
        raise InputError(f"{what}: texts or labels are one string; use a list of strings")
    if len(texts) != len(labels) or not len(texts):
        raise InputError(
            f"{what}: {len(texts)} texts and {len(labels)} labels; use one label, or one list of labels, "
            "per text"
        )
    return Examples.of(rule.all_cleaned(rule.texts(texts)), labels)
