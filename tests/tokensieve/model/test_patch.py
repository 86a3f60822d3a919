"""The patch on arrays and as a file: exact in both directions, small, and refused wherever it does
not belong.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import safe_open
from safetensors.numpy import save_file

from tokensieve.errors import InputError
from tokensieve.model import patch_file as module
from tokensieve.model.patch import Array, Patch, State, apply_patch, find_changes, revert_patch, state_hash
from tokensieve.model.patch_file import read_patch, write_patch

FACTS = {
    "labels": ["größe", "b"],
    "pooling": "mean",
    "max_length": 16,
    "base": "some/model",
    "base_hash": "ab" * 32,
}
FILES = {
    "tokenizer.json": (b'{"a": 1}', b'{"a": 2}'),
    "pieces.json": (None, b"{}"),
    "1_Pooling/config.json": (b"", None),
}


def patch_of(old: State, new: State) -> Patch:
    return Patch(FACTS, find_changes(old, new), FILES, state_hash(old), state_hash(new))


def bits(state: State) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """What must be equal: NaN and the sign of zero, too."""
    return {name: (array.dtype.name, array.shape, array.tobytes()) for name, array in state.items()}


@st.composite
def states(draw: st.DrawFn) -> tuple[State, State]:
    """A base's state and one fine-tuned from it: tensors with any bits changed, grown by rows, new,
    or left alone.
    """
    old: dict[str, Array] = {}
    new: dict[str, Array] = {}
    for name in draw(
        st.lists(st.sampled_from(["encoder.a", "encoder.b.weight", "encoder.c", "head.weight"]), unique=True)
    ):
        dtype = draw(st.sampled_from([np.float32, np.float16, np.int64]))
        shape = draw(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
        tuned = draw(arrays.arrays(dtype, shape))
        if draw(st.booleans()):
            kept = draw(st.integers(0, shape[0])) if shape else None
            start = tuned[:kept].copy() if shape else tuned.copy()
            # No more than a few entries differ, so that all kinds of change occur.
            for place in draw(st.lists(st.integers(0, start.size - 1), max_size=4)) if start.size else []:
                start.flat[place] = draw(arrays.from_dtype(np.dtype(dtype)))
            old[name] = start
        new[name] = tuned
    return old, new


@settings(max_examples=150)
@given(states())
def test_a_patch_leads_there_and_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, pair: tuple[State, State]
) -> None:
    old, new = pair
    before = bits(old), bits(new)
    path = tmp_path_factory.mktemp("patch") / "patch.safetensors"
    write_patch(patch_of(old, new), path)
    loaded = read_patch(path)
    assert (loaded.classifier, loaded.files) == (FACTS, FILES)
    assert bits(apply_patch(old, loaded)) == bits(new)
    assert bits(revert_patch(new, loaded)) == bits(old)
    assert (bits(old), bits(new)) == before


def test_nan_payloads_and_the_sign_of_zero_are_kept() -> None:
    old = {"encoder.a": np.array([0.0, 1.0, 0x7FC00001], np.float32)}
    new = {"encoder.a": np.array([0x80000000, 0x7FC12345, 0xFF800001], np.uint32).view(np.float32)}
    assert bits(apply_patch(old, patch_of(old, new))) == bits(new)


@pytest.mark.parametrize(
    ("kind", "place", "indices", "counts"),
    [
        ("rows", np.s_[[1, 4]], [1, 4], (2, 6)),
        ("columns", np.s_[:, [0, 7]], [0, 7], (2, 8)),
        ("entries", np.s_[[0, 2, 5], [3, 0, 7]], [3, 16, 47], (3, 48)),
        ("whole", np.s_[:, :], [], (48, 48)),
    ],
)
def test_a_change_is_kept_in_its_smallest_form(
    kind: str, place: object, indices: list[int], counts: tuple[int, int]
) -> None:
    old = {"encoder.a": np.ones((6, 8), np.float32), "encoder.b": np.ones(3, np.float32)}
    new = {"encoder.a": old["encoder.a"].copy(), "encoder.b": old["encoder.b"].copy()}
    new["encoder.a"][place] = 2.0  # type: ignore[call-overload]
    found = find_changes(old, new)
    assert list(found) == ["encoder.a"]
    change = found["encoder.a"]
    assert (change.kind, change.indices.tolist(), change.counts) == (kind, indices, counts)
    assert change.bits.tolist() == [0x3F800000 ^ 0x40000000] * int(
        (old["encoder.a"] != new["encoder.a"]).sum()
    )


def test_only_the_new_rows_of_a_grown_tensor_are_kept() -> None:
    old = {"encoder.embeddings": np.ones((100, 4), np.float32)}
    new = {
        "encoder.embeddings": np.concatenate([old["encoder.embeddings"], np.full((2, 4), 3.0, np.float32)])
    }
    change = find_changes(old, new)["encoder.embeddings"]
    assert (change.kind, change.indices.tolist(), change.before, change.after) == (
        "rows",
        [100, 101],
        (100, 4),
        (102, 4),
    )
    assert (change.bits.view(np.float32) == 3.0).all()


def test_no_change_is_an_empty_patch() -> None:
    state = {"encoder.a": np.array([0.0, np.nan], np.float32)}
    patch = patch_of(state, {"encoder.a": state["encoder.a"].copy()})
    assert patch.changes == {}
    assert bits(apply_patch(state, patch)) == bits(revert_patch(state, patch)) == bits(state)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({}, "tensor encoder.a of the base is not in the model"),
        (
            {"encoder.a": np.ones((2, 3), np.float32)},
            r"encoder.a is float32 \(2, 3\), and float32 \(4, 3\) in the base",
        ),
        (
            {"encoder.a": np.ones((4, 4), np.float32)},
            r"encoder.a is float32 \(4, 4\), and float32 \(4, 3\) in the base",
        ),
        (
            {"encoder.a": np.ones(4, np.float32)},
            r"encoder.a is float32 \(4,\), and float32 \(4, 3\) in the base",
        ),
        (
            {"encoder.a": np.ones((4, 3), np.float16)},
            r"encoder.a is float16 \(4, 3\), and float32 \(4, 3\) in the base",
        ),
    ],
)
def test_models_that_were_not_fine_tuned_from_the_base_are_refused(new: State, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_changes({"encoder.a": np.ones((4, 3), np.float32)}, new)


OLD: State = {
    "encoder.a": np.arange(60, dtype=np.float32).reshape(6, 10),
    "encoder.b": np.ones(4, np.float32),
}
NEW: State = {
    "encoder.a": OLD["encoder.a"] * np.float32(1.001),
    "encoder.b": OLD["encoder.b"],
    "head.weight": np.ones((2, 10), np.float32),
}


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(NEW, id="patched already"),
        pytest.param(
            OLD | {"encoder.b": np.nextafter(OLD["encoder.b"], np.float32(2))},
            id="the last bit, in a tensor without a change",
        ),
        pytest.param(OLD | {"encoder.b": OLD["encoder.b"].reshape(2, 2)}, id="another shape"),
        pytest.param({"encoder.a": OLD["encoder.a"]}, id="a tensor less"),
    ],
)
def test_another_base_is_refused_by_name_and_hash(state: State) -> None:
    with pytest.raises(InputError) as refused:
        apply_patch(state, patch_of(OLD, NEW))
    assert [
        part
        for part in ("'some/model'", state_hash(OLD)[:12], state_hash(state)[:12])
        if part not in str(refused.value)
    ] == []


@pytest.mark.parametrize(
    "state", [OLD, NEW | {"head.weight": np.zeros((2, 10), np.float32)}], ids=["the base", "another head"]
)
def test_another_model_has_nothing_to_remove(state: State) -> None:
    with pytest.raises(InputError) as refused:
        revert_patch(state, patch_of(OLD, NEW))
    assert [
        part
        for part in ("'some/model'", state_hash(NEW)[:12], state_hash(state)[:12])
        if part not in str(refused.value)
    ] == []


def test_a_patch_that_leads_elsewhere_is_refused() -> None:
    patch = patch_of(OLD, NEW)
    with pytest.raises(InputError, match="gives other weights than recorded"):
        apply_patch(OLD, replace(patch, model_state="0" * 64))
    with pytest.raises(InputError, match="gives other weights than recorded"):
        revert_patch(NEW, replace(patch, base_state="0" * 64))


def test_equal_patches_are_equal_bytes_whatever_their_order(tmp_path: Path) -> None:
    patch = patch_of(OLD, NEW)
    turned = replace(
        patch, changes=dict(reversed(patch.changes.items())), files=dict(reversed(patch.files.items()))
    )
    for name, one in {"a": patch, "b": turned, "c": patch_of(dict(OLD), dict(NEW))}.items():
        write_patch(one, tmp_path / "new" / name)
    write_patch(read_patch(tmp_path / "new" / "a"), tmp_path / "new" / "d")
    assert len({path.read_bytes() for path in (tmp_path / "new").iterdir()}) == 1
    assert len(list((tmp_path / "new").iterdir())) == 4


def test_small_steps_take_less_than_their_values(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    old = {"encoder.a": draw.normal(scale=0.04, size=(400, 100)).astype(np.float32)}
    new = {"encoder.a": old["encoder.a"].copy()}
    new["encoder.a"][:200] += draw.normal(scale=0.002, size=(200, 100)).astype(np.float32)
    write_patch(patch_of(old, new), tmp_path / "patch")
    assert (tmp_path / "patch").stat().st_size < 0.9 * 200 * 100 * 4


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_indices_of_entries_need_less_space_than_their_values(tmp_path: Path, share: float) -> None:
    draw = np.random.default_rng(0)
    old = {"encoder.a": draw.normal(size=(500, 400)).astype(np.float32)}
    new = {
        "encoder.a": np.where(
            draw.random((500, 400)) < share, draw.normal(size=(500, 400)).astype(np.float32), old["encoder.a"]
        )
    }
    patch = patch_of(old, new)
    assert patch.changes["encoder.a"].kind == "entries"
    write_patch(patch, tmp_path / "patch")
    with safe_open(tmp_path / "patch", "np") as file:
        sizes = {kind: file.get_tensor(f"encoder.a.{kind}").size for kind in ("indices", "values")}
    assert sizes["indices"] < 1.2 * len(patch.changes["encoder.a"].indices) < 0.4 * sizes["values"]
    assert bits(apply_patch(old, read_patch(tmp_path / "patch"))) == bits(new)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a patch file."""
    path = tmp_path_factory.mktemp("whole") / "patch"
    write_patch(patch_of(OLD, NEW), path)
    return path.read_bytes()


