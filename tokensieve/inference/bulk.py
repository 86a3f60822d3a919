"""Predict every row of a table, and write the table with the predictions added.

`data/table_readers.py` reads the rows, and `data/table_writers.py` writes them. Chunks of rows are
predicted at the same time, one per core, and kept as parts next to the output (`part_files.py`).
When all are there, they are joined. So the same call continues a run that was killed. In memory are
at most one chunk per core and two more, with at most `IN_MEMORY` characters together or a single
row; and while a Parquet file is joined, the parts of one row group.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tokensieve import __version__
from tokensieve.bars import Bar
from tokensieve.cpus import cores
from tokensieve.data import table_readers, table_writers
from tokensieve.data.normalize import is_blank
from tokensieve.data.table_formats import format_of
from tokensieve.data.table_readers import Chunk
from tokensieve.data.table_writers import OutputTable
from tokensieve.disk import os_error_remedy
from tokensieve.errors import InputError, excerpt
from tokensieve.files import atomic_file, sha256
from tokensieve.inference.load import Model, load
from tokensieve.inference.part_files import counts_path, part_folder, part_path, write_part_file
from tokensieve.inference.prediction import SINGLE_TASK, Prediction

IN_MEMORY = 2**26  # characters or bytes of the rows in memory, unless one row is longer
LOG_SECONDS = 30.0  # between two lines on the progress if no bar is shown

Text = str | Sequence[str] | None

log = logging.getLogger("tokensieve")


@dataclass
class TaskCounts:
    """Counts of the predictions of one task.

    Attributes:
        uncertain: The number of uncertain predictions.
        truncated: The number of predictions for truncated texts.
        labels: The number of predictions with each label.
    """

    uncertain: int = 0
    truncated: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, prediction: Prediction) -> None:
        """Count a prediction."""
        self.uncertain += prediction.uncertain
        self.truncated += prediction.truncated
        self.labels.update([label for label, _ in prediction.labels])


@dataclass(frozen=True)
class FileSummary:
    """A summary of the predictions for a file.

    Attributes:
        rows: The number of rows of the file.
        without_text: The number of rows without a text, or with a blank one.
        tasks: The counts of the predictions for the other rows, by task.
        seconds: The duration of the run.
    """

    rows: int
    without_text: int
    tasks: Mapping[str, TaskCounts]
    seconds: float


def predict_file(
    folder: Path, source: Path, output: Path, text: Text = None, top: int | None = None, prefix: str = ""
) -> FileSummary:
    """Write the table `source` to `output`, with the predictions of a model added.

    The added columns are label, probability, uncertain and truncated. For a multi-label model,
    labels and probabilities replace the first two. If several tasks share the model, each task has
    these columns, and their names begin with the name of the task and _. A row without a visible
    character in its text (`is_blank`) has no prediction. An existing `output` is replaced at the
    end.

    Args:
        folder: A model folder.
        source: A table in one of the formats of the data.
        output: The file to write. The ending of its name is the format.
        text: The column with the texts, or columns to join. None: those of the model, or `text`.
        top: The number of most likely labels in an added column `top`; None for no such column.
        prefix: The beginning of the names of the added columns.

    Raises:
        InputError: If `load` or `table_writers.plan_output` raises it, if a path is not readable or
            writable, or if another run is writing `output`.
    """
    began = time.monotonic()
    _check(source, output, top)
    try:
        model = load(folder, threads=1)
        text = text or model.text_rule.columns or "text"
        with _progress("reading", "row") as seen:
            form = table_writers.plan_output(source, text, output, _columns(model, top, prefix), seen)
        _refuse_bars(model, output)
        with part_folder(output, _key(model, source, text, top, prefix)) as parts:
            paths = _predict_chunks(model, source, text, top, form, parts, prefix)
            without, counts = _sum_counts(paths, model)
            with atomic_file(output, flush=True) as temporary:
                bar = Bar(paths, "assembling", "part")
                table_writers.join_parts(bar, form, temporary)
    except InputError:
        raise
    except OSError as error:
        path = error.filename or output
        raise InputError(
            f"{path}: {error.strerror or error}; {os_error_remedy(error)}: the same command continues"
        ) from None
    return FileSummary(form.total, without, counts, time.monotonic() - began)


@contextmanager
def _progress(what: str, unit: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal, and otherwise log a line every `LOG_SECONDS`.

    Yields the function to call with the number of items that were finished.
    """
    bar = Bar(name=what, unit=unit, total=total)
    logged = time.monotonic()

    def advance(number: int) -> None:
        nonlocal logged
        bar.update(number)
        now = time.monotonic()
        if bar.disable and now - logged >= LOG_SECONDS:
            logged = now
            log.info("%s", bar.state())

    with bar:
        yield advance


