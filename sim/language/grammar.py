"""Text from a small stochastic grammar: its entropy is known exactly, so a model's loss has a known floor.

A paragraph is two sentences of six words; the second says the first's object and subject again:

    ann sees the red cat . the red cat likes ann .

Subject, first verb, adjective, noun and second verb are drawn, each from a Zipf distribution that the word before it
in this list turns; all other words follow from them. A model must carry words across sentences to reach the floor.
"""

import math

import numpy as np

SUBJECTS = ("ann", "bob", "cem", "dia", "eve", "fay", "gus", "hal")
VERBS = ("sees", "likes", "finds", "draws", "hears", "moves")
ADJECTIVES = ("red", "old", "big", "shy", "wet", "odd", "new", "dim")
NOUNS = ("cat", "dog", "fox", "owl", "bee", "cow", "ant", "elk")
WORDS = (".", "the", *SUBJECTS, *VERBS, *ADJECTIVES, *NOUNS)
"""The vocabulary; a token is a position in it."""
PARAGRAPH = 12
_DRAWN = (SUBJECTS, VERBS, ADJECTIVES, NOUNS, VERBS)
_TURN = 3  # how far the word before moves the likeliest one


def _zipf(count: int) -> np.ndarray:
    weights = 1 / np.arange(1, count + 1)
    return weights / weights.sum()


def entropy_per_token() -> float:
    """Nats a token, over whole paragraphs: no model predicts the text better on average."""
    return sum(-sum(p * math.log(p) for p in _zipf(len(words)).tolist()) for words in _DRAWN) / PARAGRAPH


def entropy_of(text: np.ndarray) -> float:
    """Nats a token that the grammar itself needs for one text: the loss of a model that knows it.

    Args:
        text: int64[count, length + 1], as `sequences` makes it.
    """
    tokens = text[:, 1:].reshape(-1, PARAGRAPH)
    starts = [WORDS.index(words[0]) for words in _DRAWN]
    columns = [tokens[:, at] - start for at, start in zip((0, 1, 3, 4, 9), starts, strict=True)]
    nats, before = 0.0, np.zeros(len(tokens), np.int64)
    for words, chosen in zip(_DRAWN, columns, strict=True):
        nats -= np.log(_zipf(len(words))[(chosen - _TURN * before) % len(words)]).sum()
        before = chosen
    return float(nats) / tokens.size


def paragraphs(count: int, seed: int) -> np.ndarray:
    """Independent paragraphs.

    Args:
        count: how many.
        seed: the same text for the same seed.

    Returns:
        int64[count, 12] tokens.
    """
    rng = np.random.default_rng(seed)
    ranks = [rng.choice(len(words), count, p=_zipf(len(words))) for words in _DRAWN]
    chosen = [ranks[0]]
    for words, rank in zip(_DRAWN[1:], ranks[1:], strict=True):
        chosen.append((rank + _TURN * chosen[-1]) % len(words))
    subject, verb, adjective, noun, second = (
        index + WORDS.index(words[0]) for index, words in zip(chosen, _DRAWN, strict=True)
    )
    stop, the = np.full(count, WORDS.index(".")), np.full(count, WORDS.index("the"))
    return np.stack(
        [subject, verb, the, adjective, noun, stop, the, adjective, noun, second, subject, stop], 1
    )  # fmt: skip


def sequences(count: int, length: int, seed: int) -> np.ndarray:
    """Paragraphs one after the other.

    Args:
        count: sequences.
        length: tokens of each, a multiple of 12.
        seed: of the text.

    Returns:
        int64[count, length + 1]; the first token is a full stop, to predict from.

    Raises:
        ValueError: a length that cuts a paragraph.
    """
    if length <= 0 or length % PARAGRAPH:
        raise ValueError(f"length: got {length}, must be a multiple of {PARAGRAPH}, the tokens of a paragraph")
    text = paragraphs(count * length // PARAGRAPH, seed).reshape(count, length)
    return np.concatenate([np.full((count, 1), WORDS.index(".")), text], 1)
