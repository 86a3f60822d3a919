from __future__ import annotations

import csv
import datetime
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokensieve.data import table_readers
from tokensieve.data.normalize import is_blank
from tokensieve.data.table_formats import FORMATS
from tokensieve.errors import InputError
from tokensieve.inference import bulk
from tokensieve.inference.bulk import predict_file
from tokensieve.inference.prediction import Prediction
from tokensieve.inference.predictor import Predictor
from tokensieve.inference.shared_predictor import SharedPredictor

TEXTS = [
    "I lost my card",
    "?",
    'what is "my" balance?',
    "send money\nto a friend, please",
    "größe",
    "card " * 20,
    "a\tb",
    "i\rme",
]
ANSWERS = ["label", "probability", "uncertain", "truncated"]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """`rows` in the format that the path's ending names; all have the same keys."""
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerows(
                [list(rows[0]), *(["" if cell is None else cell for cell in row.values()] for row in rows)]
            )
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        table = pyarrow.Table.from_pylist(rows)
        with pyarrow.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, from CSV and TSV as text."""
    if path.suffix in (".csv", ".tsv"):
        csv.field_size_limit(2**31 - 1)
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    if path.suffix == ".parquet":
        return list(pyarrow.parquet.read_table(path).to_pylist())
    with pyarrow.memory_map(str(path)) as source:
        return list(pyarrow.ipc.open_file(source).read_all().to_pylist())


def check(rows: list[dict[str, Any]], expected: Iterable[Prediction]) -> None:
    """The rows hold these single answers; those of a CSV file as text."""
    for row, answer in zip(rows, expected, strict=True):
        assert not answer.multi_label
        assert row["label"] == answer.label
        assert float(row["probability"]) == pytest.approx(answer.probability, abs=1e-5)
        assert [str(row[name]).lower() for name in ANSWERS[2:]] == [
            str(flag).lower() for flag in (answer.uncertain, answer.truncated)
        ]


@pytest.fixture(scope="module")
def predictor(served: Any) -> Predictor:
    return Predictor.load(served.folder, threads=1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of three rows."""
    monkeypatch.setattr(table_readers, "CHUNK_ROWS", 3)
    monkeypatch.setattr(table_readers, "BATCH_ROWS", 2)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_format_gets_the_predictions_as_added_columns(
    source: str, output: str, served: Any, predictor: Predictor, tmp_path: Path
) -> None:
    rows = [{"id": place, "text": text, "größe, x": f'"{place}"\r\n'} for place, text in enumerate(TEXTS)]
    path = write(tmp_path / f"in{source}", rows)
    assert predict_file(served.folder, path, tmp_path / f"out{output}").rows == len(rows)
    found = read(tmp_path / f"out{output}")
    check(found, predictor.predict(TEXTS))
    assert list(found[0]) == [*rows[0], *ANSWERS]
    numbers = str if output in (".csv", ".tsv") or source in (".csv", ".tsv") else int
    assert [{name: row[name] for name in rows[0]} for row in found] == [
        row | {"id": numbers(row["id"])} for row in rows
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([path.name, f"out{output}"])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("output", FORMATS)
def test_several_labels_and_the_likeliest(output: str, served: Any, tmp_path: Path) -> None:
    folder = served.write_several(tmp_path / "several")
    path = write(tmp_path / "in.jsonl", [{"text": text} for text in TEXTS])
    predict_file(folder, path, tmp_path / f"out{output}", top=2)
    expected = Predictor.load(folder, threads=1).predict(TEXTS, 2)
    assert {min(len(answer.labels), 2) for answer in expected} == {0, 1, 2}
    for row, answer in zip(read(tmp_path / f"out{output}"), expected, strict=True):
        assert answer.multi_label
        assert list(row) == ["text", "labels", "probabilities", "uncertain", "truncated", "top"]
        if output in (".csv", ".tsv"):
            top = json.loads(row["top"])
            labels, chances = (
                [part for part in row[name].split("|") if part] for name in ("labels", "probabilities")
            )
        else:
            top, labels, chances = row["top"], row["labels"], row["probabilities"]
        assert labels == [label for label, _ in answer.labels]
        assert [float(chance) for chance in chances] == pytest.approx(
            [chance for _, chance in answer.labels], abs=1e-5
        )
        assert [one["label"] for one in top] == [label for label, _ in answer.top]
        assert [one["probability"] for one in top] == pytest.approx(
            [chance for _, chance in answer.top], abs=1e-5
        )


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("output", FORMATS)
def test_each_task_that_shares_a_model_has_columns_of_its_own(
    output: str, served: Any, tmp_path: Path
) -> None:
    folder = served.write_shared(tmp_path / "shared")
    texts = [TEXTS[0], None, *TEXTS[1:]]
    path = write(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    assert predict_file(folder, path, tmp_path / f"out{output}", top=1).rows == len(texts)
    rows = read(tmp_path / f"out{output}")
    expected = SharedPredictor.load(folder, threads=1).predict_by_task(TEXTS, 1)
    assert list(expected) == ["intent", "topics"]
    columns = {"intent": ("label", "probability"), "topics": ("labels", "probabilities")}
    flags = ("uncertain", "truncated", "top")
    assert list(rows[0]) == [
        "text",
        *(f"{task}_{name}" for task, names in columns.items() for name in (*names, *flags)),
    ]
    assert not any(value for name, value in rows.pop(1).items() if name != "text")
    check(
        [{name.removeprefix("intent_"): value for name, value in row.items()} for row in rows],
        expected["intent"],
    )
    for row, answer in zip(rows, expected["topics"], strict=True):
        assert answer.multi_label
        found = row["topics_labels"]
        labels = [part for part in found.split("|") if part] if isinstance(found, str) else found
        assert labels == [label for label, _ in answer.labels]


def test_labels_that_hold_the_bar_they_would_be_joined_with_are_refused(served: Any, tmp_path: Path) -> None:
    folder = served.write_several(tmp_path / "several")
    manifest = Predictor.load(folder, threads=1).manifest
    replace(manifest, labels=("a|b", *manifest.labels[1:]), files={}).save(folder)
    path = write(tmp_path / "in.csv", [{"text": "card"}])
    with pytest.raises(InputError, match=r"joined with \|, and label 'a\|b' has one; write to \.jsonl"):
        predict_file(folder, path, tmp_path / "out.csv")
    assert predict_file(folder, path, tmp_path / "out.jsonl").rows == 1


@pytest.mark.parametrize("output", FORMATS)
def test_a_row_without_a_text_has_no_answer(
    output: str, served: Any, predictor: Predictor, tmp_path: Path
) -> None:
    blank = [None, "", " \t\n\x1f\x85", "\u200b\ufeff\u00ad"]
    path = write(tmp_path / "in.parquet", [{"text": text} for text in ["card", *blank, "."]])
    summary = predict_file(served.folder, path, tmp_path / f"out{output}", top=1)
    first, *none, last = read(tmp_path / f"out{output}")
    assert (summary.without_text, len(none)) == (4, 4)
    values = {row[name] for row in none for name in [*ANSWERS, "top"]}
    assert values == {"" if output in (".csv", ".tsv") else None}
    check([first, last], predictor.predict(["card", "."]))


def test_a_text_that_is_blank_after_cleaning_has_no_answer(served: Any, tmp_path: Path) -> None:
    folder = served.write(tmp_path / "onnx")
    replace(served.manifest, clean="html").save(folder)
    source = write(
        tmp_path / "in.jsonl", [{"text": text} for text in ("<br>", "my <b>card</b>", "<!-- x -->")]
    )
    summary = predict_file(folder, source, tmp_path / "out.jsonl")
    assert (summary.rows, summary.without_text) == (3, 2)
    assert [bool(row["label"]) for row in read(tmp_path / "out.jsonl")] == [False, True, False]


@pytest.mark.parametrize("output", FORMATS)
def test_any_text_is_answered(output: str, served: Any, predictor: Predictor, tmp_path: Path) -> None:
    texts = ["card \ud800", "\ud83d\ude00", "\0card\0", "card " * 200_000, "\u202eabc", "a\x1a"]
    path = write(tmp_path / "in.jsonl", [{"text": text, "x": ["\ud800"]} for text in texts])
    predict_file(served.folder, path, tmp_path / f"out{output}")
    found = read(tmp_path / f"out{output}")
    check(found, predictor.predict(texts))
    half = texts[0] if output == ".jsonl" else "card \N{REPLACEMENT CHARACTER}"
    assert [row["text"] for row in found] == [half, "😀", *texts[2:]]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.none() | st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(TEXTS),
        min_size=1,
        max_size=9,
    ),
    ending=st.sampled_from(FORMATS),
    size=st.sampled_from([1, 40, 2**20]),
)
def test_any_table_is_answered_row_by_row(
    texts: list[str | None], ending: str, size: int, served: Any, predictor: Predictor, tmp_path: Path
) -> None:
    path = write(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_readers, "CHUNK_SIZE", size)
        assert predict_file(served.folder, path, tmp_path / f"out{ending}").rows == len(texts)
    there = [
        (row, text)
        for row, text in zip(read(tmp_path / f"out{ending}"), texts, strict=True)
        if text is not None and not is_blank(text)
    ]
    check([row for row, _ in there], predictor.predict([text for _, text in there]))


