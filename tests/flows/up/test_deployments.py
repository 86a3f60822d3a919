"""The deployments that `tokensieve up` makes from the template."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.up.deployments import filled, packed, read, template, write
from tokensieve.errors import InputError
from tokensieve.project import Layout

PROJECT = Path("/srv/intents")


def _by_name(data: str | None, test: str | None = None) -> dict[str, dict]:  # type: ignore[type-arg]
    tree = filled(read(packed("prefect.yaml")), PROJECT, data, test)
    return {deployment["name"]: deployment for deployment in tree["deployments"]}


def test_project_data_and_events_are_filled_in() -> None:
    found = _by_name("/data/texts.csv", "/data/test.csv")
    assert found["nightly"]["parameters"].items() >= {
        ("project", "/srv/intents"),
        ("data", "/data/texts.csv"),
        ("test", "/data/test.csv"),
    }
    assert found["watch"]["parameters"] == {"project": "/srv/intents", "data": "/data/texts.csv"}
    assert found["watch"]["schedules"] == [{"interval": 900}]
    assert found["rollback"]["parameters"] == {"project": "/srv/intents"}
    matches = {trigger["match"]["prefect.resource.id"] for trigger in found["nightly"]["triggers"]}
    assert matches == {"tokensieve.project./srv/intents"}


def test_without_data_nothing_is_watched_and_runs_use_the_projects_data() -> None:
    found = _by_name(None)
    assert found["nightly"]["parameters"]["data"] is None
    assert found["nightly"]["schedules"]
    assert found["watch"]["schedules"] == []


def test_the_schedule_of_monitor_is_active_if_there_is_a_log_of_texts(tmp_path: Path) -> None:
    assert not _by_name("/data/texts.csv")["monitor"]["schedules"][0]["active"]
    tree = filled(read(packed("prefect.yaml")), PROJECT, None, None, "/srv/texts.jsonl")
    (monitor,) = (found for found in tree["deployments"] if found["name"] == "monitor")
    assert monitor["parameters"]["log"] == "/srv/texts.jsonl"
    assert monitor["schedules"] == [{"interval": 3600, "active": True}]
    without = write(Layout(tmp_path), None, None, tmp_path)
    assert [line for line in without if "off" in line] == [
        "watch (off: needs --data)",
        "monitor (off: needs --log-texts)",
    ]
    assert "promote (on request)" in without
    assert "monitor (every 3600 s)" in write(Layout(tmp_path), None, None, tmp_path, "/srv/texts.jsonl")


def test_a_projects_own_file_is_used(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (tmp_path / "up").mkdir()
    assert template(layout) == packed("prefect.yaml")
    own = {
        "deployments": [{"name": "weekly", "schedules": [{"cron": "0 4 * * 1", "timezone": "Europe/Berlin"}]}]
    }
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    assert write(layout, None, None, tmp_path / "up") == ["weekly (0 4 * * 1 Europe/Berlin)"]


@pytest.mark.parametrize(("text", "named"), [("a: [", "is not YAML"), ("a: 1", "has no list 'deployments'")])
def test_a_file_that_cannot_be_used_is_named(text: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read(path)
    assert str(path) in str(raised.value)
    assert named in str(raised.value)
