from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.training.experiment import FORMAT
from benchmarks.training.report import main
from benchmarks.training.results import append

MEANS = {"tokensieve": 0.90, "end_to_end": 0.88, "frozen": 0.85}
FISH = 0.82
MARKS = "<!-- benchmarks.training.report: begin -->\n<!-- benchmarks.training.report: end -->\n"


def canned(method: str, task: str, seed: int, **changed: Any) -> dict[str, Any]:
    """A cell of which accuracy and cost follow from its names."""
    record = {
        "format": FORMAT,
        "task": task,
        "shots": 10,
        "seed": seed,
        "method": method,
        "settings": {"mask.budget": 0.1} if method == "tokensieve" else {},
        "held_out": False,
        "device": "cpu",
        "accuracy": MEANS.get(method.partition("@")[0], FISH)
        + (0.01 if seed else 0.0)
        - (0.1 if task == "b" else 0.0),
        "cpu_seconds": 25.0 if method == "tokensieve" else 100.0,
        "wall_seconds": 50.0,
        "phases": {"train": {"wall": 40.0, "cpu": 20.0}, "test": {"wall": 1.0, "cpu": 1.0}},
        "peak_mib": {"resident": 500.0},
        "trained_parameters": 1000,
        "machine": {"cpu": "a processor", "gpu": None, "threads": 1, "torch": "2"},
        "commit": "abc",
    }
    return record | changed


def write(folder: Path, records: list[dict[str, Any]]) -> None:
    for number, record in enumerate(records):
        append(folder / "finetune" / "10-cpu.jsonl", {"cell": str(number), **record})


def row(text: str, method: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith(f"| {method} |")]
    return [word.strip() for word in lines[0].strip("|").split("|")]


def test_a_table_with_means_ranks_costs_and_tests(tmp_path: Path) -> None:
    write(tmp_path, [canned(method, task, seed) for method in MEANS for task in "ab" for seed in (0, 1)])
    assert main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "finetune.md").read_text(encoding="utf-8")
    assert row(text, "tokensieve") == [
        "tokensieve",
        "1,000",
        "90.50 ± 0.71",
        "80.50 ± 0.71",
        "85.50",
        "0.71",
        "1.0",
        "0.25",
        "–",
        "–",
    ]
    # Four pairs: 2 of 16 signs are as far out; times two methods.
    assert row(text, "end_to_end")[4:] == ["83.50", "0.71", "2.0", "1", "+2.00", "0.250"]
    assert "a processor, CPU threads: 1, torch 2" in text
    assert "Mixed" not in text
    assert (tmp_path / "finetune-10-cost.png").stat().st_size > 1000
    assert (tmp_path / "finetune-10-spread.png").stat().st_size > 1000
    assert not (tmp_path / "finetune-10-budget.png").exists()


def test_a_method_with_fewer_seeds_has_no_mean_and_no_rank(tmp_path: Path) -> None:
    cells = [canned(method, task, seed) for method in MEANS for task in "ab" for seed in (0, 1)]
    write(tmp_path, [cell for cell in cells if (cell["method"], cell["seed"]) != ("frozen", 1)])
    assert main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "finetune.md").read_text(encoding="utf-8")
    # Two pairs: 2 of 4 signs are as far out.
    assert row(text, "frozen")[2:] == ["85.00 (1)", "75.00 (1)", "–", "–", "–", "1", "+5.00", "0.500"]
    assert "Seeds: 2. In brackets" in text


def test_tasks_of_several_labels_say_what_their_scores_are(tmp_path: Path) -> None:
    several = {"score": 0.6, "micro_f1": 0.6}
    write(tmp_path, [canned("tokensieve", "a", 0), canned("tokensieve", "b", 0, **several)])
    assert main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "finetune.md").read_text(encoding="utf-8")
    assert row(text, "method")[2:5] == ["a", "b (micro F1)", "mean"]
    assert row(text, "tokensieve")[2:5] == ["90.00", "60.00", "75.00"]