@settings(max_examples=150)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(place=0.0, bit=0)
@example(place=0.999999, bit=0)
def test_one_wrong_bit_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, place: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "patch"
    damaged = bytearray(whole)
    damaged[int(place * len(damaged))] ^= 1 << bit
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"is damaged|is not a complete patch|patch format"):
        read_patch(path)


@pytest.mark.parametrize("content", [b"", b"text", "half", "mask", "later"])
def test_what_is_no_patch_is_refused(tmp_path: Path, whole: bytes, content: bytes | str) -> None:
    path, message = tmp_path / "patch", "is not a complete patch"
    if content == "mask":
        save_file({"a": np.zeros(2, np.int32)}, path, metadata={"shape": "rows"})
    elif content == "later":
        path.write_bytes(whole.replace(b'\\"format\\": 2', b'\\"format\\": 9'))
        message = "has patch format '9'; this version reads 2"
    else:
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        read_patch(path)


def test_a_file_that_is_not_there_and_a_folder_in_its_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_patch(tmp_path / "none")
    with pytest.raises(InputError, match="is not a complete patch"):
        read_patch(tmp_path)
    with pytest.raises(InputError, match="is a folder; use a file"):
        write_patch(patch_of(OLD, NEW), tmp_path)


def test_a_save_that_fails_keeps_the_earlier_file(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "patch"
    path.write_bytes(whole)
    with pytest.raises(TypeError):
        write_patch(replace(patch_of(OLD, NEW), classifier=FACTS | {"max_length": object()}), path)
    assert path.read_bytes() == whole


def test_a_patch_file_is_valid_safetensors_with_metadata(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "patch").write_bytes(whole)
    with safe_open(tmp_path / "patch", "np") as file:
        assert sorted(file.keys()) == [
            "encoder.a.indices",
            "encoder.a.values",
            "files",
            "head.weight.indices",
            "head.weight.values",
        ]
        assert all(part in file.metadata()["patch"] for part in ("some/model", "größe", "ab" * 32))


@pytest.mark.parametrize(
    "changed",
    [
        {"changes": 7},
        {"changes": {"encoder.a": []}},
        {"changes": {"encoder.absent": ["whole", "float32", [6, 10], [6, 10]]}},
        {"changes": {"encoder.a": ["whole", "no type", [6, 10], [6, 10]]}},
        {"changes": {"encoder.a": ["whole", "float32", [6, 10], [-6, "x"]]}},
        {"files": [["config.json", "x", None]]},
        {"classifier": None, "files": {}, "base_state": None},
    ],
)
def test_an_invented_patch_is_refused(changed: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "patch.safetensors"
    write_patch(patch_of(OLD, NEW), path)
    tree, tensors = module._read(path)
    tree |= changed
    tree["sha256"] = module._checksum(tree, tensors)
    module.save_file(tensors, path, metadata={"patch": json.dumps(tree)})
    with pytest.raises(InputError, match="Extract it again"):
        apply_patch(OLD, read_patch(path))
