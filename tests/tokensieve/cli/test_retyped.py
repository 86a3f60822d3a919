from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tokensieve.cli.main import main
from tokensieve.cli.retyped import retyped

WORDS = ["run", "--data", "my mails.csv", "--set", "data.label_column=queue", "data.unlabelled=refuse"]
NO_LABEL = "some rows have no label; add the labels, or leave these rows out: --set data.unlabelled=drop"


def test_the_command_has_the_setting_that_the_message_names() -> None:
    assert retyped(WORDS, WORDS[4:], NO_LABEL) == (
        "The settings of this command are undone. With this correction, type: "
        "tokensieve run --data 'my mails.csv' --set data.label_column=queue data.unlabelled=drop"
    )


def test_faults_that_no_setting_corrects_come_first() -> None:
    empty = "a.csv, line 3: no text; remove it"
    assert retyped(WORDS, WORDS[4:], f"2 checks failed (some names):\n{empty}\n{NO_LABEL}") == (
        "The settings of this command are undone. After the other corrections, type: "
        "tokensieve run --data 'my mails.csv' --set data.label_column=queue data.unlabelled=drop"
    )
    both = (
        f"2 checks of the data failed:\n{NO_LABEL}\nlookalikes; merge them: --set data.normalize_labels=true"
    )
    assert retyped(WORDS, WORDS[4:], both).endswith(
        "With this correction, type: tokensieve run --data 'my mails.csv' --set data.label_column=queue "
        "data.unlabelled=drop data.normalize_labels=true"
    )


def test_several_settings_of_a_remedy_belong_together() -> None:
    message = "no column: --set data.text_column=[COLUMN, COLUMN] data.label_column=COLUMN; if this is a row"
    command = retyped(["run", "--set=data.label_column=x"], ["data.label_column=x"], message)
    assert command.endswith(
        "tokensieve run --set 'data.text_column=[COLUMN, COLUMN]' data.label_column=COLUMN"
    )


@pytest.mark.parametrize(
    ("message", "assignment"),
    [
        ('it has Text : write --set "data.text_column=Text "', "data.text_column=Text "),
        ("merge them: --set data.normalize_labels=true. Otherwise: add", "data.normalize_labels=true"),
        ("add --set data.label_separator='|'. In pandas", "data.label_separator=|"),
        ("use --set data.encoding=auto, or save the file", "data.encoding=auto"),
    ],
)
def test_a_setting_is_read_as_messages_write_it(message: str, assignment: str) -> None:
    command = retyped(["run", "--set", "mask.budget=0.2"], ["mask.budget=0.2"], message).partition("type: ")[
        2
    ]
    assert shlex.split(command) == ["tokensieve", "run", "--set", "mask.budget=0.2", assignment]


def test_a_setting_that_the_message_doubts_is_named() -> None:
    words = ["run", "--set", "base.model=nosuch", "mask.budget=0.2"]
    assert retyped(words, words[2:], "base.model nosuch was not found") == (
        "The settings of this command are undone. After the correction of base.model, type: "
        "tokensieve run --set base.model=nosuch mask.budget=0.2"
    )


def test_of_a_setting_that_is_given_twice_the_last_is_kept() -> None:
    words = ["run", "--set", "base.model=one", "mask.budget=0.2", "base.model=nosuch"]
    command = retyped(words, words[2:], "base.model nosuch was not found").partition(" of ")[2]
    assert command.endswith(
        "correction of base.model, type: tokensieve run --set base.model=nosuch mask.budget=0.2"
    )


def test_without_a_setting_in_the_message_the_command_is_the_same() -> None:
    words = ["run", "--data", "https://me:secret@host/x.csv", "--set", "mask.budget=0.2"]
    assert retyped(words, words[4:], "the file is empty") == (
        "The settings of this command are undone. After the correction, type: "
        "tokensieve run --data https://host/x.csv --set mask.budget=0.2"
    )


def test_a_command_with_a_setting_that_is_not_allowed_is_not_repeated() -> None:
    assert retyped(["run", "--set", "mask.budget=2"], ["mask.budget=2"], "--set: mask.budget is 2") == ""


def test_a_failed_command_prints_it_once_after_the_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data", "add", "--project", str(tmp_path), "--review", "no.csv", "--set", "mask.budget=0.2"]
    assert main(["init", str(tmp_path)]) == 0
    assert main(arguments) == 2
    *_, error, command = capsys.readouterr().err.splitlines()
    assert "no.csv does not exist" in error
    assert command.endswith(
        f"type: tokensieve data add --project {tmp_path} --review no.csv --set mask.budget=0.2"
    )
    assert main([*arguments, "--log-format", "json"]) == 2
    assert "type: tokensieve" not in capsys.readouterr().err
    assert main(arguments[:-2]) == 2
    assert "type: tokensieve" not in capsys.readouterr().err
