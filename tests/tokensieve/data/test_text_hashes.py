from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.data.normalize import copy_key, normalize_text
from tokensieve.data.text_hashes import are_among, hash_texts, load_hashes, save_hashes
from tokensieve.errors import InputError


@given(st.lists(st.text(), max_size=20))
def test_copies_of_a_text_and_only_they_share_a_hash(texts: list[str]) -> None:
    hashes = hash_texts(texts)
    assert hashes.dtype == np.uint64
    assert len(set(hashes.tolist())) == len({copy_key(text) for text in texts})


TWINS = ["caf\u00e9  au lait", "cafe\u0301 au lait", "\uff23AF\u00c9 au\u200b lait "]


def test_copies_are_among_the_texts_however_unicode_writes_them() -> None:
    for text in TWINS:
        found = are_among([*TWINS, "cafe au lait"], hash_texts([text]))
        assert found.tolist() == [True, True, True, False]


def test_hashes_of_earlier_versions_are_known() -> None:
    texts = ["Caf\u00e9  AU lait", "caf\u00e9 au lait", "plain text"]
    digests = [hashlib.sha256(normalize_text(text).encode()).digest() for text in texts]
    old = np.array([int.from_bytes(digest[:8]) for digest in digests], np.uint64)
    assert are_among([*texts, *TWINS, " Plain TEXT", "other"], old).tolist() == [True] * 7 + [False]
    assert are_among(["cafe\u0301 au lait"], old[:1]).tolist() == [False]  # the file cannot say more


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
