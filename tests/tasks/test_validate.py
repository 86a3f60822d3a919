import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks import validate as validation
from tasks.reporting.shown import data_notes, data_warnings
from tasks.validate import validate
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import CHECKS, Settings

Rows = list[tuple[str, str]]
GOOD: Rows = [
    ("lost my card", "card"),
    ("card is gone", "card"),
    ("send money", "transfer"),
    ("pay a friend", "transfer"),
]
WARN = Settings.of({"validate": {"errors": []}})
PUBLIC = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Layout]:
    """Writes the parts given as rows of text and label (out of scope: texts), and the champion's
    labels.
    """

    def write(train: Rows = GOOD, champion: list[str] | None = None, **parts: Any) -> Layout:
        layout = Layout(tmp_path)
        layout.raw.mkdir(parents=True)
        for part, rows in {"train": train, **parts}.items():
            trees = [
                {"text": row} if part == "oos" else dict(zip(("text", "label"), row, strict=True))
                for row in rows
            ]
            (layout.raw / f"{part}.jsonl").write_text(
                "".join(json.dumps(tree) + "\n" for tree in trees), encoding="utf-8"
            )
        layout.champion.write_text(
            json.dumps(
                {}
                if champion is None
                else {"name": "m", "version": "1", "labels": champion, "data_hash": "h"}
            ),
            encoding="utf-8",
        )
        return layout

    return write


def report_of(layout: Layout) -> dict[str, Any]:
    return json.loads((layout.validation / "report.json").read_text(encoding="utf-8"))


def docs_of(layout: Layout) -> str:
    return (layout.validation / "docs" / "index.html").read_text(encoding="utf-8")


