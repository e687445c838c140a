import numpy as np
import pytest

from mx_formats.block import BLOCK_FORMATS
from mx_formats.error import crest_factors, qsnr_db
from mx_formats.quantize import round_trip
from mx_formats.transforms.hadamard import hadamard_matrix, rotate, rotate_back


@pytest.mark.parametrize("size", [1, 2, 16, 32, 128])
def test_matrix_is_orthogonal_and_is_sylvesters(size):
    matrix = hadamard_matrix(size).astype(int)
    np.testing.assert_array_equal(matrix @ matrix.T, size * np.eye(size, dtype=int))
    sylvester = np.ones((1, 1), int)
    while len(sylvester) < size:
        sylvester = np.kron([[1, 1], [1, -1]], sylvester)
    np.testing.assert_array_equal(matrix, sylvester)


def test_dot_products_survive():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 8, 128)).astype(np.float32)
    np.testing.assert_allclose(rotate(a, 3) @ rotate(b, 3).T, a @ b.T, atol=2e-5)
    np.testing.assert_allclose(rotate_back(rotate(a, 3), 3), a, atol=1e-6)
    assert np.abs(rotate(a, 3) - rotate(a, 4)).max() > 1


def test_rotation_reverses_the_published_order_of_4_bit_formats():
    """arXiv 2510.25602: NVFP4 beats NVINT4 on tensors with outliers; rotated, MXINT8 and NVINT4 gain, NVINT4 wins."""
    x = np.random.default_rng(1).standard_t(3, (256, 1024)).astype(np.float32)
    rotated = rotate(x, 0)
    plain, after = (
        {name: qsnr_db(part, round_trip(part, BLOCK_FORMATS[name])) for name in ("MXINT8", "NVINT4", "NVFP4")}
        for part in (x, rotated)
    )
    assert plain["NVINT4"] < plain["NVFP4"]
    assert after["NVINT4"] > after["NVFP4"]
    assert after["MXINT8"] > plain["MXINT8"]
    assert np.quantile(crest_factors(rotated, 32), 0.75) < np.quantile(crest_factors(x, 32), 0.75)


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="size: got 24, must be a power of two"):
        hadamard_matrix(24)
    with pytest.raises(ValueError, match="size: got 32, must divide the last axis of length 40"):
        rotate(np.zeros((2, 40), np.float32), 0)
