"""Files of texts scored as a whole: every row of a table with its answer beside it, a chunk of rows at a time.

A chunk of rows at a time is answered, each on one core, and kept as a part beside the output, which is assembled when all are there.
So a run that is killed, at any time, is finished by the same call. In memory are at most a chunk a core and two more, and when a
Parquet file is assembled, the parts of one row group.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from tokensieve import __version__, chunks, parts
from tokensieve.chunks import Chunk, suffix
from tokensieve.errors import InputError, excerpt
from tokensieve.manifest import Manifest, sha256
from tokensieve.parts import Form
from tokensieve.predictor import ONLY, LabelSet, Prediction, cores
from tokensieve.served import Model, load

KEY, LOCK = "key.json", "lock"

log = logging.getLogger("tokensieve")


def score(folder: Path, source: Path, output: Path, text: str = "text", top: int | None = None) -> int:
    """Write `output`: the table `source` with the answers of a served folder to the texts in column `text`. Returns the rows.

    Columns added: label, probability, uncertain, truncated, or from a model that gives any number of labels, labels and
    probabilities instead of the first two; with `top`, the likeliest labels as well. Where several tasks share the folder, each has
    these columns, the task's name and _ before theirs. A row without a text (null) has no answer, an empty text is answered. What
    stood at `output` is replaced when all is done.

    Raises:
        InputError: as `served.load` and `parts.form`, or a path that cannot be written, or another run is writing it.
    """
    _check(source, output, top)
    model = load(folder, threads=1)
    with tqdm(desc="reading", unit="row", leave=False, disable=None) as bar:
        form = parts.form(source, text, output, _columns(model, top), bar.update)
    if suffix(output) in (".csv", ".tsv"):
        for manifest in model.tasks.values():
            _refuse_bars(manifest, output)
    with _opened(output, _key(model, source, text, top)) as kept:
        paths = _answered(model, source, text, top, form, kept)
        beside = output.with_name(f".{output.name}.new")
        parts.assemble(tqdm(paths, desc="assembling", unit="part", leave=False, disable=None), form, beside)
        _flushed(beside)
        beside.replace(output)
        _emptied(kept)
        shutil.rmtree(kept)
    return form.total


def _answered(model: Model, source: Path, text: str, top: int | None, form: Form, folder: Path) -> list[Path]:
    """The parts of all chunks, in their order; those that are not there yet are made."""
    paths, waiting = [], deque[Future[int]]()
    _, pieces = chunks.read(source, text)
    with (
        ThreadPoolExecutor(cores()) as pool,
        tqdm(total=form.total, desc="scoring", unit="text", miniters=1, leave=False, disable=None) as bar,
    ):
        try:
            for place, chunk in enumerate(pieces):
                path = folder / f"{place:08}{suffix(form.path)}"
                paths.append(path)
                if path.exists():
                    bar.update(len(chunk.texts))
                    continue
                # onnxruntime and tokenizers compute without Python's lock: threads share one model, and use all cores.
                waiting.append(pool.submit(_write, model, chunk, top, form, path))
                if len(waiting) > cores():
                    bar.update(waiting.popleft().result())
            while waiting:
                bar.update(waiting.popleft().result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return paths


def _write(model: Model, chunk: Chunk, top: int | None, form: Form, path: Path) -> int:
    rows: list[dict[str, Any]] = [{} for _ in chunk.texts]
    asked = [place for place, text in enumerate(chunk.texts) if text is not None]
    answers = model.predict_by_task([text for text in chunk.texts if text is not None], top or 1)
    for task, found in answers.items():
        for place, answer in zip(asked, found, strict=True):
            rows[place] |= {_column(task, name): value for name, value in _row(answer, top).items()}
    columns = {name: [row.get(name) for row in rows] for name in form.answers}
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(parts.part(chunk, columns, form))
    _flushed(beside)
    beside.replace(path)
    return len(rows)


def _row(answer: Prediction | LabelSet, top: int | None) -> dict[str, Any]:
    if not top:
        return answer.row()
    return answer.row() | {"top": [{"label": label, "probability": probability} for label, probability in answer.top]}


def _columns(model: Model, top: int | None) -> dict[str, str]:
    """The columns of the answers, with what each is of `parts.KINDS`."""
    found: dict[str, str] = {}
    for task, manifest in model.tasks.items():
        first = ["labels", "probabilities"] if manifest.thresholds else ["label", "probability"]
        found |= {_column(task, kind): kind for kind in (*first, "uncertain", "truncated", *(["top"] if top else []))}
    return found


def _column(task: str, kind: str) -> str:
    return kind if task == ONLY else f"{task}_{kind}"


def _check(source: Path, output: Path, top: int | None) -> None:
    if top is not None and top < 1:
        raise InputError(f"top is {top}; allowed: at least 1")
    suffix(output)
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} does not exist; make it, or give another output")
    if output.is_dir() or (output.exists() and source.exists() and output.samefile(source)):
        raise InputError(f"{output} is {'a folder' if output.is_dir() else 'the input itself'}; give another output")


def _refuse_bars(manifest: Manifest, output: Path) -> None:
    for label in manifest.labels if manifest.thresholds else ():
        if "|" in label:
            raise InputError(f"{output}: labels are joined with |, and label {excerpt(label)} holds one; write to .jsonl or .parquet")


def _key(model: Model, source: Path, text: str, top: int | None) -> dict[str, Any]:
    """What the parts depend on. The manifests hold the hashes of the model's files."""
    manifests = json.dumps({task: asdict(manifest) for task, manifest in model.tasks.items()}, sort_keys=True)
    made = {"version": __version__, "input": sha256(source), "format": suffix(source), "text": text, "top": top}
    return made | {"model": hashlib.sha256(manifests.encode()).hexdigest(), "cut": [chunks.ROWS, chunks.SIZE, chunks.READ]}


@contextmanager
def _opened(output: Path, key: dict[str, Any]) -> Iterator[Path]:
    """The folder with the parts of `output`, which is this process's alone; parts of another key are deleted."""
    folder = output.with_name(f"{output.name}.parts")
    folder.mkdir(exist_ok=True)
    path = folder / KEY
    if not path.exists() and {file.name for file in folder.glob("[!.]*")} - {LOCK}:
        raise InputError(f"{folder} is needed for the parts of {output.name}, and holds other files; move it, or give another output")
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another run is writing {output}; wait for it, or give another output") from None
    try:
        if not path.exists() or json.loads(path.read_text(encoding="utf-8")) != key:
            _emptied(folder)
            beside = path.with_name(f".{KEY}.new")
            beside.write_text(json.dumps(key) + "\n", encoding="utf-8")
            beside.replace(path)
        elif found := sum(1 for _ in folder.glob(f"[0-9]*{output.suffix.lower()}")):
            log.info("%s: going on after %d parts that are there", output, found)
        yield folder
    finally:
        lock.release()


def _emptied(folder: Path) -> None:
    """Delete the parts but not the key, so that a folder which holds parts has one whenever the process is killed."""
    for path in folder.iterdir():
        if path.name not in (KEY, LOCK):
            path.unlink()


def _flushed(path: Path) -> None:
    # Renamed before it is on the disk, a file may be found empty after a power cut.
    with path.open("rb") as file:
        os.fsync(file.fileno())
