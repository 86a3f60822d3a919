"""A line of the log of `tokensieve up` for each run of the project that begins or ends, and for a
look at the data or the traffic that begins to fail.
"""

from __future__ import annotations

import logging

from tasks.projects.last_look import FLOWS, last_look
from tasks.projects.last_run import LastRun, last_run
from tokensieve.project import Layout

log = logging.getLogger("tokensieve")


class RunLines:
    """Logs what the runs of a project note about themselves, from its creation on."""

    def __init__(self, layout: Layout) -> None:
        self._layout, self._seen = layout, last_run(layout)
        self._failing = {flow: self._reason(flow) for flow in FLOWS}

    def log_new(self) -> None:
        """Log how the last run and the last looks go, if that has changed since the last call."""
        run = last_run(self._layout)
        if run and run != self._seen:
            self._seen = run
            log.log(logging.WARNING if run.reason else logging.INFO, "run %s", _words(run))
        for flow in FLOWS:
            self._log_look(flow)

    def _log_look(self, flow: str) -> None:
        before, reason = self._failing[flow], self._reason(flow)
        self._failing[flow] = reason
        if reason and reason != before:
            log.warning("%s failed: %s", flow, reason)
        elif before and not reason:
            log.info("%s works again", flow)

    def _reason(self, flow: str) -> str:
        """Return why the last look of a flow failed. Empty: it did not."""
        look = last_look(self._layout, flow)
        return look.reason if look else ""


def _words(run: LastRun) -> str:
    if not run.ended:
        return "began"
    if not run.reason:
        return f"ended: {run.result}"
    return f"failed{f' in {run.step}' if run.step else ''}: {run.reason}"
