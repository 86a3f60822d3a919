"""What a project's status advises to do next."""

from __future__ import annotations

import pytest

from tasks.projects.status import _advice
from tasks.promotion.models import VersionFacts
from tasks.versioning.data_versions import DataVersion

DATA = DataVersion("0f3c", "", "", {})


@pytest.mark.parametrize(
    ("gate", "undone", "advice"),
    [
        ("passed", set(), "make version 3 the champion: tokensieve promote"),
        ("refused", set(), "the gate refused version 3: improve the data or the settings and run again"),
        ("passed", {"3"}, "serve the champion: tokensieve serve --model models:/shop@champion"),
        ("refused", {"3"}, "serve the champion: tokensieve serve --model models:/shop@champion"),
    ],
)
def test_a_challenger_is_recommended_unless_it_was_refused_or_rolled_back(
    gate: str, undone: set[str], advice: str
) -> None:
    versions = {
        "challenger": VersionFacts("shop", "3", ("challenger",), gate=gate),
        "champion": VersionFacts("shop", "2", ("champion",), gate="passed"),
    }
    assert list(_advice(DATA, (), versions, undone, ".")) == [advice]


def test_the_command_of_a_run_that_failed_is_to_be_repeated_with_its_options() -> None:
    """It has undone its --set, so without them it would fail again."""
    assert list(_advice(DATA, ("validate",), {}, set(), ".")) == ["train on what has changed: tokensieve run"]
    (advice,) = _advice(DATA, ("validate",), {}, set(), ".", "train.csv is not UTF-8")
    assert advice == "correct why the last run failed, then repeat its command with all its options"
