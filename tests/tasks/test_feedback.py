from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.feedback import add_feedback
from tasks.ingest import ingest
from tasks.versioning.data_versions import data_versions
from tests.tasks.conftest import CSV
from tokensieve.data.raw_data import find_part_files, read_raw
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.server.feedback import FeedbackLog
from tokensieve.settings import Data, Settings


@pytest.fixture
def feedback(tmp_path: Path) -> Callable[..., Path]:
    """Writes a feedback file as the server does."""

    def write(*rows: dict[str, Any]) -> Path:
        log = FeedbackLog(tmp_path / "right.jsonl", 10**6)
        for row in rows:
            log.write({"predicted": "a", "version": "3"} | row)
        log.close()
        return tmp_path / "right.jsonl"

    return write


def parts(layout: Layout, columns: Data = Data()) -> dict[str, list[tuple[str, tuple[str, ...]]]]:  # noqa: B008
    found = read_raw(find_part_files(layout.raw), columns).checked()
    return {part: list(zip(examples.texts, examples.labels, strict=True)) for part, examples in found.items()}


def test_labels_are_corrected_and_new_texts_are_added(
    layout: Layout, source: Path, tmp_path: Path, feedback: Callable[..., Path]
) -> None:
    test = tmp_path / "test.csv"
    test.write_text("id,text,label\n7,five,b\n8,six,b\n")
    ingest(layout, Settings(), str(source), str(test))
    path = feedback(
        {"text": "new <b>", "label": "a"},
        {"text": "two", "label": "a"},
        {"text": " TWO", "label": "b"},
        {"text": "five", "label": "a"},
        {"text": "one", "label": "a"},
    )
    assert add_feedback(layout, path, Data()) == (2, 1)
    found = parts(layout)
    assert found["train"] == [
        ("one", ("a",)),
        ("two", ("b",)),
        ("three", ("b",)),
        ("four", ("b",)),
        ("new <b>", ("a",)),
    ]
    assert found["test"] == [("five", ("a",)), ("six", ("b",))]
    rows = [json.loads(line) for line in (layout.raw / "test.jsonl").read_text().splitlines()]
    assert rows[0] == {"id": "7", "text": "five", "label": "a"}
    ingest(layout, Settings(), None, origin=str(path))
    assert [version.source for version in data_versions(layout)][-1] == str(path)
    before = (layout.raw / "test.jsonl").read_bytes()
    assert add_feedback(layout, path, Data()) == (0, 0)
    assert (layout.raw / "test.jsonl").read_bytes() == before


def test_parts_without_changes_keep_their_files(
    layout: Layout, source: Path, feedback: Callable[..., Path]
) -> None:
    ingest(layout, Settings(), str(source))
    add_feedback(layout, feedback({"text": "two", "label": "a"}), Data())
    assert (layout.raw / "train.csv").read_text() == CSV


def test_labels_of_multi_label_data_are_lists(
    layout: Layout, tmp_path: Path, feedback: Callable[..., Path]
) -> None:
    source = tmp_path / "several.csv"
    source.write_text("text,label\none,a|b\ntwo,\nthree,b\n")
    columns = Data(label_separator="|")
    settings = Settings(data=columns)
    ingest(layout, settings, str(source))
    path = feedback({"text": "two", "label": ["a", "b"]}, {"text": "three", "label": []})
    assert add_feedback(layout, path, columns) == (2, 0)
    assert parts(layout, columns)["train"] == [("one", ("a", "b")), ("two", ("a", "b")), ("three", ())]


def test_only_the_feedback_for_the_task_of_the_project_is_taken(
    layout: Layout, source: Path, feedback: Callable[..., Path]
) -> None:
    ingest(layout, Settings(), str(source))
    path = feedback(
        {"text": "two", "label": "b", "task": layout.root.name},
        {"text": "one", "label": "b", "task": "other"},
    )
    assert add_feedback(layout, path, Data()) == (1, 0)
    assert parts(layout)["train"][0] == ("one", ("a",))


