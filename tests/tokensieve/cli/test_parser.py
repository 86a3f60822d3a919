from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tokensieve.cli.main import main
from tokensieve.cli.parser import TOPICS, all_commands
from tokensieve.cli.renamed import COMMANDS

HEAVY = {
    "httpx",
    "mlflow",
    "numpy",
    "onnxruntime",
    "pandas",
    "prefect",
    "pydantic",
    "rich",
    "torch",
    "urllib.request",
    "yaml",
}


def imported(program: str) -> set[str]:
    """Return the modules that a program imports, in addition to those that Python has at its
    start.
    """
    before = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    after = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(after.stdout.splitlines()[-1].split()) - set(before.stdout.split())


def test_the_package_imports_next_to_nothing() -> None:
    found = imported("import tokensieve")
    assert len(found) <= 10, sorted(found)


def test_the_help_imports_little() -> None:
    found = imported("from tokensieve.cli.main import main\nmain([])")
    assert not found & HEAVY
    assert len(found) <= 130, sorted(found)


def test_without_a_command_the_help_lists_the_commands_by_topic(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capfd.readouterr().out
    assert text.startswith("usage: tokensieve")
    places = [text.index(f"\n{topic}:\n") for topic in TOPICS]
    assert places == sorted(places)
    for command in all_commands():
        assert f"\n  {command.name.split()[0]} " in text
    for name in COMMANDS:
        assert f"\n  {name} " not in text


def test_every_command_has_a_help_of_its_own() -> None:
    helps = [command.help for command in all_commands()]
    assert all(text.endswith(".") for text in helps)
    assert len(set(helps)) == len(helps)


@pytest.mark.parametrize(
    ("command", "created"),
    [("run", True), ("data add", True), ("promote", False), ("data list", False)],
)
def test_help_shows_which_commands_create_a_project(
    command: str, created: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    assert ("created if it does not exist" in " ".join(capfd.readouterr().out.split())) == created


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("promot", "tokensieve: error: 'promot' is not a command. Did you mean 'promote'? List them with"),
        ("trian", "tokensieve: error: 'trian' is not a command. Did you mean 'run'? List them with"),
        ("xyzzy", "tokensieve: error: 'xyzzy' is not a command. List them with tokensieve --help"),
        ("data ad", "tokensieve data: error: 'ad' is not a command. Did you mean 'add'? List them with"),
        ("run --projekt x", "run: error: unrecognized arguments: --projekt x. Did you mean '--project'?"),
        ("patch show --pathc=x --patch y", "unrecognized arguments: --pathc=x. Did you mean '--patch'?"),
        ("status some.", "tokensieve status: error: unrecognized arguments: some.\n"),
    ],
)
def test_a_wrong_word_is_an_error_of_its_command_and_a_similar_one_is_named(
    arguments: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2
    error = capfd.readouterr().err
    assert message in error
    if message.startswith(("run", "unrecognized")):
        assert error.startswith(f"usage: tokensieve {arguments.partition(' --')[0]} [-h]")


@pytest.mark.parametrize(("terminal", "installed"), [(True, True), (True, False), (False, True)])
def test_help_is_coloured_on_a_terminal_if_rich_argparse_is_installed(
    terminal: bool, installed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not installed:
        monkeypatch.setitem(sys.modules, "rich_argparse", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    main([])
    text = capsys.readouterr().out
    assert ("\x1b[" in text) == (terminal and installed)
    assert "export-shared" in text


@pytest.mark.parametrize(
    ("arguments", "extra", "package"),
    [
        (["run", "--project", "p"], "pipeline", "dvc"),
        (["data", "list", "--project", "p"], "pipeline", "yaml"),
        (["completion", "bash"], "pipeline", "shtab"),
    ],
)
def test_a_missing_package_is_reported_with_the_extra(
    arguments: list[str],
    extra: str,
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "params.yaml").touch()
    (tmp_path / "p" / "data").mkdir()
    (tmp_path / "p" / "data" / "raw.dvc").write_text("outs: [{md5: abc}]", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "tasks" and "." in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(arguments) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1
    assert f"needs the package {package}, which is not installed" in errors[0]
    assert f"pip install 'tokensieve[{extra}]'" in errors[0]