def failed(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the checks that failed, without that of rare classes: most data here are small."""
    return {
        (check["name"], check["part"]): check
        for check in report["checks"]
        if not check["passed"] and check["name"] != "rare_class"
    }


def test_good_data_passes_every_check(project: Callable[..., Layout]) -> None:
    layout = project(test=[("where is it", "card")], oos=["sing a song"], champion=["card", "transfer"])
    report = validate(layout, Settings())
    assert report == report_of(layout)
    assert (report["rows"], report["classes"]) == ({"train": 4, "test": 1, "oos": 1}, 2)
    assert (report["errors"], report["warnings"], failed(report)) == (0, 1, {})  # rare classes
    assert {check["name"] for check in report["checks"]} == set(CHECKS) - {"ids"}  # it needs data.id_column
    assert [check["name"] for check in report["checks"] if check["part"] == "oos"] == [
        "columns",
        "empty",
        "overlong",
        "control",
        "encoding",
        "truncated",
        "markup",
        "quoted",
    ]


BAD = [
    ("empty", "train", {"train": [*GOOD, ("  ", "card"), ("hello", "x"), ("hi", "x")]}, [5]),
    (
        "unlabelled",
        "train",
        {"train": [*GOOD, ("  ", "card"), ("hello", ""), ("hi", " \u200b"), ("yes", None), ("no", math.nan)]},
        [6, 7, 8, 9],
    ),
    ("unlabelled", "test", {"test": [("hello", "card"), ("hi", None)]}, [2]),
    ("truncated", "train", {"train": [*GOOD, ("card " * 126, "card"), ("card " * 127, "card")]}, [6]),
    ("truncated", "oos", {"oos": ["sing " * 200]}, [1]),
    ("overlong", "train", {"train": [*GOOD, ("é" * 200_000, "card")]}, [5]),
    ("control", "train", {"train": [*GOOD, ("a\tb\nc", "card"), ("a\x00b", "card")]}, [6]),
    (
        "encoding",
        "train",
        {"train": [*GOOD, ("cafÃ©", "card"), ("caf\ufffd", "card"), ("café", "card")]},
        [5, 6],
    ),
    ("class_size", "train", {"train": [*GOOD, ("alone", "rare")]}, [5]),
    ("duplicate", "train", {"train": [*GOOD, ("Lost my CARD ", "card")]}, [5]),
    ("conflict", "train", {"train": [("lost my card", "transfer"), *GOOD]}, [1, 2]),
    ("conflict", "validation", {"validation": [("gone", "card"), ("Gone", "transfer")]}, [1, 2]),
    ("leak", "test", {"test": [("fine", "card"), ("SEND money", "transfer")]}, [2]),
    ("unknown_label", "train", {"champion": ["card"]}, [3]),
    ("unknown_label", "validation", {"validation": [("gone", "Card"), ("away", "Card")]}, [1]),
    ("unknown_label", "test", {"test": [("gone", "card"), ("hello", "greet")]}, [2]),
    ("vanished_label", "train", {"champion": ["card", "greet", "transfer"]}, [None]),
    ("empty", "oos", {"oos": ["sing", ""]}, [2]),
    ("overlong", "oos", {"oos": ["x" * 20_001]}, [1]),
    ("control", "oos", {"oos": ["a\x1b"]}, [1]),
    ("encoding", "oos", {"oos": ["it â€™s"]}, [1]),
]


@pytest.mark.parametrize(("name", "part", "data", "rows"), BAD)
def test_each_check_finds_its_rows(
    project: Callable[..., Layout], name: str, part: str, data: dict[str, Any], rows: list[int]
) -> None:
    layout = project(**data)
    try:
        validate(layout, WARN)
    except InputError:
        assert name in ("unknown_label", "unlabelled")
    check = failed(report_of(layout))[name, part]
    assert (check["count"], [row["row"] for row in check["rows"]]) == (len(rows), rows)


@pytest.mark.parametrize("name", ["empty", "duplicate"])
def test_settings_say_which_checks_stop(project: Callable[..., Layout], name: str) -> None:
    layout = project(train=[*GOOD, ("lost my card", "card"), ("", "card")])
    with pytest.raises(InputError, match=rf"^train.jsonl, {name}: 1 row .*"):
        validate(layout, Settings.of({"validate": {"errors": [name]}}))
    severities = {check["name"]: check["severity"] for check in failed(report_of(layout)).values()}
    assert severities == {"empty": "warning", "duplicate": "warning"} | {name: "error"}
    assert (report_of(layout)["errors"], report_of(layout)["warnings"]) == (1, 2)


UNLABELLED: Rows = [*GOOD, *((f"no label {i}", "") for i in range(53))]


def test_a_row_without_a_label_is_refused_whatever_stops_and_the_remedy_named(
    project: Callable[..., Layout],
) -> None:
    layout = project(train=UNLABELLED)
    with pytest.raises(
        InputError, match=r"^train.jsonl, unlabelled: 53 rows without a label .* --set data\.unlabelled=drop$"
    ):
        validate(layout, WARN)
    assert report_of(layout)["classes"] == 2


def test_unlabelled_rows_are_dropped_and_counted_if_set(project: Callable[..., Layout]) -> None:
    layout = project(train=UNLABELLED, test=[("where is it", "card"), ("what", "")])
    report = validate(layout, Settings.of({"data": {"unlabelled": "drop"}}))
    assert (report["rows"], report["unlabelled"], report["classes"]) == (
        {"train": 4, "test": 1},
        {"train": 53, "test": 1},
        2,
    )
    assert failed(report) == {}
    messages = [check["message"] for check in report["checks"] if check["name"] == "unlabelled"]
    assert messages == [
        "train.jsonl, unlabelled: 53 rows without a label dropped (data.unlabelled=drop)",
        "test.jsonl, unlabelled: 1 row without a label dropped (data.unlabelled=drop)",
    ]
    assert data_notes(report) == messages
    assert not set(messages) & set(data_warnings(report, {}))
    with pytest.raises(InputError, match=r"no row has a label; is column 'label' \(data\.label_column\)"):
        validate(
            project_of(layout, "train", [("a", ""), ("b", "")]), Settings.of({"data": {"unlabelled": "drop"}})
        )


def project_of(layout: Layout, part: str, rows: Rows) -> Layout:
    """The project with other rows in one part."""
    lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in rows]
    (layout.raw / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    return layout


def test_truncated_texts_are_reported_with_the_loss_and_the_remedy(
    project: Callable[..., Layout], tiny_model: Path
) -> None:
    layout = project(
        train=[*GOOD, *((f"{i} " + "card " * words, "card") for i, words in enumerate((100, 200, 400)))]
    )
    base = {"model": str(tiny_model), "max_length": 32}
    report = validate(layout, Settings.of({"base": base}))
    assert failed(report)["truncated", "train"]["message"] == (
        "train.jsonl, truncated: 42.9% of the texts (3 of 7) have more than 32 tokens (base.max_length); "
        "in half of these at least 171 tokens are not read (84% of the text): "
        "raise base.max_length (at most 64 for this model), or read both ends with base.truncation=head_tail"
    )
    assert report["truncated"] == {
        "texts": 7,
        "truncated": 3,
        "share": 0.4286,
        "median_tokens_unread": 171,
        "median_share_unread": 0.8424,
        "max_length": 32,
    }
    told = failed(
        validate(layout, Settings.of({"base": base | {"max_length": 64, "truncation": "head_tail"}}))
    )
    assert told["truncated", "train"]["message"].endswith("of the text): shorten the texts")
    with pytest.raises(InputError, match=r"truncated: 42\.9% of the texts"):
        validate(layout, Settings.of({"base": base, "validate": {"errors": ["truncated"]}}))


def test_few_truncated_texts_are_no_warning(project: Callable[..., Layout]) -> None:
    layout = project(train=[*((f"{i} card", "card") for i in range(200)), *GOOD, ("card " * 200, "card")])
    report = validate(layout, Settings())
    assert failed(report) == {}
    assert report["truncated"]["truncated"] == 1


def test_a_base_model_that_does_not_suit_the_settings_is_refused_first(
    project: Callable[..., Layout], tiny_model: Path
) -> None:
    layout = project()
    with pytest.raises(
        InputError,
        match=r"^base\.max_length is 65; allowed for base\.model .*: 4 to 64, its number of positions$",
    ):
        validate(layout, Settings.of({"base": {"model": str(tiny_model), "max_length": 65}}))
    assert not layout.validation.exists()


def test_the_error_names_file_check_rows_limit_and_remedy(project: Callable[..., Layout]) -> None:
    layout = project(train=[*GOOD, ("too long for this", "card"), ("", "transfer")])
    with pytest.raises(InputError) as raised:
        validate(layout, Settings.of({"validate": {"max_characters": 16}}))
    assert str(raised.value).splitlines() == [
        "2 checks of the data failed (validate.errors names the checks that stop a run):",
        "train.jsonl, empty: 1 row with an empty text (line 6); fill them in or remove the rows",
        "train.jsonl, overlong: 1 row with more than 16 characters (line 5); cut the texts, "
        "remove the rows or raise validate.max_characters",
    ]
    # Texts stay out of the message, which schedulers log.
    assert raised.value.detail.splitlines() == [
        "  line 6: text '', label 'transfer'",
        "  line 5: text 'too long for this', label 'card'",
        f"All rows at fault: {layout.validation / 'faults.csv'}",
    ]
    assert "overlong" in docs_of(layout)


@pytest.mark.parametrize(
    ("train", "shown"),
    [
        ([("a", "x"), ("b", "x")], "1 class, 'x'"),
        ([("a", ""), ("b", "")], "0 classes"),
        ([(f"{i % 7}", f"{i % 3}") for i in range(21)], "3 classes"),
    ],
)
def test_too_few_and_too_many_classes_are_refused(
    project: Callable[..., Layout], train: Rows, shown: str
) -> None:
    layout = project(train=train)
    with pytest.raises(
        InputError, match=re.escape(f"train.jsonl, classes: {shown}; allowed: 2 to 2 (validate.max_classes)")
    ):
        validate(layout, Settings.of({"validate": {"max_classes": 2}}))


def test_a_file_that_cannot_be_read_is_an_error_and_the_others_are_checked(
    project: Callable[..., Layout],
) -> None:
    layout = project(test=[("", "card")])
    (layout.raw / "train.jsonl").write_text('{"utterance": "a", "label": "x"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"no column .text.; .* --set data\.text_column=COLUMN"):
        validate(layout, WARN)
    report = report_of(layout)
    assert set(failed(report)) == {("columns", "train"), ("empty", "test")}
    assert report["rows"] == {"train": 0, "test": 1}


def test_labels_that_train_lacks_stop_whatever_the_settings(project: Callable[..., Layout]) -> None:
    layout = project(test=[("gone", "Card")])
    with pytest.raises(InputError, match=r"test.jsonl, unknown_label: 1 class not in train \('Card'\)"):
        validate(layout, WARN)


def test_a_few_broken_texts_warn_and_many_stop(project: Callable[..., Layout]) -> None:
    rows = [(f"text {i}", "card" if i % 2 else "transfer") for i in range(199)]
    layout = project(train=[*rows, ("cafÃ©", "card")])
    assert failed(validate(layout, Settings()))["encoding", "train"]["severity"] == "warning"
    shutil.rmtree(layout.raw)
    with pytest.raises(InputError, match=r"train\.jsonl, encoding: 3 rows"):
        validate(project(train=[*rows, *[(f"cafÃ© {i}", "card") for i in range(3)]]), Settings())


def test_lone_surrogates_are_refused_as_unreadable(project: Callable[..., Layout]) -> None:
    layout = project(train=[*GOOD, ("half \ud83d", "card")])
    with pytest.raises(InputError, match=r"train\.jsonl, row 5 \(line 5\): .*half of a character"):
        validate(layout, Settings())
    assert ("columns", "train") in failed(report_of(layout))


def test_the_docs_hold_no_markup_of_the_data_and_load_nothing(project: Callable[..., Layout]) -> None:
    script = "<script>alert(1)</script>"
    layout = project(
        train=[
            *GOOD,
            (script, "card"),
            (script, f"{script}label"),
            (f"{script} cafÃ©", f"{script}label"),
            (f"\x00{script}", "card"),
        ],
        test=[(script, f"{script}other")],
        champion=[f"{script}gone"],
    )
    with pytest.raises(InputError):
        validate(layout, Settings())
    docs = docs_of(layout)
    assert "<script" not in docs
    assert not re.search(r"(src|href)\s*=|url\(|@import", docs)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;gone" in docs
    assert "2 unexpected values found" in docs  # Great Expectations' own account is there


def test_messages_hold_no_text(project: Callable[..., Layout]) -> None:
    secret = "my pin is 1234"
    layout = project(
        train=[*GOOD, (secret, "card"), (secret, "transfer"), (f"{secret}\x00", "card")],
        test=[(secret, "card")],
    )
    report = validate(layout, WARN)
    assert {"duplicate", "conflict", "leak", "control"} == {name for name, _ in failed(report)}
    assert not [check["message"] for check in report["checks"] if "1234" in check["message"]]
    assert "1234" not in docs_of(layout)


def test_the_same_data_gives_the_same_bytes(project: Callable[..., Layout]) -> None:
    layout = project(
        train=[*GOOD, ("lost my card", "transfer")], test=[("send money", "card")], champion=["b", "a"]
    )
    validate(layout, WARN)
    before = {path.name: path.read_bytes() for path in layout.validation.rglob("*") if path.is_file()}
    validate(layout, WARN)
    assert {path.name: path.read_bytes() for path in layout.validation.rglob("*") if path.is_file()} == before
    assert set(before) == {"report.json", "index.html", "faults.csv"}


def test_a_crash_leaves_the_earlier_report(
    project: Callable[..., Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = project()
    report = validate(layout, Settings())

    def crash(*_: object) -> str:
        raise OSError("no space")

    monkeypatch.setattr(validation, "data_docs", crash)
    with pytest.raises(OSError, match="no space"):
        validate(layout, Settings())
    assert report_of(layout) == report
    assert "expectations met" in docs_of(layout)


def test_an_expectation_that_cannot_be_evaluated_is_no_finding(
    project: Callable[..., Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame({"row": [1], "text": ["a"], "label": ["b"]})
    monkeypatch.setattr(validation.Table, "frame", lambda _: frame)
    with pytest.raises(RuntimeError, match="could not evaluate"):
        validate(project(), Settings())


def test_masses_of_findings_stay_small_and_silent(
    project: Callable[..., Layout], capfd: pytest.CaptureFixture[str]
) -> None:
    layout = project(
        train=[(f"text {i}", f"class {i}") for i in range(3000)], champion=[f"gone {i}" for i in range(3000)]
    )
    with pytest.raises(InputError) as raised:
        validate(layout, Settings())
    assert "3,000 classes with fewer than 2 examples ('class 0', 'class 1', 'class 2' and 2,997 more)" in str(
        raised.value
    )
    assert len(str(raised.value)) < 2000
    checks = failed(report_of(layout))
    assert {key[0]: (check["count"], len(check["rows"])) for key, check in checks.items()} == {
        "classes": (1, 0),
        "class_size": (3000, 20),
        "unknown_label": (3000, 20),
        "vanished_label": (3000, 20),
    }
    assert len(docs_of(layout)) < 100_000
    assert capfd.readouterr() == ("", "")


def test_long_texts_are_cut_in_the_report(project: Callable[..., Layout]) -> None:
    layout = project(train=[*GOOD, ("x" * 200_000, "card")])
    validate(layout, WARN)
    assert len(failed(report_of(layout))["overlong", "train"]["rows"][0]["text"]) == 200


@pytest.mark.public
@pytest.mark.skipif(
    not PUBLIC.is_dir(),
    reason=f"the public data sets are not at {PUBLIC.parent.name}/{PUBLIC.name} beside the repository",
)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("banking77", {("duplicate", "train"): 4, ("leak", "test"): 7}),
        ("snips", {("duplicate", "train"): 207, ("leak", "test"): 11, ("encoding", "train"): 24}),
        ("clinc150", {("leak", "test"): 2}),
        ("hwu64", {("duplicate", "train"): 3}),
    ],
)
def test_public_data_has_the_known_flaws_and_no_error(
    tmp_path: Path, name: str, expected: dict[tuple[str, str], int]
) -> None:
    layout = Layout(tmp_path)
    layout.raw.mkdir(parents=True)
    for part, file in {
        "train": "train",
        "validation": "validation",
        "test": "test",
        "oos": "oos_test",
    }.items():
        if (PUBLIC / name / f"{file}.csv").exists():
            shutil.copy(PUBLIC / name / f"{file}.csv", layout.raw / f"{part}.csv")
    report = validate(layout, Settings())
    assert {key: check["count"] for key, check in failed(report).items()} == expected
    assert report["errors"] == 0


SEVERAL: Rows = [
    ("lost my card", "card|lost"),
    ("card is gone", "lost|card"),
    ("hello", ""),
    ("pay a friend", "pay"),
    ("pay me", "pay"),
]


def several(**sections: Any) -> Settings:
    return Settings.of({"data": {"label_separator": "|"}, **sections})


def test_multilabel_texts_pass_every_check(project: Callable[..., Layout]) -> None:
    layout = project(
        train=SEVERAL,
        test=[("gone", "card|pay"), ("hey", "")],
        oos=["sing"],
        champion=["card", "lost", "pay"],
    )
    report = validate(layout, several())
    assert (report["rows"], report["classes"], failed(report)) == ({"train": 5, "test": 2, "oos": 1}, 3, {})
    assert {check["name"] for check in report["checks"]} == set(CHECKS) - {"unlabelled", "ids"}


@pytest.mark.parametrize(
    ("name", "part", "data", "rows", "labels"),
    [
        ("class_size", "train", {"train": [*SEVERAL, ("block it", "lost|rare")]}, [6], ["rare"]),
        ("conflict", "train", {"train": [*SEVERAL, ("Hello", "pay")]}, [3, 6], ["", "pay"]),
        ("unknown_label", "test", {"test": [("fine", "card"), ("bad", "a|card|b")]}, [2, 2], ["a", "b"]),
        ("unknown_label", "train", {"champion": ["card", "pay"]}, [1], ["lost"]),
        ("vanished_label", "train", {"champion": ["card", "card|lost"]}, [None], ["card|lost"]),
        ("empty", "train", {"train": [*SEVERAL, ("", "pay")]}, [6], ["pay"]),
    ],
)
def test_a_class_of_several_labels_is_one_label(
    project: Callable[..., Layout],
    name: str,
    part: str,
    data: dict[str, Any],
    rows: list[int],
    labels: list[str],
) -> None:
    layout = project(**{"train": SEVERAL} | data)
    try:
        validate(layout, several(validate={"errors": []}))
    except InputError:
        assert name in ("unknown_label", "unlabelled")
    check = failed(report_of(layout))[name, part]
    assert [(row["row"], row["label"]) for row in check["rows"]] == list(zip(rows, labels, strict=True))


def test_texts_of_which_none_has_a_label_are_refused(project: Callable[..., Layout]) -> None:
    with pytest.raises(InputError, match=r"train\.jsonl, classes: 0 classes"):
        validate(project(train=[("a", ""), ("b", "|")]), several())


def suite(layout: Layout, *expectations: dict[str, Any]) -> Settings:
    path = layout.root / "suite.json"
    path.write_text(json.dumps({"name": "mine", "expectations": expectations}), encoding="utf-8")
    return Settings.of({"validate": {"suite": "suite.json"}})


def test_a_projects_own_suite_is_checked_with_its_severity(project: Callable[..., Layout]) -> None:
    layout = project(test=[("call 555", "card")], oos=["555"])
    kind = {
        "type": "expect_column_values_to_not_match_regex",
        "kwargs": {"column": "text", "regex": "\\d{3}"},
    }
    labels = {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "label", "value_set": ["card", "transfer"]},
    }
    report = validate(layout, suite(layout, kind | {"severity": "warning"}, labels))
    assert {key: check["message"] for key, check in failed(report).items()} == {
        (kind["type"], part): f"{part}.jsonl, {kind['type']}: not met in 1 row (line 1); see validate.suite"
        for part in ("test", "oos")
    }
    assert "\\d{3}" in docs_of(layout)
    assert "555" not in docs_of(layout)
    with pytest.raises(
        InputError, match=r"test\.jsonl, expect_column_values_to_not_match_regex: not met in 1 row"
    ):
        validate(layout, suite(layout, kind))


@pytest.mark.parametrize(
    ("expectation", "words"),
    [
        ({"type": "expect_miracles", "kwargs": {}}, "expect_miracles not found"),
        ({"type": "expect_column_values_to_be_unique", "kwargs": {}}, "field required"),
        (
            {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
            "cannot be evaluated .*columns: row, text",
        ),
        (3, "validate.suite is '.*suite.json'"),
    ],
)
def test_a_suite_that_cannot_be_used_is_refused(
    project: Callable[..., Layout], expectation: Any, words: str
) -> None:
    layout = project()
    with pytest.raises(InputError, match=words):
        validate(layout, suite(layout, expectation))
    (layout.root / "suite.json").unlink()
    with pytest.raises(InputError, match="the file does not exist; give a JSON file"):
        validate(layout, Settings.of({"validate": {"suite": "suite.json"}}))


LOOKALIKES = [("a", "Card"), ("b", "card"), ("c", "card"), ("d", "card\u200b"), ("e", "fee"), ("f", "fee")]


def test_labels_that_look_alike_are_warned_of_with_the_setting(project: Callable[..., Layout]) -> None:
    report = validate(project(LOOKALIKES), WARN)
    assert failed(report)["lookalike", "train"]["message"] == (
        "train.jsonl, lookalike: 3 classes whose label looks like another label (case, blanks, hyphens, "
        "invisible characters, Unicode form) ('Card', 'card', 'card\\u200b'); correct them, or merge them: "
        "--set data.normalize_labels=true"
    )


def test_labels_that_look_alike_are_merged_if_set(project: Callable[..., Layout]) -> None:
    report = validate(project(LOOKALIKES), Settings.of({"data": {"normalize_labels": True}}))
    assert report["classes"] == 2
    assert data_warnings(report, {})[0].startswith("train.jsonl, rare_class: 2 classes with fewer than 8")
    assert not any("merged" in message for message in data_warnings(report, {}))
    assert data_notes(report) == [
        "train.jsonl, lookalike: 2 labels merged that look like another ('Card' into 'card', 'card\\u200b' "
        "into 'card'), in 2 rows (data.normalize_labels=true)",
    ]


RARE = [
    (f"text {i}", label) for i, label in enumerate(["card"] * 9 + ["fee"] * 8 + ["tax"] * 4 + ["pin"] * 3)
]


@pytest.mark.parametrize(
    ("rare", "classes", "message"),
    [
        (
            "keep",
            4,
            "2 classes with fewer than 8 examples ('tax', 'pin'); add examples, or remove the classes "
            "(data.rare=drop)",
        ),
        (
            "drop",
            2,
            "2 classes with fewer than 8 training texts dropped ('pin' 3, 'tax' 4), 7 rows (data.rare=drop)",
        ),
        (
            "merge",
            3,
            "2 classes with fewer than 8 training texts merged into 'other' ('pin' 3, 'tax' 4), 7 rows "
            "(data.rare=merge); 1 class with fewer than 8 examples ('other'); add examples, or "
            "remove the classes (data.rare=drop)",
        ),
    ],
)
def test_rare_classes_are_counted_and_named(
    project: Callable[..., Layout], rare: str, classes: int, message: str
) -> None:
    report = validate(project(RARE), Settings.of({"data": {"rare": rare}}))
    assert report["classes"] == classes
    shown = data_notes(report) if rare == "drop" else data_warnings(report, {})
    assert shown == [f"train.jsonl, rare_class: {message}"]


@pytest.mark.parametrize(
    ("small", "rare", "remedy"),
    [
        (["tax", "pin"], "keep", "merge or remove the classes (data.rare=merge or data.rare=drop)"),
        (["tax"], "keep", "remove the classes (data.rare=drop)"),
        (["tax"], "merge", "remove the classes (data.rare=drop)"),
        (["other"], "drop", "remove their rows"),
    ],
)
def test_only_settings_that_help_are_named_for_small_classes(
    small: list[str], rare: str, remedy: str, project: Callable[..., Layout]
) -> None:
    """A class `other` of one text is too small as well."""
    layout = project([*RARE[:17], *((f"{name} question", name) for name in small)])
    settings = Settings.of({"data": {"rare": rare}})
    with pytest.raises(InputError) as raised:
        validate(layout, settings)
    assert str(raised.value).endswith(f"; add examples, or {remedy}")


def test_rare_labels_of_multi_label_data_are_counted(project: Callable[..., Layout]) -> None:
    rows = [(text, f"{label}|all") for text, label in RARE]
    settings = Settings.of({"data": {"rare": "drop", "label_separator": "|"}})
    report = validate(project(rows), settings)
    assert report["classes"] == 3
    assert data_notes(report) == [
        "train.jsonl, rare_class: 2 classes with fewer than 8 training texts dropped ('pin' 3, 'tax' 4), "
        "7 rows (data.rare=drop)"
    ]


def test_small_classes_are_merged_if_their_labels_look_alike(project: Callable[..., Layout]) -> None:
    layout = project(train=[*GOOD, ("it is lost", "Card"), ("a song", "music")])
    validate(layout, WARN)
    message = failed(report_of(layout))["class_size", "train"]["message"]
    remedy = message.rpartition("; ")[2]
    assert remedy == (
        "'Card' looks like another label, so merge it: --set data.normalize_labels=true. Otherwise: add "
        "examples, or remove their rows"
    )
    three = Settings.of({"validate": {"errors": [], "min_examples_per_class": 3}})
    validate(layout, three)
    message = failed(report_of(layout))["class_size", "train"]["message"]
    assert message.endswith("or lower validate.min_examples_per_class (at least 2)")


def test_what_settings_changed_is_logged_as_a_note(
    project: Callable[..., Layout], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tokensieve")
    report = validate(project(LOOKALIKES), Settings.of({"data": {"normalize_labels": True}}))
    logged = [record.getMessage() for record in caplog.records if record.name == "tokensieve"]
    assert logged[0] == f"note: {data_notes(report)[0]}"
    assert logged[1:] == [f"warning: {message}" for message in data_warnings(report, {})]


def test_the_prompt_of_the_model_is_logged_and_counts_for_its_length(
    project: Callable[..., Layout], tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tokensieve")
    model, layout = Path(shutil.copytree(tiny_model, tmp_path / "model")), project()
    tree = {"prompts": {"query": "my card: "}, "default_prompt_name": "query"}
    (model / "config_sentence_transformers.json").write_text(json.dumps(tree), encoding="utf-8")
    truncated = {}
    for prompt in ("auto", "none"):
        base = {"model": str(model), "max_length": 12, "prompt": prompt}
        report = validate(layout, Settings.of({"base": base, "validate": {"errors": []}}))
        truncated[prompt] = report["truncated"]["truncated"]
    logged = [record.getMessage() for record in caplog.records if record.name == "tokensieve"]
    assert len([line for line in logged if "default prompt 'my card: ' is put in front" in line]) == 1
    assert truncated["auto"] > truncated["none"]


def test_warnings_are_logged_at_once(
    project: Callable[..., Layout], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tokensieve")
    report = validate(project(train=[*GOOD, ("lost my card", "transfer")]), Settings())
    logged = [record.getMessage() for record in caplog.records if record.name == "tokensieve"]
    assert logged == [f"warning: {message}" for message in data_warnings(report, {})]
    assert any("conflict: 2 rows" in message for message in logged)