def test_missing_cells_are_shown_as_missing(tmp_path: Path) -> None:
    cells = [canned("tokensieve", task, seed) for task in "ab" for seed in (0, 1)] + [
        canned("frozen", "a", 0)
    ]
    write(tmp_path, cells)
    assert main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "finetune.md").read_text(encoding="utf-8")
    assert row(text, "frozen") == ["frozen", "1,000", "85.00 (1)", "–", "–", "–", "–", "–", "+5.00", "–"]


def test_devices_and_shots_have_tables_of_their_own(tmp_path: Path) -> None:
    gpu = {
        "device": "cuda",
        "machine": {"cpu": "a processor", "gpu": "a card", "threads": 4, "torch": "2"},
        "shots": None,
    }
    cells = [canned(method, "a", 0) for method in MEANS] + [
        canned(method, "a", 0, **gpu) for method in ("tokensieve", "end_to_end")
    ]
    write(tmp_path, cells)
    assert main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "finetune.md").read_text(encoding="utf-8")
    assert "## 10 texts per class\n" in text
    below = text.partition("## All training texts, on a GPU, epoch chosen by the plain loss")[2]
    # On a GPU wall seconds count.
    assert row(below, "tokensieve")[6] == "1"
    assert "a card" in below


def test_budgets_make_a_plot_and_stay_out_of_the_table(tmp_path: Path) -> None:
    few = {"settings": {"mask.budget": 0.02}}
    write(
        tmp_path,
        [canned("tokensieve", "a", seed) for seed in (0, 1)]
        + [canned("tokensieve@0.02", "a", seed, **few) for seed in (0, 1)],
    )
    assert main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "finetune.md").read_text(encoding="utf-8")
    assert "finetune-10-budget.png" in text
    assert "| tokensieve@" not in text
    assert (tmp_path / "finetune-10-budget.png").stat().st_size > 1000


def test_mixed_settings_are_named_and_grid_points_left_out(tmp_path: Path) -> None:
    cells = [
        canned("frozen", "a", 0),
        canned("frozen", "a", 1, settings={"C": 2}),
        canned("frozen", "a", 2, accuracy=0.0, held_out=True),
    ]
    write(tmp_path, cells)
    assert main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "finetune.md").read_text(encoding="utf-8")
    assert "Mixed: cells of frozen were made with different settings" in text
    assert row(text, "frozen")[2] == "85.50 ± 0.71"


def test_a_variant_that_differs_in_more_than_it_names_is_mixed(tmp_path: Path) -> None:
    plain = {
        "mask.budget": 0.1,
        "schedule.all_layer_epochs": 0.3,
        "vocabulary": {"new_tokens": 0, "max_words": 3},
    }
    variants = {
        "tokensieve": plain,
        "tokensieve@0.02": plain | {"mask.budget": 0.02},
        "tokensieve@vocabulary.new_tokens=300": plain | {"vocabulary": {"new_tokens": 300, "max_words": 3}},
        "tokensieve@schedule.top_layers_from=0.5": plain
        | {"schedule.top_layers_from": 0.5, "schedule.all_layer_epochs": 0.2},
    }
    write(tmp_path, [canned(name, "a", 0, settings=settings) for name, settings in variants.items()])
    assert main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "finetune.md").read_text(encoding="utf-8")
    assert "Mixed: cells of tokensieve@schedule.top_layers_from=0.5 were made with different settings" in text


def test_variants_are_compared_with_ours_on_test_sets_and_held_out_texts(tmp_path: Path) -> None:
    names = (
        "tokensieve",
        "tokensieve@schedule.all_layer_epochs=1",
        "end_to_end@finetune.max_epochs=8",
        "fish",
    )
    write(tmp_path, [canned(name, "a", seed) for name in names for seed in (0, 1)])
    for place, (name, score) in enumerate(
        [("tokensieve", 0.5), ("tokensieve@schedule.all_layer_epochs=1", 0.6)]
    ):
        record = canned(name, "b", 3, held_out=2000, accuracy=score, shots=5)
        append(tmp_path / "held_out" / "5-cpu.jsonl", {"cell": str(place), **record})
    assert main(["--results", str(tmp_path)]) == 0
    tested, held_out = (
        (tmp_path / "finetune.md")
        .read_text(encoding="utf-8")
        .split("held-out training texts: 5 texts per class")
    )
    assert row(tested, "`tokensieve@schedule.all_layer_epochs=1`")[1:] == ["a", "2", "+0.00", "1.00", "4.00"]
    assert row(tested, "`end_to_end@finetune.max_epochs=8`")[3] == "-2.00"
    assert row(tested, "`fish`")[3] == "-8.00"
    assert row(held_out, "`tokensieve@schedule.all_layer_epochs=1`")[1:] == [
        "b",
        "1",
        "+10.00",
        "1.00",
        "4.00",
    ]


