import numpy as np
import pytest

from mx_formats.transforms.squeezellm import bits_per_weight, compress, expand


def weights(rows=8, columns=1024):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((rows, columns)).astype(np.float32)
    w[rng.random(w.shape) < 0.004] *= 12
    return w, rng.lognormal(0, 2, w.shape)


def test_published_size():
    """3 bits and 0.45 % sparse weights are about 3.24 bits a weight on LLaMA-7B's 4096 x 4096."""
    assert bits_per_weight(4096, 4096, 3, 0.0045) == pytest.approx(3.24, abs=0.02)


def test_outliers_are_exact_and_help():
    w, sensitivity = weights()
    mixed, dense = compress(w, sensitivity, 3), compress(w, sensitivity, 3, outliers=0)
    rows = np.repeat(np.arange(8), np.diff(mixed.row_starts))
    kept = w[rows, mixed.columns]
    assert len(kept) == int(w.size * 0.0045)
    np.testing.assert_array_equal(expand(mixed)[rows, mixed.columns], kept.astype(np.float16).astype(np.float32))
    assert np.abs(kept).min() >= np.sort(np.abs(w).ravel())[-len(kept)]
    loss = [(sensitivity * np.square(expand(part) - w)).sum() for part in (mixed, dense)]
    assert loss[0] < 0.7 * loss[1]


def test_tables_are_at_a_minimum_of_the_weighted_error():
    """Each centre is the weighted mean of its members, each weight has its nearest centre: Lloyd's two conditions."""
    w, sensitivity = weights(3, 400)
    parts = compress(w, sensitivity, 3, outliers=0, rounds=500)
    for row in range(3):
        table = parts.tables[row].astype(np.float64)
        distance = np.abs(w[row][:, None] - table)
        np.testing.assert_allclose(distance[np.arange(400), parts.codes[row]], distance.min(1), atol=1e-6)
        for code in np.unique(parts.codes[row]):
            member = parts.codes[row] == code
            mean = np.average(w[row][member], weights=sensitivity[row][member])
            # FP16 tables: half a unit in the last place, and members it moves across a border.
            assert table[code] == pytest.approx(mean, abs=4e-3)


def test_sensitivity_moves_the_table():
    """Weights with all the sensitivity are met to FP16's precision."""
    w, _ = weights(1, 512)
    marked = np.zeros((1, 512))
    marked[0, :8] = 1
    np.testing.assert_allclose(expand(compress(w, marked, 3, outliers=0))[0, :8], w[0, :8], rtol=1e-3)


def test_bad_input_is_named():
    w = np.zeros((2, 4))
    with pytest.raises(ValueError, match=r"sensitivity: shape is \(2, 3\), must be \(2, 4\)"):
        compress(w, np.zeros((2, 3)), 3)
    with pytest.raises(ValueError, match=r"bits: got 9, legal 1\.\.8"):
        compress(w, w, 9)
    with pytest.raises(ValueError, match=r"outliers: got 1, legal 0 up to"):
        compress(w, w, 3, outliers=1)
    with pytest.raises(ValueError, match="weights: must be finite"):
        compress(w + np.nan, w, 3)
