"""Measure one model in this process and over HTTP, and compare it with other ways to serve it.

    python -m benchmarks.serving.run --project DIR --texts FILE --rivals FOLDER

The project must have been run (`tokensieve run`). FILE is a CSV file with the columns text and
label. A rival is measured if FOLDER contains its environment:

    python -m venv FOLDER/bentoml     and in it: pip install bentoml onnxruntime tokenizers pyyaml
    python -m venv FOLDER/litserve    and in it: pip install litserve onnxruntime tokenizers pyyaml
    python -m venv FOLDER/infinity    and in it: pip install torch "infinity-emb[server]" einops
        "sentence-transformers<4" "transformers<4.49" "optimum<1.25"

(infinity-emb does not start with newer ones.) All servers use the same exported model on the same
cores; infinity-emb uses its encoder. With `--readme FILE` nothing is measured: the tables of the
results are written into FILE, and a picture next to the results.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import markdown
from benchmarks.command import reports_input_errors
from benchmarks.plots import serving_picture
from benchmarks.serving.servers import ROOT, ServerKind, require_wrk, running, server_kinds
from benchmarks.timing import commit, machine
from tokensieve.cpus import cores
from tokensieve.data.examples import Examples
from tokensieve.data.raw_data import read_examples
from tokensieve.errors import InputError
from tokensieve.files import read_json, write_json
from tokensieve.inference.predictor import Predictor
from tokensieve.project import Layout

RESULTS = Path(__file__).parents[1] / "results" / "serving.json"
CLIENTS = (1, 8, 32)


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or show results. Return status 2 for invalid input."""
    options = _parser().parse_args(arguments)
    if options.readme:
        result = read_json(options.output)
        markdown.write_between(options.readme, "benchmarks.serving.run", tables(result))
        _draw(result, options.output.with_suffix(".png"))
    else:
        _measure(options)
    return 0


def _measure(options: argparse.Namespace) -> None:
    require_wrk()
    if not options.project or not options.texts:
        raise InputError(
            "pass --project, a project that has been run, and --texts, a file with columns text and label"
        )
    examples = read_examples(options.texts)
    texts = examples.texts
    project, workers = options.project.resolve(), cores()
    result: dict[str, Any] = {
        "texts": len(texts),
        "workers": workers,
        "machine": machine("cpu"),
        "commit": commit(),
    }
    result["manifest"] = _model(project)
    with tempfile.TemporaryDirectory() as scratch:
        result["inprocess"] = _in_process(project, examples, Path(scratch))
        result["predictor"] = _predictor_throughput(project, texts, workers, options.seconds)
        _log(json.dumps(result["inprocess"]))
        result["http"], result["skipped"] = {}, {}
        for kind in server_kinds(options.rivals.resolve(), project, workers):
            if not kind.needs.exists():
                result["skipped"][kind.name] = f"no environment {kind.needs.parent.parent.name}"
                continue
            try:
                result["http"][kind.name] = _http(kind, project, workers, texts, options, Path(scratch))
            except RuntimeError as error:
                result["skipped"][kind.name] = str(error)
            _log(f"{kind.name}: {result['http'].get(kind.name) or result['skipped'][kind.name]}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.output, result)


def _model(project: Path) -> dict[str, Any]:
    """Return what identifies the model."""
    tree = read_json(Layout(project).onnx / "manifest.json")
    return {key: tree.get(key) for key in ("base", "variant", "data_hash", "max_length")} | {
        "labels": len(tree["labels"])
    }


def _in_process(project: Path, examples: Examples, scratch: Path) -> dict[str, Any]:
    path = scratch / "texts"
    pairs = zip(examples.texts, map(", ".join, examples.labels), strict=True)
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "benchmarks.serving.latency",
        "--project",
        str(project),
        "--texts",
        str(path),
    ]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def _predictor_throughput(project: Path, texts: list[str], workers: int, seconds: int) -> dict[str, float]:
    """Return texts per second of the predictor alone, one text at a time per core."""
    predictor = Predictor.load(Layout(project).onnx, threads=1)
    counts = [0] * workers
    ends = time.monotonic() + seconds

    def work(place: int) -> None:
        while time.monotonic() < ends:
            predictor.predict([texts[(counts[place] * workers + place) % len(texts)]])
            counts[place] += 1

    threads = [threading.Thread(target=work, args=(place,)) for place in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"texts_per_second": round(sum(counts) / seconds, 1)}


