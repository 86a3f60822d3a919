"""Adaptive tokenization: words that the tokenizer splits become single tokens (step 2).

The model of the tokenizer itself is edited. A text without a new token is therefore tokenized as
before. A longer word that begins with a new token keeps its remaining pieces ("topup" + "##s"). The
edit depends on the kind of tokenizer:

- WordPiece uses the longest match, so a word in the vocabulary is one token.
- BPE needs merges. The new merges come after all others, so they apply to the result of the old
  ones. A word of more than two pieces needs intermediate tokens. These count as new tokens and get
  embedding rows.
- Unigram uses the most likely pieces. A new token is as likely as its pieces together, plus a small
  bonus.

If the space is part of a word's token (byte-level BPE), a word gets two tokens: one for its place
within a text and one for the beginning of a text. New embedding rows start as the mean of the rows
of their pieces (`model.encoder.add_embedding_rows`). Phrases do not become tokens, because most
tokenizers split at spaces first. Capitalized words do not either, because constructs are in lower
case.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from tokensieve.errors import InputError
from tokensieve.method.constructs import Construct
from tokensieve.model.encoder import PIECES, load_tokenizer

# A small bonus in nats: a new token is more likely than its own pieces, and nothing else changes.
BONUS = 1e-6

Part = tuple[str, ...]
"""A new token, as the old pieces that it replaces."""


class WordPiece:
    """A WordPiece tokenizer. Pieces inside a word begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def name(self, part: Part) -> str:
        """Return the token that replaces the pieces of `part`."""
        return part[0] + "".join(piece.removeprefix(self.prefix) for piece in part[1:])

    def chain(self, pieces: Part, taken: Container[str]) -> list[Part]:
        """Return the new tokens that are needed to make one token of `pieces`, which is the last.

        None of them is in `taken`. The list is empty if there is no such chain.
        """
        return [pieces]

    def learn(self, part: Part) -> None:
        """Record the new token `part`, so that later chains may contain it."""

    def write(
        self, model: dict[str, Any], ids: Mapping[str, int], added: Mapping[str, Sequence[int]]
    ) -> None:
        """Edit the `model` of a tokenizer.json in place.

        Args:
            model: The content of the key `model`.
            ids: The id of each new token.
            added: The ids of the pieces of each new token that is made of pieces.
        """
        model["vocab"] |= ids


