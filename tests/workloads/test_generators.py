"""Generators: same seed, same bits; each has the distribution it promises."""

import numpy as np
import pytest

from workloads.generators import (
    GENERATORS,
    crest_factor,
    log_normal,
    normal,
    outlier_channels,
    student_t,
    wide_exponents,
)

SHAPE = (256, 256)


@pytest.mark.parametrize("name", GENERATORS)
def test_seed_decides_every_bit(name):
    generate = GENERATORS[name]
    first = generate((8, 64), 3)
    assert first.shape == (8, 64)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, generate((8, 64), 3))
    assert (first != generate((8, 64), 4)).any()


@pytest.mark.parametrize("name", GENERATORS)
def test_signs_balance(name):
    # 65536 signs: six standard deviations of their mean are 0.0235.
    assert abs(np.sign(GENERATORS[name](SHAPE, 0)).mean()) < 0.0235


def test_normal_moments():
    values = normal(SHAPE, 1, scale=3)
    assert abs(values.std() / 3 - 1) < 0.02
    assert abs(np.mean((values / values.std()) ** 4) - 3) < 0.15  # kurtosis of a normal distribution


def test_student_t_approaches_normal():
    # Quartiles of t: 0.7649 for 3 degrees of freedom, 0.6745 for the normal distribution (standard tables).
    assert abs(np.quantile(student_t(SHAPE, 2, 3), 0.75) - 0.7649) < 0.02
    assert abs(np.quantile(student_t(SHAPE, 2, 1000), 0.75) - 0.6745) < 0.02


def test_log_normal_magnitudes():
    logs = np.log(np.abs(log_normal(SHAPE, 3, sigma=2).astype(np.float64)))
    assert abs(logs.mean()) < 0.05
    assert abs(logs.std() - 2) < 0.05


def test_wide_exponents_cover_the_range():
    exponents = np.frexp(wide_exponents(SHAPE, 4, -30, 25))[1] - 1
    values, counts = np.unique(exponents, return_counts=True)
    assert values.tolist() == list(range(-30, 26))
    assert counts.min() > 0.8 * exponents.size / 56


def test_outlier_channels_are_few_and_large():
    values = outlier_channels((4096, 128), 5, share=0.02, gain=50)
    large = values.std(axis=0) > 25
    assert large.sum() == 3  # ceil(0.02 * 128)
    assert abs(values[:, ~large].std() - 1) < 0.02


def test_crest_factor_separates_them():
    # Third quartile of the crest factor in blocks of 32: 2.96 over real tensors, 2.36 after rotation, which makes
    # them normal (Chen et al., arXiv 2510.25602).
    assert abs(np.quantile(crest_factor(normal(SHAPE, 6), 32), 0.75) - 2.36) < 0.25
    assert np.quantile(crest_factor(student_t(SHAPE, 6), 32), 0.75) > 2.96
    assert crest_factor(np.zeros(64), 32).tolist() == [0, 0]
    assert crest_factor(np.ones(32), 32).tolist() == [1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: student_t((4,), 0, 0), "freedom is 0, must be positive"),
        (lambda: log_normal((4,), 0, -1), "sigma is -1, must not be negative"),
        (lambda: wide_exponents((4,), 0, 5, 2), r"5\.\.2 must be an ascending range within -126\.\.127"),
        (lambda: wide_exponents((4,), 0, -200, 2), r"-200\.\.2 must be"),
        (lambda: outlier_channels((4,), 0, 2), r"share is 2, must be in \[0, 1\]"),
        (lambda: crest_factor(np.zeros(33), 32), "33 values, no multiple of block 32"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
