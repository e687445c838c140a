import numpy as np
import pytest

from mx_formats.transforms.olive import ABFLOAT, IDENTIFIER, OlivePairs, best_pairs, decode_pairs, encode_pairs


def test_published_outlier_magnitudes():
    np.testing.assert_array_equal(ABFLOAT[1:], [48, 64, 96, 128, 192, 256, 384])


def test_pairs_follow_the_rule():
    """The victim becomes 0 and holds 1000b; of two outliers the first stays; abfloat saturates at 384."""
    x = np.array([[1.0, 100.0], [-100.0, 3.0], [60.0, -500.0], [32.0, -32.0], [1000.0, 0.0]])
    pairs = encode_pairs(x, 1.0)
    np.testing.assert_array_equal(decode_pairs(pairs), [[0, 96], [-96, 0], [64, 0], [32, -32], [384, 0]])
    assert pairs.codes[0, 0] == pairs.codes[1, 1] == IDENTIFIER
    assert pairs.codes.max() < 16


def test_every_pair_of_codes_round_trips():
    """All pairs that encoding can produce: two int4, or an abfloat next to the identifier."""
    normal = [code for code in range(16) if code != IDENTIFIER]
    large = [sign | code for sign in (0, 8) for code in range(1, 8)]
    pairs = [(a, b) for a in normal for b in normal]
    pairs += [(a, IDENTIFIER) for a in large] + [(IDENTIFIER, a) for a in large]
    codes = np.array(pairs, np.uint8)
    values = decode_pairs(OlivePairs(codes, 0.25))
    np.testing.assert_array_equal(encode_pairs(values, 0.25).codes, codes)


def test_outliers_cost_less_than_with_plain_int4():
    """ISCA 2023's claim in small: with 0.5 % outliers the best pairs beat the best clipped int4 by far."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 512))
    x[rng.random(x.shape) < 0.005] *= 20
    error = np.square(decode_pairs(best_pairs(x)) - x).sum()
    limits = np.abs(x).max() * np.arange(1, 101) / 100
    plain = min(np.square(np.clip(np.rint(x / limit * 7), -7, 7) * limit / 7 - x).sum() for limit in limits)
    assert error < 0.5 * plain


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="last axis has length 3, must be even"):
        encode_pairs(np.zeros(3), 1.0)
    with pytest.raises(ValueError, match="scale: got 0, must be positive"):
        encode_pairs(np.zeros(2), 0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        encode_pairs(np.full(2, np.nan), 1.0)
