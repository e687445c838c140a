"""Single-precision product: IEEE multiply-adds in the order of k, within its bound, and what it refuses."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from workloads.matmul_float32 import error_ratio, matmul_float32


def _fused(a: float, b: float, c: float) -> float:
    """a * b + c rounded once to float32, normal results only."""
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    near = np.float32(float(exact))
    around = [near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
    even = lambda value: int(value.view(np.uint32)) & 1  # noqa: E731
    return float(min(around, key=lambda value: (abs(Fraction(float(value)) - exact), even(value))))


def test_every_step_is_one_fused_multiply_add(gpu):
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(3, 40, generator=generator), torch.randn(40, 2, generator=generator)
    expected = torch.zeros(3, 2)
    for i, j in np.ndindex(3, 2):
        total = 0.0
        for k in range(40):
            total = _fused(float(a[i, k]), float(b[k, j]), total)
        expected[i, j] = total
    assert torch.equal(matmul_float32(a, b, (16, 16, 16), 1), expected)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (33, 70, 20), (64, 64, 64)])
def test_within_its_bound_in_any_layout(gpu, m, n, k):
    generator = torch.Generator().manual_seed(m)
    a, b = torch.randn(k, m, generator=generator).T, torch.randn(n, k, generator=generator).T
    assert error_ratio(a, b, matmul_float32(a, b, (32, 32, 16)))[1] <= 1


def test_a_product_rounded_to_tf32_is_out_of_bound():
    a, b = torch.full((4, 16), 1 + 2.0**-12), torch.ones(16, 4)
    assert error_ratio(a, b, torch.full((4, 4), 16.0))[1] > 1


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"a is \(2, 3\) torch.float16"):
        matmul_float32(torch.ones(2, 3).half(), torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"b is \(4, 2\)"):
        matmul_float32(torch.ones(2, 3), torch.ones(4, 2))
