"""The counts of n-grams against a plain count with a dictionary entry per n-gram and label."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokensieve.inference.words import ngrams
from tokensieve.method import ngram_counts
from tokensieve.method.constructs import rank_constructs
from tokensieve.method.information import least_texts, multi_label_information, single_label_information
from tokensieve.method.ngram_counts import Corpus, count_labels, frequent_longer, frequent_words

WORDS = ["a", "B", "can't", "x-y", "漢", "字", "机", "हिन्दी"]
LINE = st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)
TEXTS = st.lists(st.lists(LINE, max_size=3).map("\n".join), min_size=1, max_size=14)
ONE_LABEL = st.sampled_from([("x",), ("y",), ("z",)])
LABELS = st.sampled_from([(), ("x",), ("y",), ("x", "y"), ("x", "y", "z")])


def plain_count(
    texts: Sequence[str], labels: Sequence[tuple[str, ...]], longest: int
) -> dict[str, tuple[int, Counter[str]]]:
    """Return the number of texts with each n-gram, in all and by label."""
    holding: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for text, names in zip(texts, labels, strict=True):
        for name in {name for name, _, _ in ngrams(text, longest)}:
            holding[name] += 1
            counts[name].update(names)
    return {name: (n, counts[name]) for name, n in holding.items()}


def counted(
    texts: Sequence[str], labels: Sequence[tuple[str, ...]], longest: int, least: int
) -> dict[str, tuple[int, Counter[str]]]:
    corpus, found = Corpus.of(texts), {}
    names = sorted({name for own in labels for name in own})
    numbered = [[names.index(name) for name in own] for own in labels]
    ngrams = None
    for _ in range(longest):
        ngrams = frequent_longer(corpus, ngrams, least) if ngrams else frequent_words(corpus, least)
        by_label = count_labels(corpus, ngrams, numbered)
        for number, n in enumerate(ngrams.texts.tolist()):
            held = Counter({names[label]: k for label, k in by_label.of(number).items()})
            found[ngrams.name(number, corpus)] = (n, held)
    return found


@pytest.fixture(params=["one chunk", "many chunks"])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "many chunks":
        monkeypatch.setattr(ngram_counts, "CHUNK", 4)
        monkeypatch.setattr(ngram_counts, "BUCKET_BITS", 3)  # so that n-grams share buckets
        monkeypatch.setattr(ngram_counts, "BUCKETS", 2**3)


@pytest.mark.usefixtures("chunks")
def test_counts_are_those_of_a_plain_count() -> None:
    @settings(max_examples=60)
    @given(TEXTS, st.data(), st.integers(1, 4), st.integers(1, 4))
    def check(texts: list[str], data: st.DataObject, longest: int, least: int) -> None:
        labels = data.draw(st.lists(LABELS, min_size=len(texts), max_size=len(texts)))
        frequent = {name: own for name, own in plain_count(texts, labels, longest).items() if own[0] >= least}
        assert counted(texts, labels, longest, least) == frequent

    check()


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("multi_label", [False, True])
def test_the_best_constructs_are_those_of_a_plain_count(multi_label: bool) -> None:
    @settings(max_examples=60)
    @given(TEXTS, st.data(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 12))
    def check(texts: list[str], data: st.DataObject, longest: int, least: int, most: int) -> None:
        kind = LABELS if multi_label else ONE_LABEL
        labels = data.draw(st.lists(kind, min_size=len(texts), max_size=len(texts)))
        sizes = Counter(name for own in labels for name in own)
        names = sorted(sizes)
        numbered = Counter({names.index(name): n for name, n in sizes.items()})
        information = multi_label_information if multi_label else single_label_information
        measure = information(numbered, len(texts))
        expected = sorted(
            (-round(measure({names.index(label): k for label, k in held.items()}, n), 9), -n, name)
            for name, (n, held) in plain_count(texts, labels, longest).items()
            if n >= least
        )[:most]
        found = rank_constructs(texts, labels, most, longest, least, multi_label)
        assert [(-own.information, -own.texts, own.text) for own in found] == expected

    check()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.data(), st.booleans())
def test_a_construct_in_fewer_texts_has_less_information(
    sizes: list[int], data: st.DataObject, multi_label: bool
) -> None:
    total = sum(sizes)
    of_label = dict(enumerate(sizes))
    held = {label: data.draw(st.integers(0, size)) for label, size in of_label.items()}
    held = {label: k for label, k in held.items() if k}
    n = sum(held.values())
    measure = (multi_label_information if multi_label else single_label_information)(of_label, total)
    if n:
        assert n >= least_texts(measure(held, n), of_label, total, multi_label) or 2 * n > total


def test_no_text_has_words() -> None:
    assert rank_constructs(["?!", ""], [("a",), ("b",)], 10) == []
    assert rank_constructs([], [], 10) == []
