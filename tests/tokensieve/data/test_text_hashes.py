from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.data.normalize import normalize_text
from tokensieve.data.text_hashes import hash_texts, load_hashes, save_hashes
from tokensieve.errors import InputError


@given(st.lists(st.text(), max_size=20))
def test_copies_of_a_text_and_only_they_share_a_hash(texts: list[str]) -> None:
    hashes = hash_texts(texts)
    assert hashes.dtype == np.uint64
    assert len(set(hashes.tolist())) == len({normalize_text(text) for text in texts})


def test_hashes_come_back_sorted_and_once(tmp_path: Path) -> None:
    save_hashes(tmp_path / "texts.npy", ["b", "a", "\ud800", " A "])
    found = load_hashes(tmp_path / "texts.npy")
    assert found is not None
    assert found.tolist() == sorted(set(hash_texts(["a", "b", "\ud800"]).tolist()))
    save_hashes(tmp_path / "none.npy", [])
    empty = load_hashes(tmp_path / "none.npy")
    assert empty is not None and len(empty) == 0


def test_a_file_that_is_missing_is_none_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    assert load_hashes(tmp_path / "absent.npy") is None
    (tmp_path / "cut.npy").write_bytes(b"")
    np.save(tmp_path / "floats.npy", np.zeros(3))
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in ("cut.npy", "floats.npy", "pickle.npy"):
        with pytest.raises(InputError, match="export the model again"):
            load_hashes(tmp_path / name)
