"""Files of texts scored as a whole: every row of a table with its answer beside it, a chunk of rows at a time.

A chunk of rows at a time is answered, each on one core, and kept as a part beside the output, which is assembled when all are there.
So a run that is killed, at any time, is finished by the same call. In memory are at most one chunk per core and two more, together
at most `HELD` characters or one row, and when a Parquet file is assembled, the parts of one row group.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from tokensieve import __version__
from tokensieve.cpus import cores
from tokensieve.data import table_readers, table_writers
from tokensieve.data.table_formats import format_of
from tokensieve.data.table_readers import Chunk
from tokensieve.data.table_writers import OutputTable
from tokensieve.errors import InputError, excerpt
from tokensieve.files import atomic_file, read_json_or_none, sha256
from tokensieve.inference.load import Model, load
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.prediction import SINGLE_TASK, Prediction

KEY, LOCK = "key.json", "lock"
# The names of the files in a folder of parts, and of those that are being written.
OURS = rf"{re.escape(KEY)}|{LOCK}|\d{{8,}}\.\w+|counts-\d{{8,}}\.json|\.({re.escape(KEY)}|\d{{8,}}\.\w+|counts-\d{{8,}}\.json)\.new"
HELD = 2**26  # characters or bytes of the rows that are in memory, unless one row is longer
EVERY = 30.0  # seconds between two lines on the progress if no bar is shown

log = logging.getLogger("tokensieve")


@dataclass
class Counts:
    """Answers of one task: how many are uncertain, how many are of truncated texts, and how often each label was given."""

    uncertain: int = 0
    truncated: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Prediction) -> None:
        """Count an answer."""
        self.uncertain += answer.uncertain
        self.truncated += answer.truncated
        self.labels.update([label for label, _ in answer.labels])


@dataclass(frozen=True)
class Scored:
    """How many rows a file has, how many of them have no text, the answers to the others by task, and the seconds that it took."""

    rows: int
    without_text: int
    tasks: Mapping[str, Counts]
    seconds: float


def score(
    folder: Path, source: Path, output: Path, text: str = "text", top: int | None = None, prefix: str = ""
) -> Scored:
    """Write `output`: the table `source` with the answers of a served folder to the texts in column `text`.

    Columns added: label, probability, uncertain, truncated, or from a model that gives any number of labels, labels and
    probabilities instead of the first two; with `top`, the likeliest labels as well. Their names begin with `prefix`. Where several
    tasks share the folder, each has these columns, the task's name and _ before theirs. A row without a text (null) has no answer, an
    empty text is answered. What stood at `output` is replaced when all is done.

    Raises:
        InputError: as `served.load` and `parts.form`, or a path that cannot be read or written, or another run is writing it.
    """
    began = time.monotonic()
    _check(source, output, top)
    try:
        model = load(folder, threads=1)
        with _progress("reading", "row") as seen:
            form = table_writers.plan_output(source, text, output, _columns(model, top, prefix), seen)
        if format_of(output) in (".csv", ".tsv"):
            for manifest in model.tasks.values():
                _refuse_bars(manifest, output)
        with _opened(output, _key(model, source, text, top, prefix)) as kept:
            paths = _answered(model, source, text, top, form, kept, prefix)
            without, counts = _counted(paths, model)
            with atomic_file(output, flush=True) as temporary:
                table_writers.join_parts(
                    tqdm(paths, desc="assembling", unit="part", leave=False, disable=None), form, temporary
                )
            _emptied(kept)
            for name in (KEY, LOCK):
                (kept / name).unlink(missing_ok=True)
            kept.rmdir()
    except InputError:
        raise
    except OSError as error:
        path = error.filename or output
        raise InputError(
            f"{path}: {error.strerror or error}; free some space, or mend its rights: the same command goes on"
        ) from None
    return Scored(form.total, without, counts, time.monotonic() - began)


@contextmanager
def _progress(what: str, unit: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, and a line in the log now and then elsewhere. Yields the function to call with each number done."""
    bar = tqdm(total=total, desc=what, unit=unit, miniters=1, leave=False, disable=None)
    began = logged = time.monotonic()
    done = 0

    def advance(number: int) -> None:
        nonlocal done, logged
        bar.update(number)
        done += number
        now = time.monotonic()
        if bar.disable and now - logged >= EVERY:
            logged = now
            left = (
                f" of {total:,}, about {(now - began) / done * (total - done):.0f} s left"
                if total and done
                else ""
            )
            log.info("%s: %s %ss%s", what, f"{done:,}", unit, left)

    with bar:
        yield advance