class BPE(WordPiece):
    """A BPE tokenizer, with the new merges in their order.

    Each new merge makes a new token, so no merge changes a text without new tokens.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix)
        self.merges: dict[tuple[str, str], int] = {}

    def chain(self, pieces: Part, taken: Container[str]) -> list[Part]:
        """Return the new tokens, as `WordPiece.chain` does.

        Intermediate tokens are parts of the word that are not tokens yet.
        """
        parts = self._merged([(piece,) for piece in pieces], self.merges)
        found: dict[str, Part] = {}
        while len(parts) > 1:
            # A merge that makes an existing token would change texts without new tokens.
            free = [
                (a, b)
                for a, b in pairwise(parts)
                if (name := self.name(a + b)) not in taken and name not in found
            ]
            if not free:
                return []
            a, b = free[0]
            found[self.name(a + b)] = a + b
            parts = self._merged(parts, {(self.name(a), self.name(b)): 0})
        return list(found.values())

    def learn(self, part: Part) -> None:
        a, b = self._merged([(piece,) for piece in part], self.merges)
        self.merges[self.name(a), self.name(b)] = len(self.merges)

    def write(
        self, model: dict[str, Any], ids: Mapping[str, int], added: Mapping[str, Sequence[int]]
    ) -> None:
        super().write(model, ids, added)
        names = {index: token for token, index in model["vocab"].items()}
        for pieces in added.values():
            self.learn(tuple(names[piece] for piece in pieces))
        model["merges"] += [list(pair) for pair in self.merges]

    def _merged(self, parts: list[Part], merges: Mapping[tuple[str, str], int]) -> list[Part]:
        """Return `parts` after `merges`, applied by rank and then from the left."""
        while len(parts) > 1:
            ranks = [merges.get((self.name(a), self.name(b)), inf) for a, b in pairwise(parts)]
            if min(ranks) == inf:
                break
            at = ranks.index(min(ranks))
            parts = [*parts[:at], parts[at] + parts[at + 1], *parts[at + 2 :]]
        return parts


class Unigram(WordPiece):
    """A Unigram tokenizer. Its model is a list of [token, log-probability] in the order of ids."""

    def write(
        self, model: dict[str, Any], ids: Mapping[str, int], added: Mapping[str, Sequence[int]]
    ) -> None:
        vocab = model["vocab"]
        # Unigram derives the score of unknown tokens from the lowest score. So no score gets lower.
        lowest = min(score for _, score in vocab)
        for token in sorted(ids, key=ids.__getitem__):
            pieces = added.get(token, ())
            score = sum(vocab[piece][1] for piece in pieces) + BONUS * (len(pieces) - 1) if pieces else lowest
            vocab.append([token, max(score, lowest)])


KINDS = {kind.__name__: kind for kind in (WordPiece, BPE, Unigram)}


def choose_new_tokens(
    tokenizer: PreTrainedTokenizerFast, constructs: Sequence[Construct], most: int
) -> dict[str, list[int]]:
    """Return at most `most` new tokens, with the ids of the pieces that each replaces.

    They are those with the largest product of information and number of tokens saved in the
    training texts. Forms at the beginning of a text rank after all forms within a text.

    Raises:
        InputError: If this kind of tokenizer cannot be extended.
    """
    if most == 0:
        return {}
    backend, vocabulary = tokenizer.backend_tokenizer, tokenizer.get_vocab()
    kind, suffix = _kind(backend, most), getattr(backend.model, "end_of_word_suffix", None) or ""
    ranked = []
    for construct in constructs:
        for position, form in enumerate(_forms(backend, construct.text)):
            pieces = backend.model.tokenize(form)
            part = tuple(piece.value for piece in pieces)
            name = kind.name(part) if part else ""
            # Pieces may be bytes or unknown characters. They do not spell the word.
            spelled = (
                len(part) > 1
                and name == form + suffix
                and tokenizer.unk_token_id not in (piece.id for piece in pieces)
            )
            if position == 0 and not spelled:
                break
            if spelled:
                ranked.append(
                    (position, -construct.information * construct.texts * (len(part) - 1), name, part)
                )
    added: dict[str, list[int]] = {}
    taken = set(vocabulary)
    for *_, name, part in sorted(ranked):
        links = [] if name in taken else kind.chain(part, taken)
        if len(added) + len(links) > most:
            continue
        for link in links:
            kind.learn(link)
            added[kind.name(link)] = [vocabulary[piece] for piece in link]
        taken |= added.keys()
    return added


def extend_tokenizer(
    tokenizer: PreTrainedTokenizerFast, added: dict[str, list[int]], folder: Path
) -> PreTrainedTokenizerFast:
    """Write the tokenizer with the new tokens `added` into `folder`, and return it.

    A file `pieces.json` next to it has the ids of the pieces of each new token. The new ids follow
    the highest id without a gap. They may be embedding rows that the model has as padding.

    Raises:
        InputError: If there are new tokens, and this kind of tokenizer cannot be extended.
    """
    tokenizer.save_pretrained(folder)
    if added:
        path = folder / "tokenizer.json"
        tree = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = tokenizer.get_vocab()
        listed = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False)
        # When a tokenizer is loaded, added tokens outside its model get the ids after those of the
        # model. They keep their ids only if they are in the model before it grows.
        outside = {token: index for token, index in vocabulary.items() if token not in listed}
        first = max(vocabulary.values()) + 1
        ids = outside | {token: first + i for i, token in enumerate(added)}
        _kind(tokenizer.backend_tokenizer, len(added)).write(tree["model"], ids, added)
        path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")
        # Vocabularies in other formats do not have the new tokens.
        for name in ("vocab.txt", "vocab.json", "merges.txt"):
            (folder / name).unlink(missing_ok=True)
    (folder / PIECES).write_text(json.dumps(added, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return load_tokenizer(folder)


def _kind(backend: Tokenizer, wanted: int) -> WordPiece:
    name = type(backend.model).__name__
    if name not in KINDS:
        raise InputError(
            f"vocabulary.new_tokens is {wanted}, but the base model's tokenizer is {name}; "
            f"kinds that can be extended: {', '.join(KINDS)}. Set vocabulary.new_tokens=0"
        )
    return KINDS[name](getattr(backend.model, "continuing_subword_prefix", None) or "")


def _forms(backend: Tokenizer, text: str) -> Iterator[str]:
    """Yield the input of the tokenizer's model for the word `text`.

    The first is for a word within a text, the second, if it differs, for the beginning of a text.
    There is none for a phrase, or for a word that is split before it reaches the model.
    """
    before, within, alone = (_words(backend, whole) for whole in ("a", f"a {text}", text))
    # A tokenizer that does not split at spaces returns one word for both.
    if " " in text or len(within) - len(before) > 1 or len(alone) != 1:
        return
    yield from dict.fromkeys(("".join(within).removeprefix("".join(before)), alone[0]))


def _words(backend: Tokenizer, text: str) -> list[str]:
    normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
    return (
        [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal)]
        if backend.pre_tokenizer
        else [normal]
    )
