from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor

from tokensieve.method.mask import Mask, select_entries, select_rows, unit_count

# A few values only, so that ties are frequent; thirds, so that densities are no round numbers.
MODULES = st.dictionaries(
    st.sampled_from(["b", "a", "c.10", "c.9"]),
    st.tuples(
        st.integers(1, 5), st.lists(st.sampled_from([0.0, 1 / 3, 1.0, 2.0, 5.0]), min_size=1, max_size=6)
    ),
    min_size=1,
)


MATRICES = st.dictionaries(
    st.sampled_from(["b", "a", "c.10", "c.9"]),
    st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
        lambda shape: st.lists(
            st.sampled_from([0.0, 0.1, 1.0, 2.0]), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]
        ).map(lambda values: torch.tensor(values).view(shape))
    ),
    min_size=1,
)


def chosen(mask: Mask) -> dict[str, list[int]]:
    return {name: rows.tolist() for name, rows in mask.indices.items()}


def greedy(scores: dict[str, Tensor], sizes: dict[str, int], budget: int) -> dict[str, list[int]]:
    """The plain reference: the best row first, if it still fits."""
    rows = [
        (-score / sizes[name], name, i)
        for name, found in scores.items()
        for i, score in enumerate(found.tolist())
    ]
    taken: dict[str, list[int]] = {}
    for _, name, i in sorted(rows):
        if sizes[name] <= budget:
            budget -= sizes[name]
            taken.setdefault(name, []).append(i)
    return {name: sorted(found) for name, found in taken.items()}


@settings(max_examples=200)
@given(MODULES, st.integers(0, 60))
def test_the_selection_is_the_greedy_one_within_the_budget(
    modules: dict[str, tuple[int, list[float]]], budget: int
) -> None:
    scores = {name: torch.tensor(values, dtype=torch.float64) for name, (_, values) in modules.items()}
    sizes = {name: size for name, (size, _) in modules.items()}
    found = select_rows(scores, sizes, budget)
    assert chosen(found) == greedy(scores, sizes, budget)
    assert sum(sizes[name] * len(rows) for name, rows in found.indices.items()) <= budget
    turned = select_rows(dict(reversed(scores.items())), sizes, budget)
    assert (chosen(turned), list(turned.indices)) == (chosen(found), sorted(found.indices))


def test_layers_compete_by_score_a_weight() -> None:
    scores = {"wide": torch.tensor([8.0, 1.0]), "narrow": torch.tensor([3.0, 6.0])}
    assert chosen(select_rows(scores, {"wide": 4, "narrow": 2}, 2)) == {"narrow": [1]}
    assert chosen(select_rows(scores, {"wide": 4, "narrow": 2}, 6)) == {"narrow": [1], "wide": [0]}
    assert chosen(select_rows(scores, {"wide": 1, "narrow": 2}, 3)) == {"narrow": [1], "wide": [0]}


def test_a_row_that_no_longer_fits_is_passed_over_for_a_shorter_one() -> None:
    scores = {"wide": torch.tensor([9.0, 8.0]), "narrow": torch.tensor([0.5])}
    assert chosen(select_rows(scores, {"wide": 3, "narrow": 1}, 4)) == {"wide": [0], "narrow": [0]}


def test_ties_are_broken_by_name_and_index() -> None:
    scores = {"b": torch.ones(3), "a": torch.ones(3)}
    assert chosen(select_rows(scores, {"a": 1, "b": 1}, 4)) == {"a": [0, 1, 2], "b": [0]}


def test_indices_are_ascending_whole_numbers() -> None:
    found = select_rows({"a": torch.tensor([1.0, 3.0, 2.0])}, {"a": 1}, 2, "columns")
    assert (found.shape, found.indices["a"].dtype, found.indices["a"].tolist()) == (
        "columns",
        torch.int64,
        [1, 2],
    )


@settings(max_examples=200)
@given(MATRICES, st.integers(1, 60))
def test_the_highest_entries_of_all_modules_are_selected(scores: dict[str, Tensor], budget: int) -> None:
    before = {name: values.clone() for name, values in scores.items()}
    flat = {name: values.flatten() for name, values in scores.items()}
    found = select_entries(scores, budget)
    assert found.shape == "entries"
    assert chosen(found) == greedy(flat, dict.fromkeys(scores, 1), budget)
    assert chosen(found) == chosen(select_rows(flat, dict.fromkeys(scores, 1), budget))
    assert {entries.dtype for entries in found.indices.values()} == {torch.int64}
    turned = select_entries(dict(reversed(scores.items())), budget)
    assert (chosen(turned), list(turned.indices)) == (chosen(found), sorted(found.indices))
    assert all(torch.equal(scores[name], values) for name, values in before.items())


def test_unit_count_is_the_number_of_possible_indices() -> None:
    weight = torch.zeros(3, 5)
    assert {shape: unit_count(weight, shape) for shape in ("rows", "columns", "entries")} == {
        "rows": 3,
        "columns": 5,
        "entries": 15,
    }


@pytest.mark.parametrize("shape", ["rows", "columns", "entries"])
def test_a_mask_is_saved_and_loaded(tmp_path: Path, shape: str) -> None:
    mask = Mask(
        shape,
        {"layer.1.dense": torch.tensor([0, 5, 70_000]), "layer.0.dense": torch.tensor([2])},
        torch.tensor([7, 9]),
    )
    mask.save(tmp_path / "mask.safetensors")
    loaded = Mask.load(tmp_path / "mask.safetensors")
    assert (loaded.shape, chosen(loaded), loaded.tokens.tolist()) == (shape, chosen(mask), [7, 9])
    assert {rows.dtype for rows in loaded.indices.values()} == {torch.int64}
    before = (tmp_path / "mask.safetensors").read_bytes()
    loaded.save(tmp_path / "mask.safetensors")
    assert (tmp_path / "mask.safetensors").read_bytes() == before


def test_indices_are_kept_in_half_the_space_where_they_fit(tmp_path: Path) -> None:
    Mask("entries", {"a": torch.tensor([0, 2**31 - 1]), "b": torch.tensor([0, 2**31])}).save(
        tmp_path / "mask.safetensors"
    )
    with safe_open(tmp_path / "mask.safetensors", "pt") as file:
        kinds = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
        assert kinds == {"a": torch.int32, "b": torch.int64}
    assert chosen(Mask.load(tmp_path / "mask.safetensors")) == {"a": [0, 2**31 - 1], "b": [0, 2**31]}
