"""The predictor in BentoML.

    bentoml serve benchmarks.serving.rivals.bento:Classifier

Environment variables: MODEL, the folder of the exported model; WORKERS, the number of workers of
one thread.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bentoml

from tokensieve.inference.predictor import Predictor


@bentoml.service(workers=int(os.environ["WORKERS"]))
class Classifier:
    def __init__(self) -> None:
        self.predictor = Predictor.load(Path(os.environ["MODEL"]), threads=1)

    @bentoml.api
    def predict(self, text: str) -> dict[str, Any]:
        return asdict(self.predictor.predict([text])[0])
