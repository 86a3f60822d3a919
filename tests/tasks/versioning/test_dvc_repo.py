"""DVC without output, with its lock waited for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from dvc.exceptions import DvcException

from tasks.versioning import dvc_repo
from tasks.versioning.dvc_repo import opened
from tokensieve.errors import InputError
from tokensieve.project import Layout


def test_another_process_that_holds_the_lock_is_waited_for(
    layout: Layout, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.lock import LockError

    left = [LockError("held"), LockError("held")]

    def action() -> str:
        if left:
            raise left.pop()
        return "done"

    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert dvc_repo.wait_for_lock(action) == "done"
    monkeypatch.setattr(dvc_repo, "LOCK_SECONDS", -1)
    left.append(LockError("held"))
    with pytest.raises(LockError):
        dvc_repo.wait_for_lock(action)


def test_no_password_of_a_remote_is_in_a_message(layout: Layout) -> None:
    with pytest.raises(InputError, match=r"DVC: cannot reach ssh://host/x$"), opened(layout):
        raise DvcException("cannot reach\nssh://ann:s3cret@host/x")


def test_a_fault_of_the_settings_is_named_with_its_line(layout: Layout) -> None:
    """DVC calls the file corrupted, without a line."""
    layout.params.write_text("data: {seed: 1}\ndata: {seed: 2}\n", encoding="utf-8")
    fault = DvcException(f"unable to read: '{layout.params}', YAML file structure is corrupted")
    with pytest.raises(InputError, match=r"params\.yaml: line 2 repeats the key 'data'"), opened(layout):
        raise fault
    layout.params.write_text("data: {seed: 1}\n", encoding="utf-8")
    with pytest.raises(InputError, match="DVC: unable to read"), opened(layout):
        raise fault