def _http(
    kind: ServerKind,
    project: Path,
    workers: int,
    texts: list[str],
    options: argparse.Namespace,
    scratch: Path,
) -> dict[str, Any]:
    """Return the medians over several starts of a server.

    The speed of a machine changes from minute to minute, so the predictor in this process is
    measured right before each start. `added` is the p50 for one client minus that of the predictor,
    in milliseconds. `share` is the throughput for 32 clients, divided by that of the predictor on
    all cores.
    """
    predictor = Predictor.load(Layout(project).onnx, threads=1)
    runs: list[dict[str, Any]] = []
    for _ in range(options.rounds):
        with running(kind, project, workers, texts[0], scratch / "log") as server:
            for text in texts[:200]:
                server.post(text)
            alone, rate = (
                _median_milliseconds(predictor, texts),
                _predictor_throughput(project, texts, workers, options.seconds)["texts_per_second"],
            )
            loads = {
                str(clients): server.load(texts, clients, options.seconds, scratch) for clients in CLIENTS
            }
            beside = {
                "added": loads["1"]["p50"] - alone,
                "share": loads[str(CLIENTS[-1])]["texts_per_second"] / rate,
            }
            runs.append(
                {"start_seconds": server.seconds, "memory_mib": server.memory(), "clients": loads} | beside
            )
    return _medians(runs)


def _medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure over the runs."""
    names = ("start_seconds", "memory_mib", "added", "share")
    clients = {
        count: {name: statistics.median(run["clients"][count][name] for run in runs) for name in loads}
        for count, loads in runs[0]["clients"].items()
    }
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in names} | {
        "clients": clients
    }


def _median_milliseconds(predictor: Predictor, texts: list[str]) -> float:
    seconds = []
    for text in texts:
        began = time.perf_counter()
        predictor.predict([text])
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1e3


def tables(result: dict[str, Any]) -> str:
    """Return the results as Markdown tables."""
    ours = result["inprocess"]["tokensieve"]["p50"]
    lines = [
        "| in one process, one thread | p50 ms | p95 ms | p99 ms | times ours | labels as torch | accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in result["inprocess"].items():
        times = f"{row['p50']:.2f} | {row['p95']:.2f} | {row['p99']:.2f} | {row['p50'] / ours:.1f}"
        accuracy = f"{row['accuracy']:.4f}" if "accuracy" in row else "–"
        lines.append(f"| {name} | {times} | {row['agreement']:.1%} | {accuracy} |")
    loads = "p50, p99 ms at 1 client | texts/s, p99 ms at 8 | texts/s, p99 ms at 32 | of the predictor's"
    lines += [
        "",
        f"| over HTTP | start s | MiB | ms added at 1 client | {loads} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in result["http"].items():
        one, eight, many = (row["clients"][str(count)] for count in CLIENTS)
        cells = [
            f"{one['p50']:.2f}, {one['p99']:.1f}",
            *(f"{load['texts_per_second']:.0f}, {load['p99']:.0f}" for load in (eight, many)),
        ]
        cells += [f"{row['share']:.0%}"]
        lines.append(
            f"| {name} | {row['start_seconds']:.1f} | {row['memory_mib']:.0f} | {row['added']:.2f} | "
            f"{' | '.join(cells)} |"
        )
    alone = result["predictor"]["texts_per_second"]
    cpu = result["machine"]["cpu"]
    lines += [
        "",
        f"The predictor alone, one thread per core: {alone:.0f} texts/s. {result['workers']} cores of {cpu}.",
    ]
    for name, reason in result["skipped"].items():
        lines.append(f"Not measured: {name} ({reason.splitlines()[-1][:120]}).")
    return "\n".join(lines)


def _draw(result: dict[str, Any], path: Path) -> None:
    milliseconds = {name: row["p50"] for name, row in result["inprocess"].items()}
    rates = {
        name: {count: row["clients"][str(count)]["texts_per_second"] for count in CLIENTS}
        for name, row in result["http"].items()
    }
    serving_picture(milliseconds, rates, result["predictor"]["texts_per_second"], path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.run", description="Measure one model in process and over HTTP."
    )
    parser.add_argument("--project", type=Path, help="a project that has been run")
    parser.add_argument("--texts", type=Path, help="a file with columns text and label")
    parser.add_argument(
        "--rivals", type=Path, default=Path("rivals"), help="folder with the environments of the rivals"
    )
    parser.add_argument("--seconds", type=int, default=8, help="seconds per load")
    parser.add_argument("--rounds", type=int, default=3, help="starts of each server; the median counts")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument(
        "--readme", type=Path, help="write the tables between two marks of this Markdown file"
    )
    return parser


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
