"""Report a failed run: the stage, the reason and the remedy.

They go to the run's page, to people, and to the project for `tokensieve status`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prefect.artifacts import create_markdown_artifact
from prefect.runtime import deployment, flow_run

from flows.events import RunFailed
from flows.notifications import announce
from tasks.projects.last_run import note_failure
from tokensieve.errors import InputError
from tokensieve.files import holder
from tokensieve.project import Layout
from tokensieve.report.markdown import inline

NO_REMEDY = "See the log of the run. Runs go on where the last one stopped."


@dataclass(frozen=True)
class Failure:
    """Why a run failed. `remedy` is empty if it is not known."""

    stage: str
    reason: str
    remedy: str


@contextmanager
def reported(layout: Layout, steps: Sequence[str], done: Collection[str]) -> Iterator[None]:
    """Write why the block failed to the run's page. For a deployed run, announce it, too.

    `steps` are the names of all steps in their order, and `done` are those that have ended.
    """
    try:
        yield
    except Exception as error:
        failure = failure_of(error, next((step for step in steps if step not in done), "summary"))
        create_markdown_artifact(
            key="run-failed",
            markdown=page(failure),
            description=f"{layout.root.name} failed in stage {failure.stage}",
        )
        if deployment.id:
            reason = f"{failure.reason}; {failure.remedy}" if failure.remedy else failure.reason
            announce(layout, RunFailed(failure.stage, reason, str(flow_run.name)))
        raise


@contextmanager
def noted(layout: Layout) -> Iterator[None]:
    """Note in the project why the block, a part of a run, has failed."""
    try:
        yield
    except Exception as error:
        running = holder(layout.busy)
        failure = failure_of(error, running.step if running and running.pid == os.getpid() else "")
        reason = f"{failure.reason}; {failure.remedy}" if failure.remedy else failure.reason
        with contextlib.suppress(OSError):  # a full disk may be what the error is about
            note_failure(layout, reason, failure.stage)
        raise


def failure_of(error: Exception, stage: str) -> Failure:
    """Return why `stage` failed.

    The message of an unexpected error may quote texts, and is left out.
    """
    if not isinstance(error, InputError):
        return Failure(stage, type(error).__name__, "")
    # An InputError has the remedy at the end of its message.
    reason, _, remedy = str(error).rpartition("; ")
    return Failure(stage, reason or remedy, remedy if reason else "")


def page(failure: Failure) -> str:
    """Return a failure in Markdown."""
    lines = [
        f"# Failed in stage {inline(failure.stage)}",
        f"**Reason:** {inline(failure.reason)}",
        f"**Remedy:** {inline(failure.remedy) or NO_REMEDY}",
    ]
    return "\n\n".join(lines) + "\n"