def test_a_typed_files_columns_keep_their_types(served: Any, tmp_path: Path) -> None:
    when = datetime.datetime(2026, 1, 2, 3, 4, 5)
    table = pyarrow.table(
        {
            "text": pyarrow.array(TEXTS).dictionary_encode(),
            "when": pyarrow.array([when] * len(TEXTS), pyarrow.timestamp("ns")),
            "list": [[{"a": 1.5}]] * len(TEXTS),
            "n": pyarrow.array([None, *range(len(TEXTS) - 1)], pyarrow.int8()),
        }
    ).replace_schema_metadata({"made": "here"})
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet")
    predict_file(served.folder, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert found.select(table.column_names).cast(table.schema).equals(table)
    assert found.schema.field("text").type == table.schema.field("text").type
    assert found.schema.metadata[b"made"] == b"here"
    predict_file(served.folder, tmp_path / "in.parquet", tmp_path / "out.arrow")
    assert [row["text"] for row in read(tmp_path / "out.arrow")] == TEXTS
    predict_file(served.folder, tmp_path / "in.parquet", tmp_path / "out.jsonl")
    row = read(tmp_path / "out.jsonl")[0]
    assert (row["when"], row["list"], row["n"]) == ("2026-01-02 03:04:05.000000000", [{"a": 1.5}], None)


def test_rows_of_json_may_differ(served: Any, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"text": "card", "a": 1}\n\n{"b": {"c": [NaN]}, "text": "i", "a": 1.5}\n', encoding="utf-8"
    )
    predict_file(served.folder, path, tmp_path / "out.csv")
    assert [(row["a"], row["b"]) for row in read(tmp_path / "out.csv")] == [
        ("1", ""),
        ("1.5", '{"c": [NaN]}'),
    ]
    predict_file(served.folder, path, tmp_path / "out.arrow")
    assert [row["a"] for row in read(tmp_path / "out.arrow")] == [1.0, 1.5]
    path.write_text('{"text": "card", "a": 1}\n{"text": "card", "a": "x"}\n', encoding="utf-8")
    path.write_text('{"text": "card", "\\udfff": 1}\n', encoding="utf-8")
    with pytest.raises(
        InputError, match=r"has a key '\\udfff', which is not Unicode; rename it, or write to \.jsonl"
    ):
        predict_file(served.folder, path, tmp_path / "out.csv")
    path.write_text('{"text": "card", "a": 1}\n{"text": "card", "a": "x"}\n', encoding="utf-8")
    with pytest.raises(
        InputError,
        match=r"in\.jsonl, rows 1 to 2 \(lines 1 to 2\): values of several .*; write to \.jsonl",
    ):
        predict_file(served.folder, path, tmp_path / "out.parquet")