def _predict_chunks(
    model: Model, source: Path, text: Text, top: int | None, form: OutputTable, folder: Path, prefix: str
) -> list[Path]:
    """Predict the chunks whose parts do not exist yet.

    Returns:
        The paths of the parts of all chunks, in their order.
    """
    paths, waiting, held = [], deque[tuple[Future[int], int]](), 0
    _, pieces = table_readers.read_chunks(source, text or "text")
    with ThreadPoolExecutor(cores()) as pool, _progress("scoring", "text", form.total) as advance:
        try:
            for place, chunk in enumerate(pieces):
                path = part_path(folder, place, format_of(form.path))
                paths.append(path)
                if path.exists() and counts_path(path).exists():
                    advance(len(chunk.texts))
                    continue
                while waiting and (len(waiting) > cores() or held + chunk.size > IN_MEMORY):
                    future, size = waiting.popleft()
                    advance(future.result())
                    held -= size
                # ONNX Runtime and tokenizers release Python's lock, so threads use all cores and
                # share one model.
                waiting.append((pool.submit(_write, model, chunk, top, form, prefix, path), chunk.size))
                held += chunk.size
            while waiting:
                advance(waiting.popleft()[0].result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return paths


def _sum_counts(paths: Sequence[Path], model: Model) -> tuple[int, dict[str, TaskCounts]]:
    """Return the number of rows without a text, and the counts of all parts by task."""
    without, found = 0, {task: TaskCounts() for task in model.tasks}
    for path in paths:
        tree = json.loads(counts_path(path).read_text(encoding="utf-8"))
        without += tree["without_text"]
        for task, counts in tree["tasks"].items():
            found[task].uncertain += counts["uncertain"]
            found[task].truncated += counts["truncated"]
            found[task].labels.update(counts["labels"])
    return without, found


def _write(model: Model, chunk: Chunk, top: int | None, form: OutputTable, prefix: str, path: Path) -> int:
    rows: list[dict[str, Any]] = [{} for _ in chunk.texts]
    cleaned = model.text_rule.cleaned
    present = {place: text for place, text in enumerate(chunk.texts) if text and not is_blank(cleaned(text))}
    predictions = model.predict_by_task(list(present.values()), top or 1)
    counts = {task: TaskCounts() for task in predictions}
    for task, found in predictions.items():
        for place, answer in zip(present, found, strict=True):
            rows[place] |= {_column(task, name, prefix): value for name, value in _row(answer, top).items()}
            counts[task].add(answer)
    columns = {name: [row.get(name) for row in rows] for name in form.answers}
    tree = {
        "without_text": len(rows) - len(present),
        "tasks": {task: vars(count) for task, count in counts.items()},
    }
    # The counts are written first. So if a part exists, its counts exist too.
    write_part_file(counts_path(path), json.dumps(tree).encode())
    write_part_file(path, table_writers.encode_chunk(chunk, columns, form))
    return len(rows)


def _row(answer: Prediction, top: int | None) -> dict[str, Any]:
    if not top:
        return answer.columns()
    return answer.columns() | {
        "top": [{"label": label, "probability": probability} for label, probability in answer.top]
    }


def _columns(model: Model, top: int | None, prefix: str) -> dict[str, str]:
    """Return the columns to add, each with its kind in `table_writers.ANSWER_TYPES`."""
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


def _refuse_bars(model: Model, output: Path) -> None:
    labels = [label for own in model.tasks.values() if own.thresholds for label in own.labels]
    for label in labels if format_of(output) in (".csv", ".tsv") else ():
        if "|" in label:
            raise InputError(
                f"{output}: labels are joined with |, and label {excerpt(label)} has one; write to .jsonl or "
                ".parquet"
            )


def _key(
    model: Model, source: Path, text: str | Sequence[str], top: int | None, prefix: str
) -> dict[str, Any]:
    """Return everything that the parts depend on. Manifests have the hashes of model files."""
    manifests = json.dumps({task: asdict(manifest) for task, manifest in model.tasks.items()}, sort_keys=True)
    made = {
        "version": __version__,
        "input": sha256(source),
        "format": format_of(source),
        "text": text if isinstance(text, str) else list(text),
        "top": top,
    }
    made |= {"prefix": prefix} if prefix else {}
    return made | {
        "model": hashlib.sha256(manifests.encode()).hexdigest(),
        "cut": [table_readers.CHUNK_ROWS, table_readers.CHUNK_SIZE, table_readers.BATCH_ROWS, "characters"],
    }
