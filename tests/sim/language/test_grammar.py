"""The text's entropy, counted another way."""

import math
from itertools import product

import numpy as np
import pytest

from sim.language.grammar import (
    ADJECTIVES,
    NOUNS,
    PARAGRAPH,
    SUBJECTS,
    VERBS,
    WORDS,
    entropy_of,
    entropy_per_token,
    paragraphs,
    sequences,
)


def zipf(rank: int, count: int) -> float:
    return 1 / (rank + 1) / sum(1 / (i + 1) for i in range(count))


def test_entropy_is_that_of_every_paragraph_there_can_be():
    """-sum p log p over all 8 * 6 * 8 * 8 * 6 paragraphs."""
    counts = [len(words) for words in (SUBJECTS, VERBS, ADJECTIVES, NOUNS, VERBS)]
    nats = 0.0
    for ranks in product(*map(range, counts)):
        p = math.prod(zipf(rank, count) for rank, count in zip(ranks, counts, strict=True))
        nats -= p * math.log(p)
    assert entropy_per_token() == pytest.approx(nats / PARAGRAPH, rel=1e-12)


def test_texts_need_their_entropy_on_average():
    text = sequences(2000, 4 * PARAGRAPH, 3)
    assert entropy_of(text) == pytest.approx(entropy_per_token(), rel=0.01)


def test_the_likeliest_paragraph_is_the_cheapest():
    words = ["ann", "sees", "the", "red", "cat", ".", "the", "red", "cat", "sees", "ann", "."]
    text = np.array([[0, *map(WORDS.index, words)]])
    assert entropy_of(text) == pytest.approx(-sum(math.log(zipf(0, n)) for n in (8, 6, 8, 8, 6)) / PARAGRAPH)


def test_the_second_sentence_repeats_the_first():
    text = paragraphs(500, 1)
    assert (text[:, [3, 4, 0]] == text[:, [7, 8, 10]]).all()
    assert {WORDS[token] for token in np.unique(text)} == set(WORDS)


def test_a_cut_paragraph_is_refused():
    with pytest.raises(ValueError, match="length: got 30, must be a multiple of 12"):
        sequences(1, 30, 0)
