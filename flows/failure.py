"""Report a failed run: the stage, the reason and the remedy.

They go to the run's page, to people, and to the project for `tokensieve status`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prefect.artifacts import create_markdown_artifact
from prefect.runtime import deployment, flow_run

from flows.events import RunFailed
from flows.notifications import announce
from tasks.projects.last_look import last_look, note_look
from tasks.projects.last_run import note_failure
from tokensieve.errors import InputError, printable
from tokensieve.files import holder
from tokensieve.project import Layout
from tokensieve.registry.store import without_password
from tokensieve.report.markdown import inline

NO_REMEDY = "See the log of the run. Runs go on where the last one stopped."


@dataclass(frozen=True)
class Failure:
    """Why a run failed. `stage` is empty for a flow without stages, `remedy` if it is not known."""

    stage: str
    reason: str
    remedy: str

    @property
    def sentence(self) -> str:
        """The reason with the remedy."""
        return f"{self.reason}; {self.remedy}" if self.remedy else self.reason


@contextmanager
def reported(layout: Layout, steps: Sequence[str], done: Collection[str]) -> Iterator[None]:
    """Write why the block failed to the run's page. For a deployed run, announce it, too.

    `steps` are the names of all steps in their order, and `done` are those that have ended.
    """
    try:
        yield
    except Exception as error:
        failure = failure_of(error, next((step for step in steps if step not in done), "summary"))
        _show(layout, failure)
        if deployment.id:
            _announce(layout, failure)
        raise


@contextmanager
def look_reported(layout: Layout, flow: str) -> Iterator[None]:
    """Do the same for a look of `flow`, watch or monitor, and note in the project why it failed.

    Looks are frequent. So their failure is announced once, until a look succeeds or fails for
    another reason. If Prefect or the webhook did not receive it, the next look sends it again.
    Without a project, nothing is noted, so each failure is announced.
    """
    try:
        yield
    except Exception as error:
        failure = failure_of(error, "")
        known = last_look(layout, flow)
        _show(layout, failure)
        received = known.received if known and known.reason == failure.sentence else ()
        if deployment.id:
            received = _announce(layout, failure, received)
        if layout.params.exists():
            note_look(layout, flow, reason=failure.sentence, received=received)
        raise


@contextmanager
def noted(layout: Layout) -> Iterator[None]:
    """Note in the project why the block, a part of a run, has failed."""
    try:
        yield
    except Exception as error:
        running = holder(layout.busy)
        failure = failure_of(error, running.step if running and running.pid == os.getpid() else "")
        with contextlib.suppress(OSError):  # a full disk may be what the error is about
            note_failure(layout, failure.sentence, failure.stage)
        raise


def failure_of(error: Exception, stage: str) -> Failure:
    """Return why `stage` failed.

    The message of an unexpected error may quote texts, and is left out. For an error of the
    operating system, the reason has the file and the system's words for the error.
    """
    if isinstance(error, InputError):
        # It has the remedy at the end of its message. Of several failed checks, each has a line.
        reason, _, remedy = printable(" ".join(str(error).split())).rpartition("; ")
        return Failure(stage, reason or remedy, remedy if reason else "")
    if isinstance(error, OSError) and error.errno:
        # A name that is too long may be a text.
        named = error.filename and error.errno != errno.ENAMETOOLONG
        file = f"{without_password(str(error.filename))}: " if named else ""
        return Failure(stage, printable(f"{file}{os.strerror(error.errno)}"), "")
    return Failure(stage, type(error).__name__, "")


def page(failure: Failure) -> str:
    """Return a failure in Markdown."""
    lines = [
        f"# Failed{_in_stage(inline(failure.stage))}",
        f"**Reason:** {inline(failure.reason)}",
        f"**Remedy:** {inline(failure.remedy) or NO_REMEDY}",
    ]
    return "\n\n".join(lines) + "\n"


def _show(layout: Layout, failure: Failure) -> None:
    create_markdown_artifact(
        key="run-failed",
        markdown=page(failure),
        description=f"{layout.root.name} failed{_in_stage(failure.stage)}",
    )


def _announce(layout: Layout, failure: Failure, received: Collection[str] = ()) -> tuple[str, ...]:
    return announce(layout, RunFailed(failure.stage, failure.sentence, str(flow_run.name)), received)


def _in_stage(stage: str) -> str:
    return f" in stage {stage}" if stage else ""
