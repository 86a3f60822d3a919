from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.command import reports_input_errors
from tokensieve.errors import InputError


def test_invalid_input_ends_in_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @reports_input_errors
    def command(path: Path) -> int:
        if path.suffix == ".csv":
            raise InputError(f"{path.name} is no page; name one")
        return len(path.read_text())

    page = tmp_path / "page.md"
    assert command(page) == 2
    assert capsys.readouterr().err == f"{page}: No such file or directory; name another path\n"
    assert command(Path("x.csv")) == 2
    assert capsys.readouterr().err == "x.csv is no page; name one\n"
    page.write_text("text")
    assert command(page) == 4


def test_other_errors_are_shown_whole() -> None:
    @reports_input_errors
    def command() -> int:
        raise ConnectionError("the server of the benchmark does not respond")

    with pytest.raises(ConnectionError):
        command()
