from __future__ import annotations

import math
import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from tokensieve.inference.words import ngrams
from tokensieve.method.constructs import (
    Construct,
    rank_constructs,
    tokens_in_constructs,
    top_constructs,
)

Texts = tuple[list[str], list[str]]


def held(text: str, longest: int) -> set[str]:
    return {span for span, _, _ in ngrams(text, longest)}


def one_each(labels: list[str]) -> list[tuple[str, ...]]:
    return [(label,) for label in labels]


def by_text(constructs: list[Construct]) -> dict[str, Construct]:
    return {construct.text: construct for construct in constructs}


def test_information_is_the_mutual_information(tiny_texts: Texts) -> None:
    texts, labels = tiny_texts
    found = rank_constructs(texts, one_each(labels), most=10_000, longest=2, least=1)
    assert {construct.text for construct in found} == set().union(*(held(text, 2) for text in texts))
    for construct in found:
        present = [construct.text in held(text, 2) for text in texts]
        assert construct.information == pytest.approx(mutual_info_score(present, labels), abs=2e-9)
        assert construct.texts == sum(present)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abcd"), max_size=4).map(" ".join), st.sampled_from("xyz")),
        min_size=1,
        max_size=12,
    )
)
def test_information_is_the_mutual_information_of_any_corpus(pairs: list[tuple[str, str]]) -> None:
    texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
    for construct in rank_constructs(texts, one_each(labels), most=100, longest=2, least=1):
        present = [construct.text in held(text, 2) for text in texts]
        assert construct.information == pytest.approx(max(0.0, mutual_info_score(present, labels)), abs=2e-9)


def test_a_construct_names_the_label_it_speaks_for_most(tiny_texts: Texts) -> None:
    texts, labels = tiny_texts
    parcel = by_text(rank_constructs(texts, one_each(labels), most=100))["parcel"]
    # All six texts with it are of one class, a fifth of all texts.
    assert (parcel.label, parcel.texts) == ("track", 6)
    assert parcel.weight == pytest.approx(6 / 60 * math.log(5), abs=1e-9)


def test_the_most_informative_stand_first_and_the_rest_is_left_out(tiny_texts: Texts) -> None:
    texts, labels = tiny_texts
    everything = rank_constructs(texts, one_each(labels), most=10_000)
    order = [(-construct.information, -construct.texts, construct.text) for construct in everything]
    assert order == sorted(order)
    assert rank_constructs(texts, one_each(labels), most=7) == everything[:7]


def test_rare_and_long_constructs_are_left_out(tiny_texts: Texts) -> None:
    texts, labels = tiny_texts
    found = rank_constructs(texts, one_each(labels), most=10_000, longest=2, least=3)
    assert min(construct.texts for construct in found) == 3
    assert max(construct.text.count(" ") for construct in found) == 1
    assert rank_constructs(texts, one_each(labels), most=10_000, longest=1) == [
        c for c in rank_constructs(texts, one_each(labels), most=10_000) if " " not in c.text
    ]


def test_a_word_counts_once_a_text() -> None:
    assert (
        by_text(rank_constructs(["up up up", "down", "up"], one_each(["a", "b", "a"]), most=10, least=1))[
            "up"
        ].texts
        == 2
    )


def test_the_order_of_the_texts_does_not_matter(tiny_texts: Texts) -> None:
    texts, labels = tiny_texts
    expected = rank_constructs(texts, one_each(labels), most=500)
    for seed in range(3):
        pairs = list(zip(texts, labels, strict=True))
        random.Random(seed).shuffle(pairs)
        assert (
            rank_constructs([text for text, _ in pairs], one_each([label for _, label in pairs]), most=500)
            == expected
        )


def test_each_label_gets_its_heaviest_constructs(tiny_texts: Texts) -> None:
    texts, labels = tiny_texts
    table = top_constructs(rank_constructs(texts, one_each(labels), most=500), most=3)
    assert list(table) == sorted(set(labels))
    assert {label: words[0] for label, words in table.items()} == {
        "address": "address",
        "card_lost": "card",
        "refund": "refund",
        "topup": "topup",
        "track": "parcel",
    }
    assert {len(words) for words in table.values()} == {3}


