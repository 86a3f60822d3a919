"""The settings by section, in the order of the pipeline, after those in inputs.py."""

from __future__ import annotations

from dataclasses import dataclass

from tokensieve.errors import InputError
from tokensieve.settings.declaration import Section, setting
from tokensieve.settings.values import CHECKS, NAME, VARIANTS


@dataclass(frozen=True)
class Validate(Section):
    """What the data must satisfy before training."""

    min_examples_per_class: int = setting(2, "minimum number of examples per class", low=2)
    max_classes: int = setting(1000, "maximum number of classes", low=2)
    max_characters: int = setting(20_000, "maximum characters per text", low=1)
    errors: tuple[str, ...] = setting(
        CHECKS[:8], "failed checks that stop the run; the other checks only warn", among=CHECKS
    )
    suite: str | None = setting(
        None, "JSON file with the project's own suite of Great Expectations; columns: text, label, row"
    )


@dataclass(frozen=True)
class Split(Section):
    """How examples are divided into train, validation and test sets."""

    validation: float = setting(
        0.1, "share of the validation set, if the data have no validation file", low=0.01, high=0.5
    )
    test: float = setting(0.2, "share of the test set, if the data have no test file", low=0.01, high=0.5)


@dataclass(frozen=True)
class Vocabulary(Section):
    """Token constructs, and the optional extension of the tokenizer."""

    max_constructs: int = setting(
        2000, "keep this many words and phrases, most informative first", low=1, high=100_000
    )
    max_words: int = setting(3, "longest phrase, in words", low=1, high=5)
    min_texts: int = setting(2, "a construct must occur in at least this many texts", low=1)
    new_tokens: int = setting(
        0, "add up to this many words to the tokenizer; 0 leaves it unchanged", low=0, high=10_000
    )


@dataclass(frozen=True)
class Mask(Section):
    """Which of the encoder's weights are trained."""

    score: str = setting(
        "construct_fisher",
        "how the weights are ranked",
        among=("construct_fisher", "fisher", "magnitude", "random"),
    )
    unit: str = setting(
        "rows", "the unit in which weights are selected", among=("rows", "columns", "entries", "layers")
    )
    budget: float = setting(0.1, "share of the encoder's linear weights to train", low=0.0001, high=1.0)
    examples: int = setting(250, "training texts used for scoring, at most half of them", low=1)


@dataclass(frozen=True)
class Schedule(Section):
    """Which layers are trained in which epochs."""

    frozen_layers: float = setting(
        0.33,
        "bottom share of layers that is never trained; its output is computed once",
        low=0.0,
        high=0.99,
    )
    head_epochs: float = setting(
        0.4,
        "first, train only the head for this share of the epochs; multi-label data skip this phase",
        low=0.0,
        high=1.0,
    )
    all_layer_epochs: float = setting(
        0.3, "then train all layers that are not frozen for this share of the epochs", low=0.0, high=1.0
    )
    top_layers_from: float = setting(
        0.67, "finally train only the layers above this share", low=0.0, high=0.99
    )
    far_task_ratio: float = setting(
        1.2,
        "train all unfrozen layers in every epoch if the top layer's probe makes this many times more errors",
        low=1.0,
    )


@dataclass(frozen=True)
class Finetune(Section):
    """How the selected weights and the head are trained."""

    max_epochs: int = setting(10, "maximum number of epochs", low=1, high=1000)
    max_steps: int = setting(1600, "no new epoch starts after this many steps", low=1)
    patience: int = setting(
        3, "stop after this many epochs without a lower calibrated validation loss", low=1
    )
    batch_size: int = setting(32, "texts per step", low=1, high=4096)
    min_steps_per_epoch: int = setting(
        20, "small data sets get smaller batches, of at least 8 texts, to reach this number", low=1
    )
    learning_rate: float = setting(1e-3, "learning rate of the selected weights", low=0.0, high=1.0)
    head_learning_rate: float = setting(3e-3, "learning rate of the head", low=0.0, high=1.0)
    multilabel_head_learning_rate: float = setting(
        1.2e-2, "learning rate of the head for multi-label data", low=0.0, high=1.0
    )
    weight_decay: float = setting(
        0.01, "weight decay of the selected weights and the head", low=0.0, high=1.0
    )
    warmup: float = setting(0.1, "share of the steps in which the learning rates rise", low=0.0, high=1.0)
    class_weights: str = setting(
        "none",
        "balanced gives rare classes the same influence as frequent ones",
        among=("none", "balanced"),
    )
    device: str = setting(
        "auto", "auto uses a GPU if one works, otherwise the CPU", among=("auto", "cpu", "cuda")
    )
    threads: int = setting(0, "CPU threads per process; 0 uses all cores", low=0, high=1024)
    processes: int = setting(
        1, "number of GPUs or CPU processes; more than one are started with torchrun", low=1, high=1024
    )


