import numpy as np
import pytest

from mx_formats.error import crest_factors, qsnr_db


def test_ratio_of_known_powers():
    """Signal power 100 times the noise power is 20 dB."""
    exact = np.array([1.0, -1.0, 1.0, -1.0])
    assert qsnr_db(exact, exact * 1.1) == pytest.approx(20, abs=1e-9)
    assert qsnr_db(exact, exact) == float("inf")


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="shape"):
        qsnr_db(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="NaN or infinite"):
        qsnr_db(np.ones(2), np.array([1, np.nan]))
    with pytest.raises(ValueError, match="all zero"):
        qsnr_db(np.zeros(2), np.ones(2))


def test_crest_factors_of_known_blocks():
    """A square wave has 1, one spike among n has sqrt(n), a sampled sine sqrt(2)."""
    wave = np.cos(2 * np.pi * np.arange(64) / 64)
    spike = np.where(np.arange(64) == 5, -1e-200, 0)
    rows = np.stack([np.tile([1e200, -1e200], 32), spike, wave, np.zeros(64)])
    np.testing.assert_allclose(crest_factors(rows, 64)[:, 0], [1, 8, np.sqrt(2), 1], rtol=1e-12)
    assert crest_factors(rows, 16).shape == (4, 4)
    with pytest.raises(ValueError, match="size: got 48, must divide the last axis of length 64"):
        crest_factors(rows, 48)
    with pytest.raises(ValueError, match="NaN or infinite"):
        crest_factors(np.full(4, np.inf), 4)
