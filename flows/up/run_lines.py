"""A line of the log of `tokensieve up` for each run of the project that begins or ends."""

from __future__ import annotations

import logging

from tasks.projects.last_run import LastRun, last_run
from tokensieve.project import Layout

log = logging.getLogger("tokensieve")


class RunLines:
    """Logs what the runs of a project note about themselves, from its creation on."""

    def __init__(self, layout: Layout) -> None:
        self._layout, self._seen = layout, last_run(layout)

    def log_new(self) -> None:
        """Log how the last run goes, if that has changed since the last call."""
        run = last_run(self._layout)
        if run and run != self._seen:
            self._seen = run
            log.log(logging.WARNING if run.reason else logging.INFO, "run %s", _words(run))


def _words(run: LastRun) -> str:
    if not run.ended:
        return "began"
    if not run.reason:
        return f"ended: {run.result}"
    return f"failed{f' in {run.step}' if run.step else ''}: {run.reason}"