@dataclass(frozen=True)
class Evaluate(Section):
    """When an answer is certain, and how the model is calibrated."""

    coverage: float = setting(
        0.95, "share of the correct answers that the confidence threshold keeps", low=0.5, high=1.0
    )
    margin: float = setting(
        0.0,
        "an answer is also uncertain if its probability leads the second one by less than this",
        low=0.0,
        high=1.0,
    )
    calibration_folds: int = setting(
        4,
        "with fewer than 100 validation texts, calibrate on training texts too, by cross-fitting "
        "with this many folds; 0 never does",
        low=0,
        high=20,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.calibration_folds == 1:
            raise InputError(
                "evaluate.calibration_folds is 1, which leaves no text to train on; use 0 or at least 2"
            )


@dataclass(frozen=True)
class Export(Section):
    """The limits that an ONNX variant must respect. The fastest one that does is served."""

    variants: tuple[str, ...] = setting(VARIANTS, "ONNX variants that are compared", among=VARIANTS)
    max_logit_difference: float = setting(
        1e-3, "maximum difference between the logits of fp32 or fused and PyTorch", low=0.0, high=1.0
    )
    min_confident_agreement: float = setting(
        0.999,
        "share of PyTorch's confident answers that must stay the same, on texts not trained on",
        low=0.9,
        high=1.0,
    )
    min_proven_agreement: float = setting(
        0.99,
        "lower 95% confidence bound of that share; below 299 confident answers only fp32 and fused are used",
        low=0.0,
        high=0.9999,
    )
    max_accuracy_drop: float = setting(
        0.003,
        "maximum loss of accuracy; a larger one passes only if a paired test attributes it to chance",
        low=0.0,
        high=0.1,
    )
    max_coverage_change: float = setting(
        0.01,
        "maximum change of the share of confident answers; a larger one passes only if due to chance",
        low=0.0,
        high=1.0,
    )
    max_calibration_rise: float = setting(0.01, "maximum rise of the calibration error", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.variants:
            raise InputError(f"export.variants is empty; use at least one of {', '.join(VARIANTS)}")


@dataclass(frozen=True)
class Register(Section):
    """Where runs and model versions are stored. MLFLOW_TRACKING_URI overrides `uri`."""

    uri: str = setting(
        "sqlite:///mlflow.db", "MLflow tracking URI; a relative SQLite path starts at the project folder"
    )
    experiment: str = setting("tokensieve", "MLflow experiment of the runs")
    name: str | None = setting(
        None, "name of the registered model; null uses the folder's name at the first run", pattern=NAME
    )


@dataclass(frozen=True)
class Gate(Section):
    """What a challenger must satisfy to replace the champion, measured on the same texts."""

    mode: str = setting(
        "enforce",
        "enforce refuses a challenger that breaks a rule, dry_run only reports it, off measures nothing",
        among=("enforce", "dry_run", "off"),
    )
    margin: float = setting(
        0.01, "accuracy, F1 or share of a class that the challenger may lose for sure", low=0.0, high=0.5
    )
    min_accuracy: float = setting(
        0.0,
        "accuracy (multi-label: exact match) that a promotion needs, also without a champion; 0: any",
        low=0.0,
        high=1.0,
    )
    min_gain: float = setting(
        0.0, "gain in accuracy (multi-label: exact match) that a promotion needs", low=0.0, high=1.0
    )
    max_calibration_rise: float = setting(
        0.03, "maximum rise of the calibration error, unless it is due to chance", low=0.0, high=1.0
    )
    max_oos_recall_fall: float = setting(
        0.1, "maximum fall of the out-of-scope recall, unless it is due to chance", low=0.0, high=1.0
    )
    max_confident_fall: float = setting(
        0.1, "maximum fall of the share of confident answers, unless it is due to chance", low=0.0, high=1.0
    )
    max_latency_ratio: float = setting(
        1.5, "maximum latency, as a multiple of the champion's in the same measurement", low=1.0
    )
    max_size_ratio: float = setting(
        2.0, "maximum size of the model, as a multiple of the champion's", low=1.0
    )

    min_shadow_agreement: float = setting(0.0, "agreement needed in a shadow; 0: any", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        mode: object = self.mode
        if mode is False:  # YAML 1.1 reads off as false
            object.__setattr__(self, "mode", "off")
        super().__post_init__()
