from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.inference.words import (
    construct_name,
    count_words,
    find_words,
    is_unspaced,
    ngrams,
    word_pattern,
    word_spans,
    words_in_a_row,
)

PLAIN = re.compile(r"\w+(?:['’]\w+)*")  # the words of texts without marks, in scripts with spaces


def each_character(text: str) -> list[tuple[int, int]]:
    return [(place, place + 1) for place in range(len(text))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I can't go, it's late!!", ["I", "can't", "go", ",", "it's", "late", "!!"]),
        ("  'quoted' \n", ["'", "quoted", "'"]),
        ("love 💔👩‍👧❤️ you", ["love", "💔👩‍👧❤️", "you"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("x\u0301y", ["x\u0301y"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("iPhone手机坏了", ["iPhone", "手", "机", "坏", "了"]),
        ("", []),
        (" \t\x00", []),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in find_words(text, each_character(text))] == words


def test_scripts_without_spaces_are_divided_at_tokens_only() -> None:
    text = "手机坏了 phones"
    tokens = [(0, 2), (2, 4), (5, 8), (8, 11)]
    assert [text[start:end] for start, end in find_words(text, tokens)] == ["手机", "坏了", "phones"]


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_words_are_in_order_and_leave_out_nothing_but_spaces(text: str) -> None:
    words = find_words(text, each_character(text))
    ends = [0, *(end for _, end in words)]
    assert all(before <= start < end for before, (start, end) in zip(ends, words, strict=False))
    outside = set(range(len(text))) - {place for start, end in words for place in range(start, end)}
    assert not any(text[place].isalnum() for place in outside)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Where's my TOP-up?", ["Where's", "my", "TOP", "up"]),
        ("Die Größe der Lieferung", ["Die", "Größe", "der", "Lieferung"]),
        ("मेरा कार्ड खो गया है", ["मेरा", "कार्ड", "खो", "गया", "है"]),
        ("لقد فَقَدْتُ بطاقتي", ["لقد", "فَقَدْتُ", "بطاقتي"]),
        ("می\u200cخواهم بروم", ["می\u200cخواهم", "بروم"]),
        ("u\u0308ber l'e\u0301te\u0301", ["u\u0308ber", "l'e\u0301te\u0301"]),
        ("我的卡丢了。", ["我", "的", "卡", "丢", "了"]),
        ("カードが届かない", ["カ", "ー", "ド", "が", "届", "か", "な", "い"]),
        ("บัตรหาย", ["บั", "ต", "ร", "ห", "า", "ย"]),
        ("카드를 분실했어요", ["카드를", "분실했어요"]),
        ("iPhone手机 5G", ["iPhone", "手", "机", "5G"]),
        ("a\u200bb\ufeff 👍🏽", ["a", "b"]),
        ("\u0301", []),
    ],
)
def test_words_without_punctuation(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in word_spans(text)] == words
    assert words_in_a_row(text)[0] == [word.lower() for word in words]


@given(st.text(st.characters(codec="cp1252"), max_size=40))
def test_words_of_european_texts_are_sequences_of_letters(text: str) -> None:
    assert word_spans(text) == [found.span() for found in PLAIN.finditer(text)]
    assert re.findall(word_pattern(), text) == re.findall(r"\w+", text)


def test_characters_of_scripts_without_spaces_are_joined_without_a_space() -> None:
    assert [name for name, _, _ in ngrams("卡丢, iPhone机", 2)] == [
        "卡",
        "卡丢",
        "丢",
        "丢 iphone",
        "iphone",
        "iphone机",
        "机",
    ]
    assert count_words("卡丢") == 2
    assert count_words("iphone机") == 2


@given(st.text(st.sampled_from("aB '-_漢字カบั\u0301İé")))
def test_the_n_gram_of_all_words_is_the_name_of_the_text(text: str) -> None:
    names = [name for name, _, _ in ngrams(text, 100)]
    if names:
        whole = names[count_words(text) - 1]
        assert construct_name(text) == whole
        assert count_words(whole) == count_words(text)  # a name has the same words


def test_a_text_without_words_is_its_own_name() -> None:
    assert construct_name("?!  :-)") == "?! :-)"


@pytest.mark.parametrize("text", ["我的卡丢了", "カードをなくした", "บัตรหาย", "PIN 我的卡丢了"])
def test_texts_without_spaces(text: str) -> None:
    assert is_unspaced(text)


@pytest.mark.parametrize("text", ["my card", "मेरा कार्ड", "카드 분실", "карта", "12345", "", "lost card 卡"])
def test_texts_with_spaces_or_without_letters(text: str) -> None:
    assert not is_unspaced(text)


def test_n_grams_with_their_places() -> None:
    text = "Where's my  TOP-up?"
    assert list(ngrams(text, 2)) == [
        ("where's", 0, 7),
        ("where's my", 0, 10),
        ("my", 8, 10),
        ("my top", 8, 15),
        ("top", 12, 15),
        ("top up", 12, 18),
        ("up", 16, 18),
    ]
    assert [name for name, _, _ in ngrams("one two three", 3)] == [
        "one",
        "one two",
        "one two three",
        "two",
        "two three",
        "three",
    ]
    assert list(ngrams(" ?! ", 3)) == []
    assert [name for name, _, _ in ngrams("my card\r\n is", 3)] == ["my", "my card", "card", "is"]
    assert [name for name, _, _ in ngrams("Größe Ñandú d’accord", 1)] == ["größe", "ñandú", "d’accord"]
