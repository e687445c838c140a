import numpy as np
import pytest

from mx_formats.error import qsnr_db


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
