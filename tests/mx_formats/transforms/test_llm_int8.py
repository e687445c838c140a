import numpy as np
import pytest

from mx_formats.error import qsnr_db
from mx_formats.transforms.llm_int8 import decompose, multiply


def operands():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((32, 256)).astype(np.float32), rng.standard_normal((256, 48)).astype(np.float32)
    x = np.clip(x, -5, 5)
    x[:, [7, 100, 201]] *= 30
    return x, w


def test_outlier_columns_are_those_at_six_or_above():
    x, w = operands()
    x[0, 50], x[0, 51] = 6.0, np.nextafter(np.float32(6), np.float32(0))
    parts = decompose(x, w)
    np.testing.assert_array_equal(np.flatnonzero(parts.outliers), [7, 50, 100, 201])
    np.testing.assert_array_equal(parts.x_wide, x[:, parts.outliers].astype(np.float16))
    assert not parts.x_codes[:, parts.outliers].any()
    assert not parts.w_codes[parts.outliers].any()


def test_each_row_and_column_has_its_own_scale():
    x, w = operands()
    parts = decompose(x, w)
    assert (np.abs(parts.x_codes).max(1) == 127).all()
    assert (np.abs(parts.w_codes).max(0) == 127).all()
    rest = np.where(parts.outliers, 0, x)
    assert (np.abs(parts.x_codes * parts.x_scales - rest) <= parts.x_scales * 0.5001).all()


def test_three_outlier_columns_cost_plain_int8_most_of_its_accuracy():
    """NeurIPS 2022's point: a handful of columns, 0.1 % of the values, spoils every row's scale."""
    x, w = operands()
    exact = x.astype(np.float64) @ w
    mixed = qsnr_db(exact, multiply(decompose(x, w)))
    plain = qsnr_db(exact, multiply(decompose(x, w, threshold=np.inf)))
    assert mixed > 40
    assert mixed > plain + 12


def test_a_zero_row_stays_zero():
    x, w = operands()
    x[3] = 0
    assert not multiply(decompose(x, w))[3].any()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"w: shape is \(3, 2\), must be \[4, n\]"):
        decompose(np.zeros((2, 4)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="not finite in FP16"):
        decompose(np.full((1, 1), 1e6), np.zeros((1, 1)))
