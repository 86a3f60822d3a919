"""The predictor in LitServe.

    python -m benchmarks.serving.rivals.lit PORT

Environment variables: MODEL, the folder of the exported model; WORKERS, the number of workers of
one thread.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import litserve

from tokensieve.inference.predictor import Predictor


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.predictor = Predictor.load(Path(os.environ["MODEL"]), threads=1)

    # Without annotation: LitServe would read an annotated parameter from the address.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return str(request["text"])

    def predict(self, text: str) -> Any:
        return self.predictor.predict([text])[0]

    def encode_response(self, output: Any) -> dict[str, Any]:
        return asdict(output)


if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(), accelerator="cpu", workers_per_device=int(os.environ["WORKERS"])
    )
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
