from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokensieve.data.examples import Examples, load_labels

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAME = TEXT.filter(bool)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(TEXT, st.lists(NAME, max_size=1)), max_size=6).map(lambda rows: (rows, False))
    | st.lists(st.tuples(TEXT, st.lists(NAME, unique=True).map(sorted)), min_size=1, max_size=6).map(
        lambda rows: (rows, True)
    )
)
def test_saved_examples_are_loaded_again(
    tmp_path: Path, case: tuple[list[tuple[str, list[str]]], bool]
) -> None:
    rows, multi_label = case
    places = list(range(3, len(rows) + 3))
    examples = Examples([text for text, _ in rows], [tuple(own) for _, own in rows], places, multi_label)
    path = tmp_path / "train.jsonl"
    examples.save(path)
    assert Examples.load(path) == examples
    assert load_labels(path) == (examples.labels, multi_label)
    assert [file.name for file in tmp_path.iterdir()] == ["train.jsonl"]


def test_a_saved_label_is_a_name_a_list_or_missing(tmp_path: Path) -> None:
    Examples.of(["one"], ["a"]).save(tmp_path / "single.jsonl")
    Examples.of(["one", "two"], [["b", "a"], []]).save(tmp_path / "multi.jsonl")
    Examples.of(["one"]).save(tmp_path / "oos.jsonl")
    assert [path.read_text(encoding="utf-8") for path in sorted(tmp_path.iterdir())] == [
        '{"row": 1, "text": "one", "label": ["a", "b"]}\n{"row": 2, "text": "two", "label": []}\n',
        '{"row": 1, "text": "one"}\n',
        '{"row": 1, "text": "one", "label": "a"}\n',
    ]


def test_the_joined_labels_of_an_earlier_version_are_separated(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(
        '{"row": 1, "text": "one", "label": "a|b"}\n{"row": 2, "text": "two", "label": ""}\n',
        encoding="utf-8",
    )
    assert Examples.load(path, separator="|") == Examples.of(["one", "two"], [["a", "b"], []])
    assert load_labels(path, separator="|") == ([("a", "b"), ()], True)


def test_taken_examples_are_in_the_order_of_the_indices_and_keep_their_rows() -> None:
    examples = Examples(["a", "b", "c"], [("x",), ("y",), ("z",)], [1, 2, 4])
    assert examples.take([2, 0]) == Examples(["c", "a"], [("z",), ("x",)], [4, 1])
    assert len(examples) == 3