def test_tokens_of_a_construct_are_marked() -> None:
    text = "please Top up, topups"
    offsets = [(0, 0), (0, 6), (7, 10), (11, 13), (13, 14), (15, 18), (18, 21), (0, 0)]
    assert tokens_in_constructs(text, offsets, frozenset({"top up"}), 2) == [
        False,
        False,
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert tokens_in_constructs(text, offsets, frozenset({"topups"}), 1) == [False] * 5 + [True, True, False]
    assert tokens_in_constructs(text, offsets, frozenset({"top"}), 1) == [
        False,
        False,
        True,
        False,
        False,
        False,
        False,
        False,
    ]
    assert tokens_in_constructs(text, offsets, frozenset({"top up"}), 1) == [False] * 8
    assert tokens_in_constructs(text, [(6, 10)], frozenset({"top"}), 1) == [
        True
    ]  # a token that includes the space before its word


def test_marks_stay_in_place_after_letters_that_lower_case_makes_longer() -> None:
    assert "İ".lower() != "i"
    assert tokens_in_constructs("İİ card", [(0, 2), (3, 7)], frozenset({"card"}), 1) == [False, True]


SETS = st.sets(st.sampled_from("xyz")).map(sorted).map(tuple)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abcd"), max_size=4).map(" ".join), SETS), min_size=1, max_size=12
    )
)
def test_of_several_labels_the_information_on_each_presence_is_summed(
    pairs: list[tuple[str, tuple[str, ...]]],
) -> None:
    texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
    for construct in rank_constructs(texts, labels, most=100, longest=2, least=1, multi_label=True):
        present = [construct.text in held(text, 2) for text in texts]
        each = [mutual_info_score(present, [name in names for names in labels]) for name in "xyz"]
        assert construct.information == pytest.approx(sum(each), abs=2e-9)
        assert construct.texts == sum(present)


def test_a_construct_of_texts_without_labels_speaks_for_none() -> None:
    texts, labels = ["pay bill", "pay rent", "hello there", "hello you"], [("a",), ("a", "b"), (), ()]
    found = by_text(rank_constructs(texts, labels, most=100, least=2, multi_label=True))
    assert (found["pay"].label, found["hello"].label, found["hello"].weight) == ("a", "", 0.0)
    assert found["pay"].weight == pytest.approx(2 / 4 * math.log(2), abs=1e-9)
    assert found["hello"].information == found["pay"].information > 0
    assert top_constructs(list(found.values())) == {"a": ["pay"]}


LANGUAGES = {
    "Chinese": (
        ["我的银行卡丢了", "卡丢了怎么办", "银行卡不见了，请冻结", "有人偷了我的银行卡"],
        ["什么时候退款", "我要退款", "退款还没到账", "请退款给我"],
        ("银行卡", "退款"),
    ),
    "Japanese": (
        ["カードをなくしました", "カードが見つかりません", "カードを止めてください", "カードが盗まれた"],
        ["返金してください", "返金はいつですか", "まだ返金がありません", "返金を待っています"],
        ("カード", "返金"),
    ),
    "Thai": (
        ["บัตรของฉันหาย", "ทำบัตรหาย", "บัตรหายที่สนามบิน", "ช่วยระงับบัตร"],
        ["ขอเงินคืน", "เงินคืนเมื่อไหร่", "ยังไม่ได้เงินคืน", "อยากได้เงินคืน"],
        ("บัตร", "คืน"),
    ),
    "Hindi": (
        ["मेरा कार्ड खो गया", "कार्ड चोरी हो गया", "कृपया कार्ड बंद करें", "कार्ड नहीं मिल रहा"],
        ["पैसे वापस चाहिए", "मुझे पैसे वापस दें", "पैसे कब मिलेंगे", "अभी तक पैसे नहीं आए"],
        ("कार्ड", "पैसे"),
    ),
    "Arabic": (
        ["فقدت بطاقة البنك", "سرقت بطاقة أخي", "أوقف بطاقة الائتمان", "أين بطاقة السفر"],
        ["أريد استرداد المال", "متى يصل المال", "لم يصل المال بعد", "أعيدوا المال لي"],
        ("بطاقة", "المال"),
    ),
    "German": (
        ["Meine Karte ist weg", "Karte gestohlen, bitte sperren", "Wo ist die Karte?", "Karte verloren"],
        [
            "Rückerstattung bitte",
            "Wo ist die Rückerstattung",
            "Rückerstattung fehlt",
            "keine Rückerstattung",
        ],
        ("karte", "rückerstattung"),
    ),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_words_of_a_language_are_found(language: str) -> None:
    cards, refunds, (card, refund) = LANGUAGES[language]
    labels = one_each(["card"] * len(cards) + ["refund"] * len(refunds))
    found = rank_constructs([*cards, *refunds], labels, most=100)
    table = top_constructs(found, 100)
    assert card in table["card"]
    assert refund in table["refund"]
    assert not any(unicodedata.combining(own.text[0]) for own in found)
    known = {own.text for own in found}
    assert all(known & held(text, 3) for text in (*cards, *refunds))


def test_tokens_of_a_word_with_combining_marks_belong_to_it() -> None:
    text = "कार्ड खो गया"
    offsets = [(0, 1), (1, 2), (2, 3), (4, 5), (6, 8), (9, 12)]
    assert tokens_in_constructs(text, offsets, frozenset({"कार्ड"}), 1) == [True] * 4 + [False] * 2
    assert tokens_in_constructs("我的卡丢了", [(2, 3), (3, 4), (4, 5)], frozenset({"卡丢"}), 2) == [
        True,
        True,
        False,
    ]
