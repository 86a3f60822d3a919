"""Measure how a tokenizer divides the informative words of tasks, and what new tokens would save.

    python -m benchmarks.studies.fragmentation --data ../shared/data --tasks hwu64,snips

The informative words are the constructs of one word in a sample of the task. New tokens are chosen
as `vocabulary.new_tokens` does. The tokens that they save are those of the test texts, with special
tokens. Time is that of ONNX Runtime, fp32 and fused, one text at a time on one thread, in CPU
seconds, so that other load on the machine matters little. It depends on the number of tokens alone,
so no model is trained. Results are appended to a file of JSON Lines.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks import markdown
from benchmarks.command import reports_input_errors
from benchmarks.timing import commit, machine
from benchmarks.training import results
from benchmarks.training.tasks import data_hash, draw, task_files
from tokensieve.export.onnx_graph import export_onnx, fuse
from tokensieve.fitting import rank
from tokensieve.inference.session import IDS
from tokensieve.method.fragmentation import measure_fragmentation
from tokensieve.method.vocabulary import choose_new_tokens, extend_tokenizer
from tokensieve.model.batches import token_counts
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import choose_pooling, find_base_model, load_encoder, load_tokenizer
from tokensieve.settings import Settings

RESULTS = Path(__file__).parents[1] / "results" / "vocabulary" / "fragmentation.jsonl"
TIMED = 300  # test texts whose time is measured
ROUNDS = 3
HEADER = (
    *("task", "texts", "informative words", "several tokens", "tokens per word", "new tokens"),
    *("tokens per test text", "with new tokens", "tokens saved"),
    *("ms per text", "ms with new tokens", "ms saved"),
)


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Append a result per task and size, and print them as a table. Return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.fragmentation",
        description="Measure how informative words are divided into tokens.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of task folders")
    parser.add_argument("--tasks", required=True, help="names of task folders, separated by commas")
    parser.add_argument("--shots", type=int, help="texts per class; default: all texts")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument("--new-tokens", type=int, default=300, help="maximum number of new tokens")
    parser.add_argument("--base", default=Settings().base.model, help="base model")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the results")
    asked = parser.parse_args(arguments)
    for task in asked.tasks.split(","):
        task_files(asked.data, task)
    base = find_base_model(asked.base)
    session = _session(base)
    records = [_measure(asked, task, base, session) for task in asked.tasks.split(",")]
    for record in records:
        results.append(asked.output, record)
    print(table(records))
    return 0


def table(records: Sequence[dict[str, Any]]) -> str:
    """Return the records as a Markdown table."""
    return markdown.table([HEADER, *map(_row, records)])


def _measure(
    asked: argparse.Namespace, task: str, base: Path, session: onnxruntime.InferenceSession
) -> dict[str, Any]:
    sample, settings = draw(asked.data, task, asked.shots, asked.seed), Settings()
    before = load_tokenizer(base)
    constructs = rank(sample.train, settings)
    added = choose_new_tokens(before, constructs, asked.new_tokens)
    with tempfile.TemporaryDirectory() as folder:
        after = extend_tokenizer(before, added, Path(folder))
    counts = [token_counts(tokenizer, sample.test.texts) for tokenizer in (before, after)]
    milliseconds = _milliseconds(session, [own[:TIMED] for own in counts])
    return {
        "cell": f"{task}/{asked.shots or 'full'}-{asked.seed}",
        "task": task,
        "shots": asked.shots,
        "seed": asked.seed,
        "base": asked.base if asked.base == settings.base.model else base.name,
        "data": data_hash(asked.data, task),
        "texts": len(sample.train),
        **asdict(measure_fragmentation(before, constructs)),
        "train_tokens": sum(token_counts(before, sample.train.texts)),
        "new_tokens": len(added),
        "tokens_per_text": [round(statistics.mean(own), 3) for own in counts],
        "milliseconds": [round(own, 3) for own in milliseconds],
        "machine": machine("cpu"),
        "commit": commit(),
    }


def _session(base: Path) -> onnxruntime.InferenceSession:
    """Return the base model with an untrained head of one class, as the export makes it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        classifier = Classifier(load_encoder(base), choose_pooling(base), ["a"])
        classifier.save(folder, load_tokenizer(base), {})
        graph = fuse(folder / "plain.onnx", export_onnx(folder, folder / "plain.onnx"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _milliseconds(session: onnxruntime.InferenceSession, counts: Sequence[Sequence[int]]) -> list[float]:
    """Return the mean milliseconds per text, for each of the `counts` of the texts' tokens.

    The texts take turns, so that noise affects both alike. Of `ROUNDS` rounds, the fastest counts.
    """
    spent = np.zeros((ROUNDS, len(counts), len(counts[0])))
    for number in range(ROUNDS):
        for text, lengths in enumerate(zip(*counts, strict=True)):
            for side, length in enumerate(lengths):
                ids = np.ones((1, length), np.int64)
                began = time.process_time()
                session.run(None, {IDS: ids})
                spent[number, side, text] = time.process_time() - began
    return [float(mean) for mean in 1000 * spent.min(0).mean(1)]


def _row(record: dict[str, Any]) -> list[str]:
    tokens, milliseconds = record["tokens_per_text"], record["milliseconds"]
    return [
        record["task"],
        f"{record['texts']:,}",
        f"{record['words']:,}",
        f"{record['divided']:.0%}",
        f"{record['tokens_per_word']:.2f}",
        f"{record['new_tokens']:,}",
        *(f"{number:.2f}" for number in tokens),
        f"{1 - tokens[1] / tokens[0]:.1%}",
        *(f"{number:.2f}" for number in milliseconds),
        f"{1 - milliseconds[1] / milliseconds[0]:.1%}",
    ]


if __name__ == "__main__":
    sys.exit(main())