def test_wall_seconds_count_where_nothing_disturbed_them(tmp_path: Path) -> None:
    cells = [canned("tokensieve", task, seed, wall_seconds=26.0) for task in "ab" for seed in (0, 1)]
    cells += [canned("end_to_end", task, 0, wall_seconds=104.0) for task in "ab"]
    # Waiting for a core took half of the time here, and would make tokensieve look twice as good.
    cells += [canned("end_to_end", task, 1, wall_seconds=208.0) for task in "ab"]
    write(tmp_path, cells)
    assert main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "finetune.md").read_text(encoding="utf-8")
    assert (
        "core to themselves: tokensieve takes 0.25 of end_to_end's (a 0.25, b 0.25; 2 pairs of cells)."
        in text
    )


def test_random_weights_show_time_and_memory_alone(tmp_path: Path) -> None:
    random = {"settings": {"base.model": "random-bert-base"}, "accuracy": 0.01}
    write(
        tmp_path,
        [
            canned("tokensieve", "a", 0),
            canned("tokensieve", "a", 1, **random),
            canned("end_to_end", "a", 1, **random),
        ],
    )
    assert main(["--results", str(tmp_path)]) == 0
    usual, alone = (
        (tmp_path / "finetune.md").read_text(encoding="utf-8").split("random weights: time and memory only")
    )
    assert row(usual, "tokensieve")[2] == "90.00"
    assert "end_to_end |" not in usual
    assert row(alone, "end_to_end")[1] == "100.0"
    assert "1.00" not in alone


def test_each_encoder_has_tables_of_its_own(tmp_path: Path) -> None:
    larger = {"settings": {"base.model": "larger"}, "accuracy": 0.95, "peak_mib": {"resident": 1500.0}}
    for place, method in enumerate(("tokensieve", "end_to_end")):
        append(tmp_path / "finetune" / "10-cpu.jsonl", {"cell": str(place), **canned(method, "a", 0)})
        record = {"cell": str(place), **canned(method, "a", 0, **larger)}
        append(tmp_path / "finetune-larger" / "10-cpu.jsonl", record)
    readme = tmp_path / "README.md"
    readme.write_text(MARKS, encoding="utf-8")
    assert main(["--results", str(tmp_path), "--readme", str(readme)]) == 0
    for page in (readme, tmp_path / "finetune.md"):
        first, second = page.read_text(encoding="utf-8").split("10 texts per class, larger")
        assert row(first, "tokensieve")[2] == "90.00"
        assert row(second, "tokensieve")[2] == "95.00"
    assert "mean over cells: tokensieve 1,500, end_to_end 1,500." in readme.read_text(encoding="utf-8")
    assert (tmp_path / "finetune-10-larger-cost.png").exists()
    # Encoders differ on purpose.
    assert "Mixed" not in (tmp_path / "finetune.md").read_text(encoding="utf-8")


