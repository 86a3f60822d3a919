"""The paths of a project. No other file of the code contains such a path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths of one project folder. No file or folder is created here."""

    root: Path

    def at(self, *parts: str) -> Path:
        return self.root.joinpath(*parts)

    # Files that a user edits or commits.
    params = property(lambda self: self.at("params.yaml"))
    pipeline = property(lambda self: self.at("dvc.yaml"))
    cases = property(lambda self: self.at("cases.yaml"))

    lock = property(lambda self: self.at("dvc.lock"))

    # The data of the project, and records about them.
    raw = property(lambda self: self.at("data", "raw"))
    raw_pointer = property(lambda self: self.at("data", "raw.dvc"))
    versions = property(lambda self: self.at("data", "versions.jsonl"))
    champion = property(lambda self: self.at("data", "champion.json"))
    base = property(lambda self: self.at("data", "base.json"))
    suite = property(lambda self: self.at("data", "suite.json"))
    project = property(lambda self: self.at("data", "project.json"))

    # The outputs of the stages, one folder per stage.
    validation = property(lambda self: self.at("artifacts", "validation"))
    split = property(lambda self: self.at("artifacts", "split"))
    vocabulary = property(lambda self: self.at("artifacts", "vocabulary"))
    audit = property(lambda self: self.at("artifacts", "audit"))
    review = property(lambda self: self.at("artifacts", "audit", "review.csv"))
    mask = property(lambda self: self.at("artifacts", "mask"))
    model = property(lambda self: self.at("artifacts", "model"))
    evaluation = property(lambda self: self.at("artifacts", "evaluation"))
    onnx = property(lambda self: self.at("artifacts", "onnx"))
    race = property(lambda self: self.at("artifacts", "onnx", "race.json"))
    registration = property(lambda self: self.at("artifacts", "registration"))

    # The report of a run as one page.
    report = property(lambda self: self.at("artifacts", "report.html"))

    # The comparisons of traffic with held-out texts.
    drift = property(lambda self: self.at("artifacts", "drift"))

    # The runs and schedules of `tokensieve up`.
    prefect = property(lambda self: self.at("prefect.db"))

    # The report of the gate on the last challenger.
    gate = property(lambda self: self.at("artifacts", "gate.json"))

    # The artifacts of MLflow's runs, if the registry is the default SQLite file.
    runs = property(lambda self: self.at("mlartifacts"))

    # What a server found about the challenger. Without it, the comparison starts anew.
    shadow = property(lambda self: self.at(".tokensieve", "shadow.json"))

    # Files that may be deleted while nothing runs: they only save work.
    checkpoint = property(lambda self: self.at(".tokensieve", "checkpoint"))
    prefix = property(lambda self: self.at(".tokensieve", "prefix"))
    fetched = property(lambda self: self.at(".tokensieve", "fetched"))
    snapshot = property(lambda self: self.at(".tokensieve", "before"))
    report_state = property(lambda self: self.at(".tokensieve", "report.json"))
    seconds = property(lambda self: self.at(".tokensieve", "seconds.json"))
    last_run = property(lambda self: self.at(".tokensieve", "last_run.json"))
    looks = property(lambda self: self.at(".tokensieve", "looks"))
    busy = property(lambda self: self.at(".tokensieve", "lock"))
    active = property(lambda self: self.at(".tokensieve", "runs"))
    served = property(lambda self: self.at(".tokensieve", "served"))
    place = property(lambda self: self.at(".tokensieve", "place.json"))
    up = property(lambda self: self.at(".tokensieve", "up"))
    addresses = property(lambda self: self.at(".tokensieve", "up", "addresses.json"))
    watched = property(lambda self: self.at(".tokensieve", "watched.json"))
    parsed = property(lambda self: self.at(".tokensieve", "parsed"))
    sweep = property(lambda self: self.at(".tokensieve", "sweep"))
    sweep_busy = property(lambda self: self.at(".tokensieve", "sweep.lock"))
