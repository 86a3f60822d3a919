from __future__ import annotations

import shutil
import subprocess

import pytest

from tokensieve.cli.completion import SHELLS
from tokensieve.cli.main import main


@pytest.mark.parametrize("shell", SHELLS)
def test_script_completes_commands_and_options(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script, errors = capfd.readouterr()
    assert errors == ""
    for word in ("export-shared", "restore", "max-batch-tokens"):
        assert word in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes_a_group_of_commands(capfd: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    program = (
        f"{capfd.readouterr().out}\nCOMP_WORDS=(tokensieve data re) COMP_CWORD=2\n_shtab_tokensieve\n"
        f"echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["restore"], done.stderr


def test_unknown_shell_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion", "powershell"])
    assert ended.value.code == 2
    assert "bash, zsh, fish" in capfd.readouterr().err.replace("'", "")
