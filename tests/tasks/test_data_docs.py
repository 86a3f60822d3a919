from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tasks.data_docs import data_docs
from tasks.expectations import Table
from tokensieve.data.examples import Examples

TRAIN = Table("train", "train", "mails.csv", Examples.of(["a", "b"], ["card", "<b>"]), lengths=[3, 90])


def check(name: str, passed: bool = True, changed: bool = False, severity: str = "warning") -> dict[str, Any]:
    return {
        "name": name,
        "part": "train",
        "passed": passed,
        "changed": changed,
        "severity": severity,
        "message": f"mails.csv, {name}: & so on",
        "rows": [],
    }


def test_the_page_is_named_after_the_model_and_has_classes_and_lengths() -> None:
    page = data_docs("<desk>", [check("empty")], [(TRAIN, [])], 64)
    assert "<title>&lt;desk&gt;: Data Docs</title>" in page
    assert "<bdi>&lt;b&gt;</bdi>" in page
    assert "1 of 2 texts (50.0%) are longer than base.max_length (64)" in page
    assert "train: 0 of 0 expectations met" in page


def test_a_check_is_met_or_noted_or_failed_and_what_failed_is_first() -> None:
    checks = [
        check("empty"),
        check("unlabelled"),
        check("lookalike", changed=True),
        check("leak", passed=False),
        check("classes", passed=False, severity="error"),
    ]
    page = data_docs("desk", checks, [(replace(TRAIN, dropped=5), [])], 64)
    found = re.findall(r'<tr class="(\w+)"><td>\1</td><td>mails.csv, (\w+): &amp; so on', page)
    assert found == [
        ("error", "classes"),
        ("warning", "leak"),
        ("note", "unlabelled"),
        ("note", "lookalike"),
        ("passed", "empty"),
    ]


def test_without_labels_and_lengths_there_are_no_empty_sections() -> None:
    page = data_docs("desk", [], [(Table("train", "train", "mails.csv", unreadable="no columns"), [])], 64)
    assert "Texts per class" not in page
    assert "Tokens per text" not in page
