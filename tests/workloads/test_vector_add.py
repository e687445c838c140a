"""Vector addition equals NumPy bit for bit, whatever the length, dtype and block."""

import numpy as np
import pytest
import torch

from workloads.vector_add import DTYPES, add, sample

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 31, 1024, 2049])
def test_equals_numpy(gpu, dtype, length):
    x, y = (sample(length, DTYPES[dtype], CPU, seed) for seed in (0, 1))
    np.testing.assert_array_equal(add(x, y).numpy(), x.numpy() + y.numpy())


@pytest.mark.parametrize("block", [32, 128, 4096])
def test_block_size_does_not_matter(gpu, block):
    x, y = (sample(1000, torch.float32, CPU, seed) for seed in (2, 3))
    np.testing.assert_array_equal(add(x, y, block).numpy(), x.numpy() + y.numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_special_values_follow_ieee(gpu, dtype):
    info = np.finfo(dtype)
    values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, info.max, -info.max, info.tiny, info.smallest_subnormal, 1])
    x, y = (grid.ravel().astype(dtype) for grid in np.meshgrid(values, values))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x + y
    total = add(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    np.testing.assert_array_equal(np.isnan(total), np.isnan(expected))
    number = ~np.isnan(expected)
    bits = np.dtype(f"u{info.bits // 8}")
    np.testing.assert_array_equal(total[number].view(bits), expected[number].view(bits))  # also the sign of zero


def test_integers_wrap(gpu):
    x = torch.tensor([2**31 - 1, -(2**31), -1], dtype=torch.int32)
    y = torch.tensor([1, -1, 1], dtype=torch.int32)
    assert add(x, y).tolist() == [-(2**31), 2**31 - 1, 0]


def test_beyond_the_end_is_untouched(gpu):
    memory = torch.full((64,), 7.0)
    x = memory[:33]
    total = add(x, x)
    assert total.shape == (33,)
    assert memory.eq(7).all()


def test_unequal_operands_are_refused():
    with pytest.raises(ValueError, match=r"x is \(3,\) torch.float32, y is \(4,\) torch.float32"):
        add(torch.zeros(3), torch.zeros(4))
