from __future__ import annotations

import pytest

from tokensieve.cli.renamed import with_new_names


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("version --data a.csv", "data add --data a.csv", "'version' is now 'data add'"),
        ("versions --project p", "data list --project p", "'versions' is now 'data list'"),
        ("restore abc", "data restore abc", "'restore' is now 'data restore'"),
        ("triton --model m", "export-triton --model m", "'triton' is now 'export-triton'"),
        (
            "export --shared-prefix a b --output c",
            "export-shared a b --output c",
            "'export' is now 'export-shared'",
        ),
        (
            "export --output c --shared-prefix=a",
            "export-shared --output c a",
            "'export' is now 'export-shared'",
        ),
        (
            "serve --queue 5 --batch=7 --interval 1 --queue 6",
            "serve --max-queue 5 --max-batch-tokens=7 --poll-interval 1 --max-queue 6",
            "--queue is now --max-queue, --batch is now --max-batch-tokens, "
            "--interval is now --poll-interval",
        ),
    ],
)
def test_old_names_are_replaced_and_reported_in_one_line(
    old: str, new: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert with_new_names(old.split()) == new.split()
    output, errors = capsys.readouterr()
    assert (output, errors) == ("", f"tokensieve: {line}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--version"],
        ["data", "list"],
        ["predict", "version"],
        ["promote", "--version", "3"],
        ["predict", "--queue"],
    ],
)
def test_other_arguments_stay(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert with_new_names(arguments) == arguments
    assert capsys.readouterr().err == ""
