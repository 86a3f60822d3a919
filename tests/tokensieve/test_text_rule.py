"""Texts of several columns: one rule in files, exported models, tables, Python and MLflow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tokensieve.data.raw_data import read_examples
from tokensieve.errors import InputError
from tokensieve.export.triton import config
from tokensieve.inference.bulk import predict_file
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.mlflow_model import NO_LABEL, TextClassifier
from tokensieve.inference.predictor import Predictor
from tokensieve.inference.shared_predictor import SharedPredictor, save_manifest
from tokensieve.settings import Settings, render
from tokensieve.text_rule import TextRule, join_columns

COLUMNS = ("subject", "body")
RULE = TextRule(COLUMNS)
ROWS: list[dict[str, str | None]] = [
    {"subject": "card", "body": "where is my card"},
    {"subject": None, "body": "send money"},
    {"subject": " ", "body": ""},
]


@pytest.fixture
def folder(served: Any, tmp_path: Path) -> Path:
    made: Path = served.write(tmp_path / "model")
    replace(served.manifest, text_columns=COLUMNS).save(made)
    return made


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["a", "b"], "a\nb"),
        (["", "b"], "b"),
        (["a", None], "a"),
        ([None, None], None),
        ([" ", None], ""),
        ([" a ", "b\nc", "d"], " a \nb\nc\nd"),
        ([" "], " "),
        ([None], None),
    ],
)
def test_values_are_joined_by_line_feeds_without_blank_ones(
    values: list[str | None], text: str | None
) -> None:
    assert join_columns(values) == text


def test_a_row_is_an_object_with_all_columns_or_a_joined_text() -> None:
    assert RULE.texts(["as it is", ROWS[0], ROWS[1]]) == [
        "as it is",
        "card\nwhere is my card",
        "send money",
    ]
    assert TextRule().texts(["a"]) == ["a"]
    for given, words in (
        ({"subject": "a"}, r"texts\[0\] has no 'body'; the model reads the columns 'subject', 'body'"),
        ({"subject": "a", "body": "b", "id": "7"}, r"texts\[0\] has 'id'; the model reads the columns"),
        ({"subject": "a", "body": 7}, r"texts\[0\]: 'body' is not a text; give a string, or null"),
    ):
        with pytest.raises(InputError, match=words):
            RULE.texts([given])  # type: ignore[list-item]
    with pytest.raises(InputError, match="is an object; the model reads one text per row: give a string"):
        TextRule().texts([{"text": "a"}])
    for rule in (TextRule(), RULE):
        with pytest.raises(InputError, match=r"texts\[0\] is None; give a string|texts\[0\] is 'None'"):
            rule.texts([None])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        RULE.texts("one text")


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_training_reads_the_columns_of_each_format(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"mails{ending}"
    rows = [row | {"label": "a"} for row in ROWS[:2]]
    if ending == ".parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif ending == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        mark = "\t" if ending == ".tsv" else ","
        lines = (mark.join(row[name] or "" for name in ("label", *COLUMNS)) for row in rows)
        path.write_text("\n".join([mark.join(["label", *COLUMNS]), *lines]) + "\n")
    assert read_examples(path, COLUMNS).texts == ["card\nwhere is my card", "send money"]
    with pytest.raises(
        InputError,
        match=r"no column 'title'; it has .*: name the right one with --set "
        r'"data\.text_column=\[COLUMN, COLUMN\]"',
    ):
        read_examples(path, ("title", "body"))


def test_the_setting_is_a_column_or_a_list_of_columns(tmp_path: Path) -> None:
    from tokensieve.settings import assigned

    path = tmp_path / "params.yaml"
    found = assigned(path, ["data.text_column=[subject, 'my body']"])
    assert found.data.text_columns == ("subject", "my body")
    assert found.data.text_rule == TextRule(("subject", "my body"))
    assert "  text_column: [subject, my body]  # " in render(found)
    path.write_text(render(found))
    assert Settings.load(path) == found
    assert Settings().data.text_rule == TextRule()
    for value, words in (
        (["a"], "data.text_column is a list of 1; use text, or a list of different texts"),
        (["a", "a"], "data.text_column has .a. 2 times; name it once"),
        (["a", 7], "data.text_column contains '7'; use texts in quotes"),
        (["a", "label"], "data.text_column and data.label_column are both 'label'"),
        (7, "data.text_column is '7'; use text in quotes"),
    ):
        with pytest.raises(InputError, match=words):
            Settings.of({"data": {"text_column": value}})


def test_a_manifest_has_the_columns_and_older_versions_refuse_it(served: Any, folder: Path) -> None:
    tree = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert (tree["format"], tree["text_columns"]) == (5, ["subject", "body"])
    assert Manifest.load(folder).text_rule == RULE
    (folder / "manifest.json").write_text(json.dumps(tree | {"text_columns": ["subject"]}))
    with pytest.raises(InputError, match=r"text_columns is .* a list of at least two different names"):
        Manifest.load(folder)
    served.manifest.save(folder)
    assert "text_columns" not in (folder / "manifest.json").read_text()
    assert Manifest.load(folder).text_rule == TextRule()


def test_a_shared_model_has_the_columns(served: Any, tmp_path: Path) -> None:
    folder = served.write_shared(tmp_path)
    tasks = SharedPredictor.load(folder, 1).tasks
    save_manifest(folder, {name: replace(own, text_columns=COLUMNS) for name, own in tasks.items()}, 1)
    assert json.loads((folder / "shared.json").read_text(encoding="utf-8"))["format"] == 3
    shared = SharedPredictor.load(folder, 1)
    assert shared.predict_by_task(ROWS) == shared.predict_by_task(RULE.texts(ROWS))


def test_python_and_mlflow_predict_rows_as_joined_texts(folder: Path) -> None:
    predictor = Predictor.load(folder)
    texts = predictor.predict(["card\nwhere is my card", "send money", ""])
    assert predictor.predict(ROWS) == texts
    table = {name: [row[name] for row in ROWS] for name in COLUMNS}
    *found, blank = TextClassifier(predictor).predict(table)
    assert found == [prediction.columns() for prediction in texts[:2]]
    assert blank == NO_LABEL


def test_a_row_that_is_blank_after_cleaning_has_no_label(folder: Path) -> None:
    replace(Manifest.load(folder), clean="html").save(folder)
    table = {"subject": ["<br>", "<b>card</b>"], "body": ["&nbsp;", None]}
    blank, found = TextClassifier(Predictor.load(folder)).predict(table)
    assert blank == NO_LABEL
    assert found["label"]


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_file_with_the_columns_is_predicted(ending: str, folder: Path, tmp_path: Path) -> None:
    source, output = tmp_path / f"in{ending}", tmp_path / "out.jsonl"
    if ending == ".csv":
        source.write_text("id,body,subject\n1,where is my card,card\n2,send money,\n3,, \n")
    else:
        source.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    predict_file(folder, source, output)
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    expected = Predictor.load(folder).predict(ROWS[:2])
    assert [(row["label"], row["probability"]) for row in rows] == [
        *((own.label, own.probability) for own in expected),
        (None, None),  # all columns are blank
    ]
    assert rows[0]["body"] == "where is my card"
    # Columns of other names, and a file with texts that are joined already.
    predict_file(folder, source, tmp_path / "other.jsonl", ["subject", "body"])
    assert (tmp_path / "other.jsonl").read_bytes() == output.read_bytes()
    predict_file(folder, source, tmp_path / "one.jsonl", "body")
    with pytest.raises(InputError, match="has no column 'title'"):
        predict_file(folder, source, output, ["title", "body"])


def test_config_of_triton_has_the_columns(served: Any) -> None:
    assert "text_columns" not in config("classifier", served.manifest)
    shown = config("classifier", replace(served.manifest, text_columns=COLUMNS))
    assert 'key: "text_columns"\n  value: { string_value: "[\\"subject\\", \\"body\\"]" }' in shown
