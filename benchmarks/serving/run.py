"""The serving benchmark: one model in this process and over HTTP, beside the usual ways to serve it.

    python -m benchmarks.serving.run --project DIR --texts ../shared/data/banking77/test.csv --rivals FOLDER

`--project` has been run (`tokensieve run`). Rivals are measured where FOLDER has an environment for them: `python -m venv
FOLDER/bentoml`, there `pip install bentoml onnxruntime tokenizers pyyaml`; the same with litserve; in FOLDER/infinity `pip install
torch "infinity-emb[server]" "sentence-transformers<4" "transformers<4.49" "optimum<1.25" einops` (with newer ones it does not start).
All servers answer with the same exported model on the same cores, infinity-emb with its encoder. With `--readme FILE` the tables of
the results are written into FILE and a picture beside the results, and nothing is measured.
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

from benchmarks.plots import serving_picture
from benchmarks.serving.servers import ROOT, Kind, kinds, require_wrk, running
from benchmarks.timing import commit, machine
from tokensieve.cpus import cores
from tokensieve.data.examples import Examples, read_examples
from tokensieve.errors import InputError
from tokensieve.files import read_json, write_json
from tokensieve.inference.predictor import Predictor
from tokensieve.project import Layout

RESULTS = Path(__file__).parents[1] / "results" / "serving.json"
MARKS = ("<!-- benchmarks.serving.run: begin -->\n", "<!-- benchmarks.serving.run: end -->")
CLIENTS = (1, 8, 32)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 for bad input."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.readme:
            result = read_json(asked.output)
            _show(asked.readme, result)
            _draw(result, asked.output.with_suffix(".png"))
        else:
            _measure(asked)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _measure(asked: argparse.Namespace) -> None:
    require_wrk()
    if not asked.project or not asked.texts:
        raise InputError(
            "give --project, a project that has been run, and --texts, a file with columns text and label"
        )
    examples = read_examples(asked.texts)
    texts = examples.texts
    project, workers = asked.project.resolve(), cores()
    result: dict[str, Any] = {
        "texts": len(texts),
        "workers": workers,
        "machine": machine("cpu"),
        "commit": commit(),
    }
    result["manifest"] = _facts(project)
    with tempfile.TemporaryDirectory() as scratch:
        result["inprocess"] = _inprocess(project, examples, Path(scratch))
        result["predictor"] = _alone(project, texts, workers, asked.seconds)
        _say(json.dumps(result["inprocess"]))
        result["http"], result["skipped"] = {}, {}
        for kind in kinds(asked.rivals.resolve(), project, workers):
            if not kind.needs.exists():
                result["skipped"][kind.name] = f"no environment {kind.needs.parent.parent.name}"
                continue
            try:
                result["http"][kind.name] = _http(kind, project, workers, texts, asked, Path(scratch))
            except RuntimeError as error:
                result["skipped"][kind.name] = str(error)
            _say(f"{kind.name}: {result['http'].get(kind.name) or result['skipped'][kind.name]}")
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(asked.output, result)


def _facts(project: Path) -> dict[str, Any]:
    """What was served."""
    tree = read_json(Layout(project).onnx / "manifest.json")
    return {key: tree.get(key) for key in ("base", "variant", "data_hash", "max_length")} | {
        "labels": len(tree["labels"])
    }


def _inprocess(project: Path, examples: Examples, scratch: Path) -> dict[str, Any]:
    path = scratch / "texts"
    pairs = zip(examples.texts, examples.labels, strict=True)
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


def _alone(project: Path, texts: list[str], workers: int, seconds: int) -> dict[str, float]:
    """Texts a second of the predictor without a server: a thread a core, each text by itself, for so many seconds."""
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
    return {"texts_a_second": round(sum(counts) / seconds, 1)}


def _http(
    kind: Kind, project: Path, workers: int, texts: list[str], asked: argparse.Namespace, scratch: Path
) -> dict[str, Any]:
    """The middle of what several starts of the server give.

    The machine's speed differs from minute to minute, so the predictor in this process is measured right before each: `added` are the
    milliseconds by which p50 for one client is above its own, `share` is what 32 clients get of its texts a second on all cores.
    """
    predictor = Predictor.load(Layout(project).onnx, threads=1)
    runs: list[dict[str, Any]] = []
    for _ in range(asked.rounds):
        with running(kind, project, workers, texts[0], scratch / "log") as server:
            for text in texts[:200]:
                server.ask(text)
            alone, rate = (
                _median_milliseconds(predictor, texts),
                _alone(project, texts, workers, asked.seconds)["texts_a_second"],
            )
            loads = {str(clients): server.load(texts, clients, asked.seconds, scratch) for clients in CLIENTS}
            beside = {
                "added": loads["1"]["p50"] - alone,
                "share": loads[str(CLIENTS[-1])]["texts_a_second"] / rate,
            }
            runs.append(
                {"start_seconds": server.seconds, "memory_mib": server.memory(), "clients": loads} | beside
            )
    middle = {
        key: round(statistics.median(run[key] for run in runs), 3)
        for key in ("start_seconds", "memory_mib", "added", "share")
    }
    clients = {
        count: {
            key: statistics.median(run["clients"][count][key] for run in runs)
            for key in runs[0]["clients"][count]
        }
        for count in map(str, CLIENTS)
    }
    return middle | {"clients": clients}


def _median_milliseconds(predictor: Predictor, texts: list[str]) -> float:
    seconds = []
    for text in texts:
        began = time.perf_counter()
        predictor.predict([text])
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1e3


def tables(result: dict[str, Any]) -> str:
    """The results as Markdown."""
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
            *(f"{load['texts_a_second']:.0f}, {load['p99']:.0f}" for load in (eight, many)),
        ]
        cells += [f"{row['share']:.0%}"]
        lines.append(
            f"| {name} | {row['start_seconds']:.1f} | {row['memory_mib']:.0f} | {row['added']:.2f} | {' | '.join(cells)} |"
        )
    alone = result["predictor"]["texts_a_second"]
    cpu = result["machine"]["cpu"]
    lines += [
        "",
        f"The predictor alone, a thread a core: {alone:.0f} texts/s. {result['workers']} cores of {cpu}.",
    ]
    for name, reason in result["skipped"].items():
        lines.append(f"Not measured: {name} ({reason.splitlines()[-1][:120]}).")
    return "\n".join(lines)


def _show(path: Path, result: dict[str, Any]) -> None:
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition(MARKS[0])
    _, end, tail = rest.partition(MARKS[1])
    if not (begin and end):
        raise InputError(
            f"{path} lacks the lines {MARKS[0].strip()} and {MARKS[1]}; put them where the tables belong"
        )
    path.write_text(head + begin + "\n" + tables(result) + "\n\n" + end + tail, encoding="utf-8")


def _draw(result: dict[str, Any], path: Path) -> None:
    milliseconds = {name: row["p50"] for name, row in result["inprocess"].items()}
    rates = {
        name: {count: row["clients"][str(count)]["texts_a_second"] for count in CLIENTS}
        for name, row in result["http"].items()
    }
    serving_picture(milliseconds, rates, result["predictor"]["texts_a_second"], path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.run", description="Measure one model in process and over HTTP."
    )
    parser.add_argument("--project", type=Path, help="a project that has been run")
    parser.add_argument("--texts", type=Path, help="a file with columns text and label")
    parser.add_argument(
        "--rivals", type=Path, default=Path("rivals"), help="folder of the rivals' environments"
    )
    parser.add_argument("--seconds", type=int, default=8, help="of each load")
    parser.add_argument(
        "--rounds", type=int, default=3, help="starts of each server, of which the middle counts"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--readme", type=Path, help="a Markdown file that shows the tables between two marks")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
