from __future__ import annotations

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


def test_several_settings_of_a_remedy_belong_together() -> None:
    message = "no column: --set data.text_column=[COLUMN, COLUMN] data.label_column=COLUMN; if this is a row"
    command = retyped(["run", "--set=data.label_column=x"], ["data.label_column=x"], message)
    assert command.endswith(
        "tokensieve run --set 'data.text_column=[COLUMN, COLUMN]' data.label_column=COLUMN"
    )


def test_without_a_setting_in_the_message_the_command_is_the_same() -> None:
    words = ["run", "--data", "https://me:secret@host/x.csv", "--set", "mask.budget=0.2"]
    assert retyped(words, words[4:], "the file is empty") == (
        "The settings of this command are undone. After the correction, type: "
        "tokensieve run --data https://host/x.csv --set mask.budget=0.2"
    )


@pytest.mark.parametrize(
    ("assignments", "message"), [([], NO_LABEL), (["mask.budget=2"], "--set mask.budget is 2")]
)
def test_a_command_without_settings_or_with_a_wrong_one_is_not_repeated(
    assignments: list[str], message: str
) -> None:
    assert retyped(["run", "--set", *assignments], assignments, message) == ""


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
    assert main([*arguments[:-1], "mask.budget=0.2", "--log-format", "json"]) == 2
    assert "type: tokensieve" not in capsys.readouterr().err