def _answered(
    model: Model, source: Path, text: str, top: int | None, form: OutputTable, folder: Path, prefix: str
) -> list[Path]:
    """The parts of all chunks, in their order; those that are not there yet are made."""
    paths, waiting, held = [], deque[tuple[Future[int], int]](), 0
    _, pieces = table_readers.read_chunks(source, text)
    with ThreadPoolExecutor(cores()) as pool, _progress("scoring", "text", form.total) as advance:
        try:
            for place, chunk in enumerate(pieces):
                path = folder / f"{place:08}{format_of(form.path)}"
                paths.append(path)
                if path.exists() and _beside(path).exists():
                    advance(len(chunk.texts))
                    continue
                while waiting and (len(waiting) > cores() or held + chunk.size > HELD):
                    future, size = waiting.popleft()
                    advance(future.result())
                    held -= size
                # onnxruntime and tokenizers compute without Python's lock: threads share one model, and use all cores.
                waiting.append((pool.submit(_write, model, chunk, top, form, prefix, path), chunk.size))
                held += chunk.size
            while waiting:
                advance(waiting.popleft()[0].result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return paths


def _beside(part: Path) -> Path:
    """The file with the counts of a part."""
    return part.with_name(f"counts-{part.stem}.json")


def _counted(paths: Sequence[Path], model: Model) -> tuple[int, dict[str, Counts]]:
    """How many rows have no text, and the counts of all parts by task."""
    without, found = 0, {task: Counts() for task in model.tasks}
    for path in paths:
        tree = json.loads(_beside(path).read_text(encoding="utf-8"))
        without += tree["without_text"]
        for task, counts in tree["tasks"].items():
            found[task].uncertain += counts["uncertain"]
            found[task].truncated += counts["truncated"]
            found[task].labels.update(counts["labels"])
    return without, found


def _write(model: Model, chunk: Chunk, top: int | None, form: OutputTable, prefix: str, path: Path) -> int:
    rows: list[dict[str, Any]] = [{} for _ in chunk.texts]
    asked = [place for place, text in enumerate(chunk.texts) if text is not None]
    answers = model.predict_by_task([text for text in chunk.texts if text is not None], top or 1)
    counts = {task: Counts() for task in answers}
    for task, found in answers.items():
        for place, answer in zip(asked, found, strict=True):
            rows[place] |= {_column(task, name, prefix): value for name, value in _row(answer, top).items()}
            counts[task].add(answer)
    columns = {name: [row.get(name) for row in rows] for name in form.answers}
    tree = {
        "without_text": len(rows) - len(asked),
        "tasks": {task: vars(count) for task, count in counts.items()},
    }
    # The counts first: a part that is there has them.
    _put(_beside(path), json.dumps(tree).encode())
    _put(path, table_writers.encode_chunk(chunk, columns, form))
    return len(rows)


def _put(path: Path, content: bytes) -> None:
    with atomic_file(path, flush=True) as temporary:
        temporary.write_bytes(content)


def _row(answer: Prediction, top: int | None) -> dict[str, Any]:
    if not top:
        return answer.columns()
    return answer.columns() | {
        "top": [{"label": label, "probability": probability} for label, probability in answer.top]
    }


def _columns(model: Model, top: int | None, prefix: str) -> dict[str, str]:
    """The columns of the answers, with what each is of `parts.KINDS`."""
    found: dict[str, str] = {}
    for task, manifest in model.tasks.items():
        first = ["labels", "probabilities"] if manifest.thresholds else ["label", "probability"]
        found |= {
            _column(task, kind, prefix): kind
            for kind in (*first, "uncertain", "truncated", *(["top"] if top else []))
        }
    return found


def _column(task: str, kind: str, prefix: str) -> str:
    return prefix + (kind if task == SINGLE_TASK else f"{task}_{kind}")


def _check(source: Path, output: Path, top: int | None) -> None:
    if top is not None and top < 1:
        raise InputError(f"top is {top}; allowed: at least 1")
    format_of(output)
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} does not exist; make it, or give another output")
    if output.is_dir() or (output.exists() and source.exists() and output.samefile(source)):
        raise InputError(
            f"{output} is {'a folder' if output.is_dir() else 'the input itself'}; give another output"
        )


def _refuse_bars(manifest: Manifest, output: Path) -> None:
    for label in manifest.labels if manifest.thresholds else ():
        if "|" in label:
            raise InputError(
                f"{output}: labels are joined with |, and label {excerpt(label)} holds one; write to .jsonl or .parquet"
            )


def _key(model: Model, source: Path, text: str, top: int | None, prefix: str) -> dict[str, Any]:
    """What the parts depend on. The manifests hold the hashes of the model's files."""
    manifests = json.dumps({task: asdict(manifest) for task, manifest in model.tasks.items()}, sort_keys=True)
    made = {
        "version": __version__,
        "input": sha256(source),
        "format": format_of(source),
        "text": text,
        "top": top,
    }
    made |= {"prefix": prefix} if prefix else {}
    return made | {
        "model": hashlib.sha256(manifests.encode()).hexdigest(),
        "cut": [table_readers.CHUNK_ROWS, table_readers.CHUNK_SIZE, table_readers.BATCH_ROWS, "characters"],
    }


@contextmanager
def _opened(output: Path, key: dict[str, Any]) -> Iterator[Path]:
    """The folder with the parts of `output`, which is this process's alone; parts of another key are deleted."""
    folder = output.with_name(f"{output.name}.parts")
    folder.mkdir(exist_ok=True)
    path = folder / KEY
    # Only what a run has written is ever deleted, whatever the folder's name.
    if folder.is_symlink() or any(
        not re.fullmatch(OURS, file.name) or not file.is_file() for file in folder.iterdir()
    ):
        raise InputError(
            f"{folder} is needed for the parts of {output.name}, and holds other files; move it, or give another output"
        )
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another run is writing {output}; wait for it, or give another output") from None
    try:
        if read_json_or_none(path) != key:
            _emptied(folder)
            _put(path, (json.dumps(key) + "\n").encode())
        elif found := sum(1 for _ in folder.glob(f"[0-9]*{format_of(output)}")):
            log.info("%s: going on after %d parts that are there", output, found)
        yield folder
    finally:
        lock.release()


def _emptied(folder: Path) -> None:
    """Delete the parts but not the key, so that a folder which holds parts has one whenever the process is killed."""
    for path in folder.iterdir():
        if path.name not in (KEY, LOCK):
            path.unlink()
