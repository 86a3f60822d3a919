"""The GET endpoints: paths, health, readiness, model, metrics and documentation."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from tokensieve import __version__
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.prediction import SINGLE_TASK
from tokensieve.server import docs_page
from tokensieve.server.batcher import Batcher
from tokensieve.server.held_bytes import HeldBytes
from tokensieve.server.middleware import HAS_KEY
from tokensieve.server.model_watcher import ModelWatcher
from tokensieve.server.openapi import openapi_document
from tokensieve.server.prometheus import CONTENT_TYPE, Metrics
from tokensieve.server.schema import Health, Index, ModelInfo, ModelInfoByTask, Readiness
from tokensieve.server.shadow import Shadow

PATHS = {
    "POST /predict": "labels of one text, or of several",
    "POST /explain": "the words that decide the label of one text",
    "POST /feedback": "store a text with its right label",
    "/model": "labels, thresholds and hashes of the model",
    "/ready": "version of the model that is served, and why a newer one is not",
    "/metrics": "metrics for Prometheus",
    "/docs": "this interface, described for people",
    "/openapi.json": "this interface, described for programs",
}


class InfoEndpoints:
    """The GET endpoints. Each method handles one path."""

    def __init__(
        self,
        watcher: ModelWatcher,
        batcher: Batcher,
        metrics: Metrics,
        held: HeldBytes,
        root_path: str,
        needs_key: bool,
        shadow: Shadow | None = None,
    ) -> None:
        self._watcher, self._batcher, self._metrics, self._held = watcher, batcher, metrics, held
        self._root_path, self._needs_key, self._shadow = root_path, needs_key, shadow

    async def index(self, request: Request) -> Response:
        """Return the paths of the server."""
        return _json(Index(service="tokensieve", version=__version__, paths=PATHS))

    async def health(self, request: Request) -> Response:
        """Return status 200 as long as the process responds."""
        return _json(Health(status="ok"))

    async def ready(self, request: Request) -> Response:
        """Return the version of the model that is served, and why a newer one is not."""
        error = self._watcher.last_error
        if error and not request.scope[HAS_KEY]:
            error = "the newest model is not in use; send the API key to see why"
        version, checked = self._watcher.current.version, self._watcher.checked_at
        return _json(Readiness(status="ready", version=version, trouble=error, checked=checked))

    async def model(self, request: Request) -> Response:
        """Return the labels and thresholds of the model, and the hashes of its files."""
        current = self._watcher.current
        tasks = {
            task: _model_info(manifest, self._watcher.name, current.version, current.model.prompt)
            for task, manifest in current.model.tasks.items()
        }
        return _json(
            tasks[SINGLE_TASK]
            if SINGLE_TASK in tasks
            else ModelInfoByTask(name=self._watcher.name, version=current.version, tasks=tasks)
        )

    async def metrics(self, request: Request) -> Response:
        """Return counts and durations in the text format of Prometheus."""
        self._metrics.read_state(self._watcher, self._batcher.waiting, self._held.bodies)
        if self._shadow:
            self._shadow.metrics.read_state(self._shadow)
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI document."""
        return JSONResponse(openapi_document(self._root_path, self._needs_key))

    async def docs(self, request: Request) -> Response:
        """Return the OpenAPI document as a web page."""
        document = openapi_document(self._root_path, self._needs_key)
        return HTMLResponse(docs_page.docs(document, self._root_path, self._needs_key))


def _json(body: BaseModel) -> Response:
    return Response(body.model_dump_json(), media_type="application/json")


def _model_info(manifest: Manifest, name: str, version: str, prompt: str) -> ModelInfo:
    same = ("data_hash", "base", "variant", "max_length", "truncation", "temperature", "threshold", "margin")
    return ModelInfo(
        name=name,
        version=version,
        labels=list(manifest.labels),
        several=bool(manifest.thresholds),
        parity=dict(manifest.parity),
        files=dict(manifest.files),
        prompt=prompt,
        text_columns=list(manifest.text_columns),
        clean=manifest.clean,
        **{field: getattr(manifest, field) for field in same},
    )
