"""A line of the log of `tokensieve up` for each run of the project that begins or ends, and for a
look at the data or the traffic that begins to fail.
"""

from __future__ import annotations

import logging

from tasks.projects.last_look import FLOWS, LastLook, last_look
from tasks.projects.last_run import LastRun, last_run
from tokensieve.project import Layout

log = logging.getLogger("tokensieve")


class RunLines:
    """Logs what the runs of a project note about themselves, from its creation on."""

    def __init__(self, layout: Layout) -> None:
        self._layout, self._seen = layout, last_run(layout)
        self._looks: dict[str, LastLook | None] = {flow: last_look(layout, flow) for flow in FLOWS}
        self._failing = dict.fromkeys(FLOWS, "")  # the reason that the last line about a flow had

    def log_new(self) -> None:
        """Log how the last run and the last looks go, if that has changed since the last call."""
        run = last_run(self._layout)
        if run and run != self._seen:
            self._seen = run
            log.log(logging.WARNING if run.reason else logging.INFO, "run %s", _words(run))
        for flow in FLOWS:
            self._log_look(flow)

    def _log_look(self, flow: str) -> None:
        look, before = last_look(self._layout, flow), self._failing[flow]
        if look is None or look == self._looks[flow]:
            return
        self._looks[flow], self._failing[flow] = look, look.reason
        if look.reason and look.reason != before:
            log.warning("%s failed: %s", flow, look.reason)
        elif before and not look.reason:
            log.info("%s works again", flow)


def _words(run: LastRun) -> str:
    if not run.ended:
        return "began"
    if not run.reason:
        return f"ended: {run.result}"
    return f"failed{f' in {run.step}' if run.step else ''}: {run.reason}"
