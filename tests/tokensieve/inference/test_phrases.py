from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.errors import InputError
from tokensieve.inference.phrases import NAME, read_phrases, save_phrases


def test_phrases_are_the_constructs_of_several_words(tmp_path: Path) -> None:
    save_phrases(tmp_path, ["card", "lost card", "Ümlaut ist da", "lost card"])
    files = {NAME: (tmp_path / NAME).read_bytes()}
    assert read_phrases(tmp_path, files) == {"lost card", "Ümlaut ist da"}


def test_a_folder_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    assert read_phrases(tmp_path, {}) == frozenset()


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}", b"[1]", b"null", b'"text"', b"[" * 100_000])
def test_other_content_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"phrases.json .*export the model again"):
        read_phrases(tmp_path, {NAME: content})
