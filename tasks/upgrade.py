"""Changes to the files of a project that an earlier version made. Nothing else of them is touched."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import yaml

from tokensieve.files import write_text

log = logging.getLogger("tokensieve")


def never_cached(pipeline: Path, stage: str) -> None:
    """Mark `stage` in dvc.yaml as always changed, if it is not yet: else `dvc repro` takes its outputs from DVC's run cache."""
    text = pipeline.read_text(encoding="utf-8")
    if yaml.safe_load(text)["stages"].get(stage, {}).get("always_changed"):
        return
    after = re.sub(
        rf"^(  {stage}:[ \t]*\n)", r"\1    always_changed: true\n", text, count=1, flags=re.MULTILINE
    )
    try:
        marked = yaml.safe_load(after)["stages"][stage].get("always_changed")
    except (yaml.YAMLError, LookupError, AttributeError):
        marked = False
    if not marked:
        log.warning(
            "%s: add 'always_changed: true' to stage %s, or dvc repro may take a registration from a cache",
            pipeline,
            stage,
        )
        return
    write_text(pipeline, after)
    log.info(
        "%s: stage %s is marked always_changed, so that dvc repro takes no registration from a cache",
        pipeline.name,
        stage,
    )
