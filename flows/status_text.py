"""The state of a project, and all registered models, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from flows.champion_text import WORDS
from flows.record_text import table_text

if TYPE_CHECKING:
    from tasks.projects.last_look import LastLook
    from tasks.projects.last_run import LastRun
    from tasks.projects.status import Status
    from tasks.promotion.models import VersionFacts
    from tasks.promotion.prune import Prunable

COLUMNS = ("model", "version", "aliases", "scores on its test texts", "data", "registered (UTC)")
HASH = 12  # characters of a data hash in a table


def models_text(models: Mapping[str, Sequence[VersionFacts]]) -> str:
    """Return all registered models with their versions, newest first, as a table."""
    if not models:
        return "No model is registered."
    rows = [row for name, versions in models.items() for row in _rows(name, versions)]
    return table_text(COLUMNS, rows, "Registered models")


def prune_text(found: Sequence[Prunable], is_deleted: bool) -> str:
    """Return what may be deleted, or was, as a table with the space that it frees."""
    if not found:
        return "There is nothing to delete."
    rows = [(one.kind, one.name, f"{one.bytes / 2**20:,.1f}" if one.bytes else "") for one in found]
    table = table_text(("", "", "MiB"), rows, "Deleted" if is_deleted else "What may be deleted")
    total = f"{sum(one.bytes for one in found) / 2**20:,.1f} MiB"
    runs = any(one.run for one in found)
    if not is_deleted:
        return f"{table}\nIt would free {total} on this machine; to delete it: the same command with --yes"
    gone = " Runs are in MLflow's trash until mlflow gc, which frees their files on a server." if runs else ""
    return f"{table}\n{total} on this machine are free.{gone}"


def status_text(status: Status) -> str:
    """Return the state of a project as a table, what is wrong, and the next commands."""
    lines = [table_text(("", ""), list(_state(status)), f"Project {status.folder}")]
    if status.fault:
        lines.append(f"warning: {status.fault}")
    lines += [f"next: {sentence}" for sentence in status.advice]
    return "\n".join(lines)


def _rows(name: str, versions: Sequence[VersionFacts]) -> Iterator[tuple[str, ...]]:
    if not versions:
        yield name, "none", "", "", "", ""
    for facts in versions:
        yield (
            name,
            facts.version,
            ", ".join(facts.aliases),
            scores_text(facts),
            facts.data_hash[:HASH],
            _when(facts.date),
        )


def _state(status: Status) -> Iterator[tuple[str, str]]:
    if status.data:
        rows = ", ".join(f"{name} {count:,}" for name, count in status.data.rows.items())
        added = f", added {_when(status.data.date)}" if status.data.date else ""
        yield "data", f"{status.data.data_hash[:HASH]}  {rows}{added}"
    else:
        yield "data", "none yet"
    if status.running_since:
        step = f", now {status.running_step}" if status.running_step else ""
        yield "running", f"since {_when(status.running_since)} (UTC){step}"
    if status.last_run and (status.last_run.ended or not status.running_since):
        yield "last run", last_run_text(status.last_run)
    for flow, look in status.last_looks.items():
        yield f"last {flow}", last_look_text(look)
    last = f"version {status.registered}, {_when(status.registered_at)}" if status.registered else "none yet"
    yield "last run registered", last
    yield "model", f"{status.model} in {status.registry}"
    for alias in ("challenger", "champion", "previous"):
        facts = status.versions.get(alias)
        scores = f"  {scores_text(facts)}  data {facts.data_hash[:HASH] or 'unknown'}" if facts else ""
        yield alias, f"version {facts.version}{scores}" if facts else "none"
    yield "stale stages", ", ".join(status.stale) or "none"


def last_run_text(run: LastRun) -> str:
    """Return how a run that is not under way went, with the reason if it failed."""
    if not run.ended:
        return f"began {_when(run.began)} (UTC) and was killed or interrupted"
    if not run.reason:
        return f"ended {_when(run.ended)} (UTC): {run.result}"
    step = f" in {run.step}" if run.step else ""
    return f"failed {_when(run.ended)} (UTC){step}: {run.reason}"


def last_look_text(look: LastLook) -> str:
    """Return what a look of watch or monitor found, or why it failed."""
    when = f"{_when(look.ended)} (UTC)"
    return f"failed {when}: {look.reason}" if look.reason else f"{when}: {look.result}"


def scores_text(facts: VersionFacts) -> str:
    """Return the scores of a version in words."""
    return ", ".join(f"{WORDS[key]} {value:.4f}" for key, value in facts.figures.items() if key in WORDS)


def _when(time: str) -> str:
    """Return a time without its offset, to the minute."""
    return time.replace("T", " ")[:16]
