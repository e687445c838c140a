"""The int8 product equals NumPy's, element for element."""

import numpy as np
import pytest
import torch

from workloads.matmul_int8 import MAX_DEPTH, expected, matmul_int8


def operands(m: int, n: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(m + n + k)
    x = torch.randint(-128, 128, (m, k), dtype=torch.int8, generator=generator)
    return x, torch.randint(-128, 128, (n, k), dtype=torch.int8, generator=generator)


@pytest.mark.parametrize("stages", [1, 2, 3])
@pytest.mark.parametrize(("m", "n", "k"), [(64, 64, 128), (80, 48, 208), (1, 1, 1), (20, 17, 45)])
def test_equals_numpy(gpu, stages, m, n, k):
    x, weight = operands(m, n, k)
    np.testing.assert_array_equal(matmul_int8(x, weight, stages=stages).numpy(), expected(x, weight))


def test_extremes_do_not_saturate(gpu):
    x = torch.full((16, 512), -128, dtype=torch.int8)
    weight = torch.full((16, 512), -128, dtype=torch.int8)
    assert matmul_int8(x, weight).eq(512 * 128 * 128).all()


@pytest.mark.parametrize("tile", [(16, 16, 32), (128, 32, 64)])
def test_tiles(gpu, tile):
    x, weight = operands(100, 70, 96)
    np.testing.assert_array_equal(matmul_int8(x, weight, tile=tile).numpy(), expected(x, weight))


def test_weights_stored_the_other_way(gpu):
    x, weight = operands(32, 48, 64)
    view = weight.T.contiguous().T
    np.testing.assert_array_equal(matmul_int8(x, view).numpy(), expected(x, weight))


def test_depth_that_could_overflow_is_refused():
    deep = torch.zeros((1, MAX_DEPTH), dtype=torch.int8)
    with pytest.raises(ValueError, match="K is 131072, must be below 131072"):
        matmul_int8(deep, deep)