def test_labels_of_other_tasks_may_have_any_form_and_their_rows_are_counted(
    layout: Layout, source: Path, feedback: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    ingest(layout, Settings(), str(source))
    own = {"text": "two", "label": "b", "task": layout.root.name}
    lists = [{"text": f"text {i}", "label": ["x", "y"], "task": "topics"} for i in range(3)]
    fractions = [{"text": f"text {i}", "label": f"{i}.5", "task": "<prices>"} for i in range(2)]
    assert add_feedback(layout, feedback(*lists, own, *fractions), Data()) == (1, 0)
    assert parts(layout)["train"][1] == ("two", ("b",))
    assert "5 rows of other tasks are left out ('topics' 3, '<prices>' 2)" in caplog.text


def test_a_row_of_this_task_is_named_by_its_line_in_the_file(
    layout: Layout, source: Path, feedback: Callable[..., Path]
) -> None:
    ingest(layout, Settings(), str(source))
    path = feedback(
        {"text": "x", "label": ["a"], "task": "other"},
        {"text": "two", "label": "a"},
        {"text": "one", "label": ["b"]},
    )
    with pytest.raises(InputError, match=r"the label in line 3 is a list, and that in line 2 is not"):
        add_feedback(layout, path, Data())


def test_a_file_without_corrections_leaves_the_data_as_they_are(
    layout: Layout, source: Path, feedback: Callable[..., Path]
) -> None:
    ingest(layout, Settings(), str(source))
    wanted = f"no texts with labels for this project, which takes the task '{layout.root.name}'"
    with pytest.raises(InputError, match=wanted):
        add_feedback(layout, feedback({"text": "one", "label": "b", "task": "other"}), Data())
    with pytest.raises(InputError, match="does not exist"):
        add_feedback(layout, layout.root / "none.jsonl", Data())
    assert (layout.raw / "train.csv").read_text() == CSV


def test_texts_of_several_columns_are_corrected_and_added(
    layout: Layout, tmp_path: Path, feedback: Callable[..., Path]
) -> None:
    columns = Data(text_column=("subject", "body"))
    source = tmp_path / "mails.csv"
    source.write_text("subject,body,label\nA,one,a\n,two,a\nB,three,b\nC,four,b\n")
    ingest(layout, Settings(data=columns), str(source))
    path = feedback(
        {"text": "B\nthree", "columns": {"subject": "B", "body": "three"}, "label": "a"},
        {"text": "two", "label": "b"},
        {"text": "N\nnew", "columns": {"subject": "N", "body": "new"}, "label": "a"},
        {"text": "a\nplain text", "label": "b"},
    )
    assert add_feedback(layout, path, columns) == (2, 2)
    found = dict(parts(layout, columns)["train"])
    assert found["B\nthree"] == ("a",)
    assert found["two"] == ("b",)
    assert found["N\nnew"] == ("a",)
    assert found["a\nplain text"] == ("b",)
    rows = [json.loads(line) for line in (layout.raw / "train.jsonl").read_text().splitlines()]
    assert {"subject": "N", "body": "new", "label": "a"} in rows


def test_new_texts_have_no_id(layout: Layout, tmp_path: Path, feedback: Callable[..., Path]) -> None:
    columns = Data(id_column="ticket")
    source = tmp_path / "tickets.csv"
    source.write_text("ticket,text,label\nT1,one,a\nT2,two,a\nT3,three,b\nT4,four,b\n")
    ingest(layout, Settings(data=columns), str(source))
    path = feedback({"text": "one", "label": "b"}, {"text": "new", "label": "a"})
    assert add_feedback(layout, path, columns) == (1, 1)
    rows = [json.loads(line) for line in (layout.raw / "train.jsonl").read_text().splitlines()]
    assert {"ticket": "T1", "text": "one", "label": "b"} in rows
    assert {"ticket": None, "text": "new", "label": "a"} in rows


@pytest.mark.parametrize("codec", ["cp1252", "cp1251", "shift_jis", "utf-16", "utf-16-le"])
def test_the_raw_data_keep_their_encoding(
    layout: Layout, tmp_path: Path, feedback: Callable[..., Path], codec: str
) -> None:
    own = {"cp1252": "Straße", "cp1251": "верните"}.get(codec, "返品")
    source = tmp_path / "train.csv"
    source.write_bytes(f"text,label\n{own},a\ntwo,b\n".encode(codec))
    columns = Data(encoding=codec)
    ingest(layout, Settings(data=columns), str(source))
    path = feedback({"text": own, "label": "b"}, {"text": "верните 返品 Straße €😀", "label": "b"})
    assert add_feedback(layout, path, columns) == (1, 1)
    assert parts(layout, columns)["train"] == [
        (own, ("b",)),
        ("two", ("b",)),
        ("верните 返品 Straße €😀", ("b",)),
    ]


def test_texts_with_control_characters_are_left_out_and_named(
    layout: Layout, source: Path, feedback: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    ingest(layout, Settings(), str(source), None)
    path = feedback(
        {"text": "new", "label": "a"}, {"text": "a\0b", "label": "a"}, {"text": "\x1b[1m", "label": "b"}
    )
    assert add_feedback(layout, path, Data()) == (0, 1)
    assert "2 texts with control characters are left out, the first in row 2" in caplog.text


def test_a_review_is_refused(layout: Layout, source: Path, tmp_path: Path) -> None:
    ingest(layout, Settings(), str(source), None)
    path = tmp_path / "review.csv"
    path.write_text("label,right_label,text\na,b,one\n")
    with pytest.raises(InputError, match="is a review, with column right_label; take it in with --review"):
        add_feedback(layout, path, Data())


def test_numbers_as_labels_stay_as_they_are_written(
    layout: Layout, tmp_path: Path, feedback: Callable[..., Path]
) -> None:
    source = tmp_path / "train.jsonl"
    labels = {"a": "8471.30", "b": "8471.30", "c": "1.5", "d": "1.5"}
    rows = (f'{{"text": "{text}", "label": {label}}}\n' for text, label in labels.items())
    source.write_text("".join(rows))
    ingest(layout, Settings(), str(source))
    add_feedback(layout, feedback(*({"text": text, "label": "8471.30"} for text in "ac")), Data())
    assert [label for _, (label,) in parts(layout)["train"]] == ["8471.30", "8471.30", "8471.30", "1.5"]


def test_json_rows_keep_all_but_their_label_as_written(
    layout: Layout, tmp_path: Path, feedback: Callable[..., Path]
) -> None:
    source = tmp_path / "train.jsonl"
    rows = ['{"text" : "\\u00e9n", "label": 1.50, "at":1.10}', '{"at":1e3,"label":"a","text":"two"}']
    source.write_text("\n".join([*rows, *(f'{{"text": "t{i}", "label": "a"}}' for i in range(4))]))
    ingest(layout, Settings(), str(source))
    path = feedback({"text": "én", "label": "1.75"}, {"text": "new", "label": "a"})
    assert add_feedback(layout, path, Data()) == (1, 1)
    found = (layout.raw / "train.jsonl").read_text().splitlines()
    assert found[:2] == [rows[0].replace("1.50", "1.75"), rows[1]]
    assert found[-1] == '{"text": "new", "label": "a"}'


def test_characters_that_the_encoding_lacks_are_escaped_and_numbers_stay(
    layout: Layout, tmp_path: Path, feedback: Callable[..., Path]
) -> None:
    columns = Data(encoding="cp1252")
    source = tmp_path / "train.jsonl"
    rows = '{"text": "верните 😀", "label": "a", "at": 1.10}\n{"text": "ü", "label": "b"}\n'
    source.write_bytes(rows.encode("utf-8-sig"))
    ingest(layout, Settings(data=columns), str(source))
    assert add_feedback(layout, feedback({"text": "ü", "label": "a"}), columns) == (1, 0)
    assert parts(layout, columns)["train"] == [("верните 😀", ("a",)), ("ü", ("a",))]
    assert b'\\ud83d\\ude00", "label": "a", "at": 1.10}\n' in (layout.raw / "train.jsonl").read_bytes()
