"""The data, the settings and the lineage of a run, and the commands to go on, for the report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from tasks.artifacts import ModelFacts, Registration, SplitSizes
from tasks.promotion.promote import COMMIT, LOCK
from tasks.reporting.headline import minute
from tasks.reporting.next_steps import next_steps, project_option, see_run
from tasks.tracking import provenance
from tasks.versioning.data_versions import data_versions
from tokensieve.files import read_json_or_none
from tokensieve.inference.manifest import Manifest
from tokensieve.project import Layout
from tokensieve.registry.store import tracking_uri, without_password
from tokensieve.report.content import Fact
from tokensieve.settings import Settings

CHANGED = "tokensieve.git.changed"  # tag of a run: the files that differ from the commit


def data_facts(layout: Layout, classes: int) -> Iterator[Fact]:
    """Yield how the data were split, and what was left out."""
    sizes = asdict(SplitSizes.load(layout.split))
    sizes["out of scope"] = sizes.pop("oos")
    yield Fact("texts", ", ".join(f"{name} {count:,}" for name, count in sizes.items() if count))
    yield Fact("classes", f"{classes:,}")
    dropped = (read_json_or_none(layout.split / "report.json") or {}).get("dropped") or {}
    if any(dropped.values()):
        counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in dropped.items() if count)
        yield Fact("left out of the split", counts)


def source_facts(layout: Layout, validation: Mapping[str, Any], data_hash: str) -> Iterator[Fact]:
    """Yield where the data come from, and how many texts are cut or without a label.

    `validation` is the report of the stage validate.
    """
    for known in data_versions(layout):
        if known.data_hash == data_hash:
            lines = "; lines and rows are those of data/raw" if known.parent else ""
            yield Fact("source", without_password(known.source), f"added {minute(known.date)}{lines}")
    for check in validation["checks"]:
        if check["passed"] and check.get("changed"):
            yield Fact("changed by the settings", check["message"])
    if unlabelled := sum((validation.get("unlabelled") or {}).values()):
        yield Fact("without a label", f"{unlabelled:,}")
    if cut := validation.get("truncated"):
        yield Fact(
            "longer than the model reads",
            f"{cut['share']:.1%} of {cut['texts']:,} texts",
            f"base.max_length is {cut['max_length']} tokens",
        )


def lineage_facts(
    layout: Layout, settings: Settings, registered: Registration, tags: Mapping[str, str]
) -> Iterator[Fact]:
    """Yield the hashes, commits and versions that a model comes from.

    `tags` are those of the run in MLflow. The links lead to the user's own MLflow server.
    """
    uri = without_password(tracking_uri(layout, settings))
    server = uri.rstrip("/") if uri.startswith(("http://", "https://")) else ""
    version = f"{server}/#/models/{quote(registered.name, safe='')}/versions/{registered.version}"
    yield Fact("model", registered.uri, link=version if server else "")
    yield Fact("registry", uri)
    yield Fact("run in MLflow", registered.run_id, link=registered.run_page(server) if server else "")
    yield Fact("data hash", Manifest.load(layout.onnx).data_hash)
    if commit := tags.get(COMMIT):
        changed = tags.get(CHANGED)
        yield Fact("git commit of the project", commit, f"changed since: {changed}" if changed else "")
    if lock := tags.get(LOCK):
        yield Fact("SHA-256 of dvc.lock", lock)
    yield Fact("base model", ModelFacts.load(layout.model).base)
    trained = {
        key.removeprefix("environment."): value
        for key, value in provenance.trained_with(layout).items()
        if value
    }
    if code := trained.pop("tokensieve_commit", ""):
        yield Fact("git commit of tokensieve", code)
    yield Fact("trained with", ", ".join(f"{name} {value}" for name, value in trained.items()))


def changed_settings(settings: Settings) -> dict[str, str]:
    """Return the settings that differ from the defaults, as section.key, with values as in JSON.

    `register.uri` is left out: it may contain a password.
    """
    defaults = asdict(Settings())
    return {
        f"{section}.{key}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for section, keys in asdict(settings).items()
        for key, value in keys.items()
        if value != defaults[section][key] and (section, key) != ("register", "uri")
    }


def commands(layout: Layout, registered: Registration, promote: bool, label_errors: int) -> Iterator[Fact]:
    """Yield the commands to go on, as `next_steps` has them, and those for later."""
    yield from next_steps(layout, registered.version, promote, label_errors)
    project = project_option(layout)
    if label_errors:
        yield Fact("train again with the right labels", f"tokensieve run{project}")
    yield Fact("test it on other labelled texts", f"tokensieve evaluate{project} --data FILE")
    yield Fact("who promoted what", f"tokensieve history{project}")
    if ui := see_run(layout):
        yield Fact("see the run", ui)
