"""Files that DVC writes in place survive a write that fails or is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.versioning.dvc_backup import restored_on_error
from tokensieve.project import Layout

LOCK = """schema: '2.0'
stages:
  split:
    cmd: tokensieve stage split
    deps:
    - path: data/raw
    outs:
    - path: artifacts/split
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.at(".dvc", "tmp").mkdir(parents=True)
    made.lock.write_text(LOCK)
    return made


def test_a_write_that_fails_leaves_the_files_as_they_were(layout: Layout) -> None:
    with pytest.raises(OSError, match="full"), restored_on_error(layout):
        layout.lock.write_text(LOCK[:40])
        layout.at(".gitignore").write_text("half")
        raise OSError("full")
    assert layout.lock.read_text() == LOCK
    assert not layout.at(".gitignore").exists()
    assert not layout.snapshot.exists()


def test_a_write_that_succeeds_stays(layout: Layout) -> None:
    with restored_on_error(layout):
        layout.lock.write_text(LOCK + "# more\n")
    assert layout.lock.read_text() == LOCK + "# more\n"


@pytest.mark.parametrize(
    ("written", "found"), [(LOCK[:60], LOCK), ("", LOCK), (LOCK + "# whole\n", LOCK + "# whole\n")]
)
def test_what_a_killed_process_left_damaged_comes_back(layout: Layout, written: str, found: str) -> None:
    program = f"""
import os, signal
from pathlib import Path
from tasks.versioning.dvc_backup import restored_on_error
from tokensieve.project import Layout
layout = Layout(Path({str(layout.root)!r}))
with restored_on_error(layout):
    layout.lock.write_text({written!r})
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert layout.lock.read_text() == written
    layout.at(".dvc", "tmp", "rwlock").write_text('{"read": {')
    with restored_on_error(layout):
        pass
    assert layout.lock.read_text() == found
    assert not layout.at(".dvc", "tmp", "rwlock").exists()
