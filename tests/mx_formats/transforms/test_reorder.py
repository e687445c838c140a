from dataclasses import replace

import numpy as np
import pytest

from mx_formats.block import block_floating_point
from mx_formats.error import qsnr_db
from mx_formats.quantize import round_trip
from mx_formats.transforms.reorder import group_outliers, k_sort

HEAD = 128


def weights(seed):
    """A dozen of the channels five times larger, as key projections have."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((HEAD, 256))
    rows[rng.choice(HEAD, 12, replace=False)] *= 5
    return rows.astype(np.float32)


@pytest.mark.parametrize("rotary", [False, True])
def test_products_keep_their_value(rotary):
    w_k, w_q = weights(0), weights(1)
    x, y = np.random.default_rng(2).standard_normal((2, 6, 256)).astype(np.float32)
    sorted_k, sorted_q, order = k_sort(w_k, w_q, rotary)
    np.testing.assert_array_equal(np.sort(order), np.arange(HEAD))
    before, after = (x @ w_k.T) @ (y @ w_q.T).T, (x @ sorted_k.T) @ (y @ sorted_q.T).T
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3 * np.abs(before).max())
    if rotary:
        np.testing.assert_array_equal(order[HEAD // 2 :], order[: HEAD // 2] + HEAD // 2)


def test_small_blocks_gain_and_whole_heads_do_not():
    """arXiv 2403.20137: no gain with blocks of 128, a head; gains with 64 and more with 32. Keys in BFP12."""
    w_k, w_q = weights(3), weights(4)
    x = np.random.default_rng(5).standard_normal((200, 256)).astype(np.float32)
    sorted_k, _, order = k_sort(w_k, w_q)
    keys = x @ w_k.T
    gain = {}
    for size in (128, 64, 32):
        bfp12 = replace(block_floating_point(4, 32), block_size=size)
        gain[size] = qsnr_db(keys[:, order], round_trip(keys[:, order], bfp12)) - qsnr_db(keys, round_trip(keys, bfp12))
    assert gain[128] == pytest.approx(0, abs=1e-6)
    assert 0 < gain[64] < gain[32]
    np.testing.assert_allclose(x @ sorted_k.T, keys[:, order], rtol=1e-4, atol=1e-4)


def test_outlier_channels_share_blocks():
    """COMET's permutation: 5 outlier channels spread over 16 blocks of 16 end in one."""
    x = np.random.default_rng(6).standard_normal((50, 256))
    outliers = np.arange(3, 256, 55)
    x[:, outliers] *= 100
    order = group_outliers(x, 16)
    assert set(outliers) <= set(order[:16])
    np.testing.assert_array_equal(np.sort(order), np.arange(256))


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"w_q: shape is \(4, 3\), must be \(4, 2\)"):
        k_sort(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="head_dim is 3, must be even"):
        k_sort(np.zeros((3, 2)), np.zeros((3, 2)), rotary=True)
    with pytest.raises(ValueError, match="size: got 3, must divide the last axis of length 4"):
        group_outliers(np.zeros((2, 4)), 3)