def test_published_samples_stand_beside_the_figures_of_the_papers(tmp_path: Path) -> None:
    write(tmp_path, [canned("tokensieve", "a", 0)])
    cells = [canned("tokensieve", "banking77_5", seed, shots=5) for seed in (0, 1)]
    cells += [canned("end_to_end", "banking77_5", 1, shots=5, accuracy=0.90)]
    mpnet = {"base.model": "all-mpnet-base-v2"}
    cells += [canned("frozen", "hwu64_10", 0, settings=mpnet)]
    for place, record in enumerate(cells):
        append(tmp_path / "published" / "cpu.jsonl", {"cell": str(place), **record})
    assert main(["--results", str(tmp_path)]) == 0
    usual, published = (tmp_path / "finetune.md").read_text(encoding="utf-8").split("## Published")
    assert "banking77_5" not in usual
    assert row(published, "tokensieve") == [
        "tokensieve",
        "all-MiniLM-L6-v2",
        "22 M",
        "90.50 ± 0.71 (2)",
        *["–"] * 5,
    ]
    assert row(published, "frozen")[1:] == ["all-mpnet-base-v2", "110 M", *["–"] * 5, "85.00 (1)"]
    assert row(published, "CPFT (Zhang et al., EMNLP 2021)")[3:5] == ["80.86", "87.20"]
    assert "all-MiniLM-L6-v2: end_to_end +1.00 (1 pair, p 1.000)." in published


def test_no_results_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--results", str(tmp_path)]) == 2
    assert "holds no result" in capsys.readouterr().err


def test_variants_are_set_against_the_default(tmp_path: Path) -> None:
    cells = [canned("tokensieve", task, seed) for task in "ab" for seed in (0, 1)]
    cells += [
        canned("tokensieve@schedule.all_layer_epochs=0", "a", 0, accuracy=0.89, cpu_seconds=20.0),
        canned("fish", "b", 1, accuracy=0.82),
    ]
    write(tmp_path, [record | {"settings": {}} for record in cells])
    assert main(["--results", str(tmp_path)]) == 0
    text = (tmp_path / "finetune.md").read_text(encoding="utf-8")
    assert row(text, "`tokensieve@schedule.all_layer_epochs=0`") == [
        "`tokensieve@schedule.all_layer_epochs=0`",
        "a",
        "1",
        "-1.00",
        "1.00",
        "0.80",
    ]
    assert row(text, "`fish`")[1:5] == ["b", "1", "+1.00", "1.00"]


def test_tables_go_between_the_marks_of_a_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, [canned(method, "a", seed) for method in MEANS for seed in (0, 1)])
    readme = tmp_path / "README.md"
    readme.write_text(
        "before\n<!-- benchmarks.training.report: begin -->\nold\n<!-- benchmarks.training.report: end -->\n"
        "after\n",
        encoding="utf-8",
    )
    assert main(["--results", str(tmp_path), "--readme", str(readme)]) == 0
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(
        "before\n<!-- benchmarks.training.report: begin -->\n\n**10 texts per class**\n\n| method |"
    )
    assert text.endswith("<!-- benchmarks.training.report: end -->\nafter\n")
    assert "old" not in text
    assert row(text, "tokensieve")[2] == "90.50 ± 0.71"
    assert main(["--results", str(tmp_path), "--readme", str(readme)]) == 0
    assert readme.read_text(encoding="utf-8") == text
    readme.write_text("no marks", encoding="utf-8")
    assert main(["--results", str(tmp_path), "--readme", str(readme)]) == 2
    assert "put them where the tables belong" in capsys.readouterr().err


def test_cells_whose_epoch_was_chosen_otherwise_have_a_table_of_their_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        [
            canned(method, "a", seed, shots=None, settings=settings)
            for method in MEANS
            for settings, seeds in (({}, (0, 1)), ({"early stopping": "calibrated loss"}, (0,)))
            for seed in seeds
        ],
    )
    readme = tmp_path / "README.md"
    readme.write_text(MARKS, encoding="utf-8")
    assert main(["--results", str(tmp_path), "--readme", str(readme)]) == 0
    text = (tmp_path / "finetune.md").read_text(encoding="utf-8")
    _, old, new = text.split("## All training texts")
    assert old.startswith(", epoch chosen by the plain loss (earlier code)\n")
    assert new.startswith(", epoch chosen by the calibrated loss\n")
    assert row(old, "end_to_end")[2] == "88.50 ± 0.71"
    shown = readme.read_text(encoding="utf-8")  # the earlier one is left out
    assert "calibrated loss" in shown and "plain loss" not in shown
    assert row(new, "end_to_end")[2] == "88.00"
    assert (tmp_path / "finetune-full-calibrated-spread.png").exists()
