from fractions import Fraction

import numpy as np
import pytest
import torch

from mx_formats.transforms.dfloat11 import DFloat11, canonical_codes, code_lengths, compress, expand


def normal_weights(n):
    weights = torch.randn(n, generator=torch.Generator().manual_seed(0)) * 0.02
    return weights.to(torch.bfloat16).view(torch.uint16).numpy()


@pytest.mark.parametrize(
    "patterns",
    [
        np.arange(1 << 16, dtype=np.uint16),
        np.zeros((3, 5), np.uint16),
        np.zeros(0, np.uint16),
        np.array([0x7F80, 0xFFC1, 0x8000], np.uint16),
    ],
    ids=["every pattern", "one value", "empty", "specials"],
)
def test_lossless(patterns):
    np.testing.assert_array_equal(expand(compress(patterns)), patterns)


def test_published_size():
    """About 2.6 bits of exponent entropy and about 11 bits a weight, 30 % smaller than bfloat16."""
    patterns = normal_weights(1 << 18)
    compressed = compress(patterns)
    np.testing.assert_array_equal(expand(compressed), patterns)
    share = np.bincount(patterns >> 7 & 0xFF) / patterns.size
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    assert entropy == pytest.approx(2.6, abs=0.1)
    assert compressed.bits_per_value == pytest.approx(11, abs=0.5)
    assert entropy <= compressed.bits_per_value - 8 < entropy + 1


def test_code_is_complete_and_prefix_free():
    counts = np.bincount(normal_weights(1 << 16) >> 7 & 0xFF, minlength=256)
    lengths = code_lengths(counts)
    assert sum(Fraction(1, 1 << int(length)) for length in lengths if length) == 1
    pairs = zip(canonical_codes(lengths), lengths, strict=True)
    words = [format(int(code), f"0{length}b") for code, length in pairs if length]
    words.sort()
    assert not any(b.startswith(a) for a, b in zip(words, words[1:], strict=False))


def test_codes_are_never_longer_than_32_bits():
    """Fibonacci counts make the deepest tree: 60 symbols would need 59 bits."""
    fibonacci = [1, 1]
    while len(fibonacci) < 60:
        fibonacci.append(sum(fibonacci[-2:]))
    counts = np.zeros(256, np.int64)
    counts[:60] = fibonacci
    lengths = code_lengths(counts)
    assert lengths.max() <= 32
    assert (lengths[:60] > 0).all()
    assert sum(Fraction(1, 1 << int(length)) for length in lengths[:60]) <= 1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="dtype is float32, must be uint16"):
        compress(np.zeros(2, np.float32))
    good = compress(normal_weights(100))
    with pytest.raises(ValueError, match="stream: ends after"):
        expand(good._replace(stream=good.stream[:5]))
    with pytest.raises(ValueError, match="lengths: no prefix code"):
        expand(DFloat11(good.rest, good.stream, np.ones(256, np.uint8), good.shape))
