"""The checks of HTML and of quoted mails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.validate import validate
from tokensieve.project import Layout
from tokensieve.settings import Settings


@pytest.mark.parametrize(
    ("text", "clean", "words"),
    [
        (
            "<p>text</p>",
            "none",
            {"markup": "30 rows (50%) with HTML tags or entities (line 2, line 4, line 6 and 27 more)"},
        ),
        ("text&nbsp;", "none", {"markup": "30 rows (50%) with HTML tags or entities"}),
        ("<p>text</p>", "html", {}),
        ('"text\n> quoted"', "none", {"quoted": "30 rows (50%) with quoted mails or signatures"}),
        ("a < b & c", "none", {}),
    ],
)
def test_the_share_of_the_texts_is_a_warning(
    text: str, clean: str, words: dict[str, str], tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    layout.raw.mkdir(parents=True)
    layout.champion.write_text("{}", encoding="utf-8")
    quote = text.endswith('"')
    rows = [
        f"{(text[:-1] + str(i) + chr(34)) if quote else text + str(i)},a\nplain {i},b\n" for i in range(30)
    ]
    (layout.raw / "train.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")
    report: dict[str, Any] = validate(layout, Settings.of({"data": {"clean": clean}}))
    found = {check["name"]: check["message"] for check in report["checks"] if not check["passed"]}
    assert found.keys() == words.keys()
    assert report["errors"] == 0
    for name, expected in words.items():
        assert expected in found[name]
