"""Layer norm against PyTorch in float64, with the bound the script derives."""

import pytest
import torch
from torch.nn.functional import layer_norm as torch_layer_norm

from workloads.layer_norm import DTYPES, error_ratio, layer_norm


def operands(rows: int, columns: int, dtype: torch.dtype = torch.float32, offset: float = 0.5):
    generator = torch.Generator().manual_seed(columns)
    x = (offset + 2 * torch.randn(rows, columns, generator=generator)).to(dtype)
    weight, bias = torch.randn(2, columns, generator=generator).to(dtype)
    return x, weight, bias


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 100, 512, 1031])
def test_within_bound(gpu, dtype, columns):
    x, weight, bias = operands(4, columns, DTYPES[dtype])
    y, mean, rstd = layer_norm(x, weight, bias)
    assert error_ratio(x, weight, bias, y)[1] <= 1
    spread = x.double().abs().amax(1)
    assert ((mean.double() - x.double().mean(1)).abs() <= 2**-20 * spread).all()
    exact = (x.double().var(1, correction=0) + 1e-5).rsqrt()
    assert ((rstd.double() - exact).abs() <= 2**-18 * exact * (1 + spread * exact if columns > 1 else 1)).all()


def test_reference_is_torch_layer_norm():
    # The script's float64 reference, checked against an implementation that shares nothing with it.
    x, weight, bias = operands(3, 77)
    y = torch_layer_norm(x.double(), (77,), weight.double(), bias.double())
    assert error_ratio(x, weight, bias, y)[0] < 1e-12


def test_constant_row_gives_its_bias(gpu):
    x = torch.full((2, 256), 4.0)  # 256 * 4 and its mean are exact, so the centred row is exactly zero
    _, weight, bias = operands(1, 256)
    y, mean, _ = layer_norm(x, weight, bias)
    assert mean.eq(4).all()
    assert y.eq(bias).all()


def test_rows_are_independent(gpu):
    x, weight, bias = operands(8, 300)
    y = layer_norm(x, weight, bias)[0]
    assert torch.equal(layer_norm(x[3:5], weight, bias)[0], y[3:5])


def test_wrong_weight_is_refused():
    with pytest.raises(ValueError, match=r"weight \(3,\) and bias \(4,\) must both be \(4,\)"):
        layer_norm(torch.zeros(2, 4), torch.zeros(3), torch.zeros(4))
