from __future__ import annotations

import pytest

from benchmarks.studies.constructs import main, make_texts


def test_texts_are_as_many_and_as_long_as_wanted() -> None:
    texts, labels = make_texts(7, 12)
    assert [len(text.split()) for text in texts] == [12] * 7
    assert len(labels) == 7


@pytest.mark.parametrize("word", ["200", "0x25", "2000x", "ax25"])
def test_a_word_that_is_no_size_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--sizes", word])
    assert ended.value.code == 2
    assert f"'{word}' is no size" in capsys.readouterr().err
