"""A report with every part, of any number of classes and test texts."""

from __future__ import annotations

import math

from tokensieve.report.content import (
    Advice,
    Build,
    Calibration,
    ClassRow,
    Confusion,
    Constructs,
    Epoch,
    Fact,
    Finding,
    MaskMap,
    Matrix,
    Measure,
    Report,
    Table,
    ThresholdCurve,
    WrongText,
)


def whole_report(
    label: str = "customs hold", text: str = "box is stuck at customs", classes: int = 9
) -> Report:
    """Return a report whose labels and texts contain `label` and `text`."""
    names = [f"{label} {i}" for i in range(classes)]
    steps = [i / 60 for i in range(61)]
    return Report(
        title=f"{label} version 3",
        made="2026-01-02 03:04 UTC",
        multi_label=False,
        advice=Advice(
            True, "answers by itself", f"good for {label}", f"promote {label}", (f"more {label}", text)
        ),
        figures=(
            Fact("test accuracy", "93.1%", "91.0% to 95.0%"),
            Fact("per text", "2.1 ms", "int8, 1 thread"),
        ),
        compared=(
            Measure("this model", 0.931, 0.91, 0.95),
            Measure("linear SVM on TF-IDF", 0.84, 0.81, 0.87),
            Measure("most frequent class", 0.04, 0.02, 0.07),
        ),
        champion=f"version 3 of model '{label}' passed against champion 2",
        gate=Table(
            ("rule", "value", "limit", "verdict"), (("accuracy", "+0.010", label, text),), "Measured now."
        ),
        data=(Fact("texts", "train 1,344, test 528", label), Fact("source", text)),
        warnings=(f"class '{label}' has 3 rows", text),
        classes=tuple(ClassRow(name, 50 + i, i % 20, 0.5, 0.6, 0.55) for i, name in enumerate(names)),
        audit=(Finding("Label errors", label, Table(("text", "label"), ((text, label),))),),
        constructs=tuple(Constructs(name, (text, "stuck", "customs clearance")) for name in names),
        vocabulary=(Fact("tokens saved", "3.1%", text),),
        mask=MaskMap(
            ("query", "key", "value", "attention output", "intermediate", "output"),
            ("layer 2", "layer 3", "layer 4", "layer 5"),
            tuple(tuple(0.02 * i * j if j else None for j in range(6)) for i in range(1, 5)),
            "1,234 of 12,345 rows are trained (10.0%).",
        ),
        mask_facts=(Fact("trained weights", "1,234 of 22,713,216 (0.1%)", label),),
        epochs=tuple(
            Epoch(i + 1, math.exp(-i / 3), 0.2 + math.exp(-i / 2), 0.9 - 0.5 * math.exp(-i), phase)
            for i, phase in enumerate(["head only"] * 4 + ["all layers"] * 3 + ["top layers"] * 3)
        ),
        confusions=tuple(
            Confusion(
                name,
                names[i - 1],
                9,
                20,
                tuple(WrongText(f"line {i}", text, 0.81, label if i == 7 else "") for i in range(7, 15)),
            )
            for i, name in enumerate(names[:12])
        ),
        matrix=_matrix(names[:9]),
        calibration=Calibration(
            tuple((i / 10, max(0, i / 10 - 0.08), 20) for i in range(3, 11)),
            tuple((i / 10, min(1, i / 10 + 0.01), 20) for i in range(3, 11)),
            (Fact("calibration error", "0.021 (0.015 to 0.030)", "0 is perfect"),),
        ),
        threshold=ThresholdCurve(
            tuple(steps),
            tuple(1 - step**4 for step in steps),
            tuple(0.9 + 0.1 * step if step < 1 else None for step in steps),
            tuple(min(1, 1.4 * step**1.2) for step in steps),
            0.61,
            (0.52, 0.68),
            "measured on 528 test texts and 160 out-of-scope texts",
        ),
        builds=(
            Build("fp32", 4.5, "", ("fp32", "4.50", "90.5", "100%", "100%", "0.9312", "0.0001", "")),
            Build("int8", 2.1, "served", ("int8", "2.10", "23.1", "99%", "100%", "0.9300", "0.01", "served")),
        ),
        build_head=(
            "build",
            "ms per text",
            "MB",
            "agree",
            "confident agree",
            "accuracy",
            "logits differ",
            "state",
        ),
        build_notes=("agree: with PyTorch, on 662 texts", text),
        lineage=(
            Fact("model", "models:/freight/3", link="https://mlflow.example/#/models/freight/versions/3"),
            Fact("data hash", "0123456789abcdef0123456789abcdef.dir", label),
        ),
        changed_settings={"base.max_length": "256", "register.name": label},
        commands=(Fact("try it", f'tokensieve predict "{text}"'), Fact("serve it", "tokensieve serve")),
    )


def _matrix(names: list[str]) -> Matrix:
    size = len(names)
    return Matrix(
        tuple(names),
        tuple(
            tuple(18 if i == j else (3 if j == (i + 1) % size else 0) for j in range(size))
            for i in range(size)
        ),
    )