@pytest.mark.parametrize("ending", FORMATS)
def test_no_rows_make_no_rows(ending: str, served: Any, tmp_path: Path) -> None:
    path = tmp_path / f"in{ending}"
    write(path, [{"text": "card"}])
    if ending in (".csv", ".tsv", ".jsonl"):
        path.write_text("" if ending == ".jsonl" else "text\n", encoding="utf-8")
    else:
        table = pyarrow.table({"text": pyarrow.array([], pyarrow.string())})
        with (pyarrow.parquet.ParquetWriter if ending == ".parquet" else pyarrow.ipc.new_file)(
            path, table.schema
        ) as file:
            file.write_table(table)
    assert predict_file(served.folder, path, tmp_path / f"out{ending}").rows == 0
    assert read(tmp_path / f"out{ending}") == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("in.csv", b"id,utterance\n1,a\n", r"no column 'text'; it has 'id', 'utterance': .*--text COLUMN"),
        ("in.csv", b"", r"no column 'text'; it has none"),
        ("in.csv", b"text,text\na,b\n", r"has 2 columns 'text'; rename all but one"),
        (
            "in.csv",
            b"text,label\na,b\n",
            r"has a column 'label', the name of a column of answers; rename it, "
            r"or add a prefix .* --answer-prefix",
        ),
        ("in.jsonl", b'{"text": "a"}\n{"text": "a", "truncated": 1}\n', r"has a column 'truncated'"),
        ("in.csv", b"text,a\nx,1\ny\n", r"row 2 \(line 3\) has 1 columns, the header 2"),
        ("in.csv", b'text,a\nx,1\n"y,1\n', r"row 2 .*: the quote in line 3 is never closed"),
        ("in.csv", b"text,a\nx,1\n\n\xe9,1\n", r"line 4: byte 0xe9 at column 1 is not UTF-8"),
        ("in.jsonl", b'{"text": "a"}\n\n{"text": \n', r"row 2 \(line 3\): not JSON"),
        ("in.jsonl", b'{"text": "a"}\n{"text": "\xe9"}\n', r"line 2: byte 0xe9 at column 11 is not UTF-8"),
        (
            "in.jsonl",
            b'{"text": "a"}\n[1]\n',
            r"row 2 \(line 2\): '\[1\]' is not an object",
        ),
        (
            "in.jsonl",
            b'{"text": "a"}\n\n{"txt": "a"}\n',
            r"row 2 \(line 3\) has no column 'text'; it has 'txt'",
        ),
        (
            "in.jsonl",
            b'{"text": "a"}\n{"text": 5}\n',
            r"row 2 \(line 2\): 'text' is '5'; give a text",
        ),
        ("in.parquet", b"PAR1 no PAR1", r"is no Parquet file, or a damaged one, after row 0"),
        ("in.arrow", b"nothing", r"is no Arrow file, or a damaged one, after row 0"),
        ("in.xlsx", b"x", r"has the ending '\.xlsx'; allowed: \.csv"),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_is_made(
    name: str, content: bytes, words: str, served: Any, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        predict_file(served.folder, path, tmp_path / "out.jsonl")
    assert str(path) in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_what_is_not_text_in_a_typed_file_is_named(served: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", [{"text": 5, "raw": b"x"}])
    with pytest.raises(InputError, match="column 'text' has type int64; give texts"):
        predict_file(served.folder, path, tmp_path / "out.parquet")
    write(path, [{"text": "a", "raw": b"x"}])
    with pytest.raises(
        InputError, match=r"column 'raw' has type binary, which .*out\.csv cannot contain; write to \.parquet"
    ):
        predict_file(served.folder, path, tmp_path / "out.csv")
    broken = pyarrow.Array.from_buffers(pyarrow.string(), 2, pyarrow.array([b"ok", b"\xff"]).buffers())
    pyarrow.parquet.write_table(pyarrow.table({"text": broken}), path)
    with pytest.raises(InputError, match=r"row 2: the text is not UTF-8"):
        predict_file(served.folder, path, tmp_path / "out.parquet")


def test_outputs_that_cannot_be_are_refused(served: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "in.csv", [{"text": "card"}])
    with pytest.raises(InputError, match=r"in\.csv is the input itself"):
        predict_file(served.folder, path, tmp_path / "in.csv")
    with pytest.raises(InputError, match="none does not exist; make it"):
        predict_file(served.folder, path, tmp_path / "none" / "out.csv")
    with pytest.raises(InputError, match=r"ending '\.txt'; allowed"):
        predict_file(served.folder, path, tmp_path / "out.txt")
    with pytest.raises(InputError, match="top is 0; allowed: at least 1"):
        predict_file(served.folder, path, tmp_path / "out.csv", top=0)
    with pytest.raises(InputError, match=r"absent\.csv does not exist"):
        predict_file(served.folder, tmp_path / "absent.csv", tmp_path / "out.csv")
    kept = tmp_path / "out.csv.parts"
    kept.mkdir()
    (kept / "mine.txt").touch()
    with pytest.raises(
        InputError, match=r"out\.csv\.parts is needed for the parts of out\.csv, and holds other files"
    ):
        predict_file(served.folder, path, tmp_path / "out.csv")
    assert (kept / "mine.txt").exists()
    (kept / "mine.txt").unlink()
    with FileLock(kept / "lock"), pytest.raises(InputError, match="another run is writing"):
        predict_file(served.folder, path, tmp_path / "out.csv")


def test_without_pyarrow_only_text_formats_are_accepted(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "in.csv", [{"text": "card"}])
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert predict_file(served.folder, path, tmp_path / "out.jsonl").rows == 1
    with pytest.raises(
        InputError,
        match=r"out\.parquet needs pyarrow, .*; pip install pyarrow, or give \.csv, \.tsv, \.jsonl",
    ):
        predict_file(served.folder, path, tmp_path / "out.parquet")


def counted(monkeypatch: pytest.MonkeyPatch, stop: int | None = None) -> list[int]:
    """Counts the texts that are answered; fails before the answer to chunk number `stop`."""
    predict, seen = Predictor.predict_by_task, list[int]()

    def counting(self: Predictor, texts: list[str], top: int = 3) -> dict[str, list[Any]]:
        if len(seen) == stop:
            raise RuntimeError("stopped")
        seen.append(len(texts))
        return predict(self, texts, top)

    monkeypatch.setattr(Predictor, "predict_by_task", counting)
    monkeypatch.setattr(bulk, "cores", lambda: 1)
    return seen


@pytest.mark.usefixtures("small")
def test_a_failed_run_keeps_the_old_output_and_resumes_if_nothing_changed(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output = write(tmp_path / "in.csv", [{"text": text} for text in TEXTS]), tmp_path / "out.csv"
    output.write_text("before", encoding="utf-8")

    def stopped(top: int | None = None) -> None:
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="stopped"):
            counted(patch, 2)
            predict_file(served.folder, path, output, top=top)
        assert output.read_text(encoding="utf-8") == "before"

    def texts(**changed: Any) -> int:
        with monkeypatch.context() as patch:
            seen = counted(patch)
            predict_file(served.folder, path, output, **changed)
        output.write_text("before", encoding="utf-8")
        assert not output.with_name("out.csv.parts").exists()
        return sum(seen)

    stopped()
    assert texts() == 2  # six of eight were there
    stopped()
    assert texts(top=1) == 8
    stopped(top=2)
    write(path, [{"text": text} for text in reversed(TEXTS)])
    assert texts(top=2) == 8
    stopped()
    monkeypatch.setattr(table_readers, "CHUNK_ROWS", 4)
    assert texts() == 8


PROGRAM = """
import itertools, sys, time
from pathlib import Path
from tokensieve.data import table_readers
from tokensieve.data.normalize import is_blank
from tokensieve.inference import bulk
from tokensieve.inference.predictor import Predictor
table_readers.CHUNK_ROWS, table_readers.BATCH_ROWS = 50, 10
predict, most, numbers = Predictor.predict_by_task, int(sys.argv[5]), itertools.count()
def slow(self, texts, top=3):
    # After `most` chunks it waits to be killed, however late that is.
    time.sleep(float(sys.argv[4]) if next(numbers) < most else 600)
    sys.stdout.write(f"{len(texts)}\\n")  # in one piece, whichever thread
    return predict(self, texts, top)
Predictor.predict_by_task = slow
bulk.predict_file(*map(Path, sys.argv[1:4]))
"""


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_killed_at_any_time_it_goes_on_to_the_same_file(ending: str, served: Any, tmp_path: Path) -> None:
    rows = [{"id": place, "text": f"{TEXTS[place % len(TEXTS)]} {place}"} for place in range(1000)]
    path = write(tmp_path / f"in{ending}", rows)
    output, whole = tmp_path / f"out{ending}", tmp_path / f"whole{ending}"

    def start(output: Path, seconds: float, most: int = 20) -> subprocess.Popen[str]:
        arguments = [served.folder, path, output, seconds, most]
        command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def finished() -> int:
        return len(list(tmp_path.glob(f"out{ending}.parts/0*")))

    assert start(whole, 0).communicate(timeout=60)[0].split() == ["50"] * 20
    for parts in (3, 8):
        with start(output, 0.05, 18 - finished()) as process:
            while finished() < parts:
                assert process.poll() is None
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
        assert not output.exists()
    done = finished()
    assert 8 <= done < 20
    assert start(output, 0).communicate(timeout=60)[0].split() == ["50"] * (20 - done)
    assert output.read_bytes() == whole.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([path.name, output.name, whole.name])


@pytest.mark.parametrize("ending", FORMATS)
def test_a_chunk_is_bounded_in_rows_and_in_size_and_few_are_held(
    ending: str, served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_readers, "CHUNK_ROWS", 100)
    monkeypatch.setattr(table_readers, "CHUNK_SIZE", 10_000)
    monkeypatch.setattr(bulk, "cores", lambda: 2)
    texts = ["card"] * 5000 + ["card " * 100] * 100 + ["card " * 3000, "card"]
    path = write(tmp_path / f"in{ending}", [{"text": text} for text in texts])
    _, pieces = table_readers.read_chunks(path, "text")
    lengths = [[len(text or "") for text in piece.texts] for piece in pieces]
    assert sum(map(len, lengths)) == len(texts)
    assert max(map(len, lengths)) <= 100
    assert max(sum(piece) for piece in lengths if len(piece) > 1) <= 10_000
    # Those that are read and not yet written: one a core, one that waits, one in hand.
    write_part, read_chunks, held, most = bulk._write, table_readers.read_chunks, set[int](), 0

    def reading(*inputs: Any) -> Any:
        header, pieces = read_chunks(*inputs)

        def noted() -> Any:
            nonlocal most
            for place, piece in enumerate(pieces):
                held.add(place)
                most = max(most, len(held))
                yield piece

        return header, noted()

    def writing(*inputs: Any) -> int:
        rows = write_part(*inputs)
        held.discard(int(inputs[-1].stem))
        return rows

    monkeypatch.setattr("tokensieve.inference.bulk.table_readers.read_chunks", reading)
    monkeypatch.setattr(bulk, "_write", writing)
    predict_file(served.folder, path, tmp_path / f"out{ending}")
    assert 2 <= most <= 4


def test_scoring_imports_no_training_or_orchestration(served: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", [{"text": "card"}])
    program = (
        "import sys; from pathlib import Path; from tokensieve.inference.bulk import predict_file; "
        "predict_file(*map(Path, sys.argv[1:])); print(*sys.modules)"
    )
    arguments = [str(served.folder), str(path), str(tmp_path / "out.csv")]
    loaded = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "transformers", "pandas", "mlflow", "prefect", "dvc"} & set(loaded)


def test_memory_does_not_grow_with_the_texts(served: Any, tmp_path: Path) -> None:
    path = write(
        tmp_path / "in.csv", [{"text": "my card is lost " * 750_000}] * 3
    )  # twelve million characters each
    program = (
        "import sys; from pathlib import Path; from tokensieve.inference.bulk import predict_file; "
        "predict_file(*map(Path, sys.argv[1:]))\n"
        # Not ru_maxrss, which a new process takes over from the one that starts it.
        "print(next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')) "
        "// 1024)"
    )
    arguments = [str(served.folder), str(path), str(tmp_path / "out.csv")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=100
    )
    # With every text tokenized as a whole it took 6 GB.
    assert int(done.stdout) < 600


def test_few_bytes_are_held(served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "IN_MEMORY", 50_000)
    monkeypatch.setattr(bulk, "cores", lambda: 8)
    path = write(tmp_path / "in.jsonl", [{"text": "card " * 4_000} for _ in range(30)])
    monkeypatch.setattr(table_readers, "CHUNK_SIZE", 20_000)
    write_part, now, most, lock = bulk._write, 0, 0, threading.Lock()

    def writing(*inputs: Any) -> int:
        nonlocal now, most
        with lock:
            now += inputs[1].size
            most = max(most, now)
        time.sleep(0.01)
        rows = write_part(*inputs)
        with lock:
            now -= inputs[1].size
        return rows

    monkeypatch.setattr(bulk, "_write", writing)
    assert predict_file(served.folder, path, tmp_path / "out.jsonl").rows == 30
    assert 20_000 < most <= 50_000


CELLS = ["=1+1", "- one item", "-5", "'+49", "@ann", "\ttab", "card"]


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_no_cell_is_a_formula_and_each_is_read_as_it_was(
    ending: str, served: Any, predictor: Predictor, tmp_path: Path
) -> None:
    rows = [{"text": cell, "=key": cell} for cell in CELLS]
    source, table = write(tmp_path / "in.jsonl", rows), tmp_path / f"out{ending}"
    predict_file(served.folder, source, table)
    found = read(table)
    assert [*found[0]] == ["text", "'=key", *ANSWERS]
    safe = ["'=1+1", "'- one item", "-5", "''+49", "'@ann", "'\ttab", "card"]
    assert [(row["text"], row["'=key"]) for row in found] == list(zip(safe, safe, strict=True))
    check(found, predictor.predict(CELLS))
    predict_file(served.folder, table, tmp_path / "again.jsonl", prefix="new_")
    again = read(tmp_path / "again.jsonl")
    assert [(row["text"], row["=key"]) for row in again] == list(zip(CELLS, CELLS, strict=True))
    check([{name: row[f"new_{name}"] for name in ANSWERS} for row in again], predictor.predict(CELLS))
