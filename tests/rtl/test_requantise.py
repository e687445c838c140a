"""The requantiser against the quantiser, bit for bit."""

import numpy as np
import pytest

from hw.evaluate import accumulator_values
from mx_formats import E8M0, quantize
from mx_formats.block import BlockFormat
from rtl.compiled import CompiledRtl
from rtl.mac import MacDesign
from rtl.mac.design import OCP_ELEMENTS
from rtl.requantise import Requantise

SIZE = 8


def compiled(design: MacDesign, size: int = SIZE) -> CompiledRtl:
    return CompiledRtl(Requantise(design, size), "requantise")


def check(rtl: CompiledRtl, design: MacDesign, name: str, values: np.ndarray) -> None:
    """Patterns uint32[n, size] to what `quantize` makes of them."""
    n, size = values.shape
    element = design.elements[design.mode(name)]
    with np.errstate(invalid="ignore"):
        floats = accumulator_values(design.reduction_tree(name), values)
    expected = quantize(floats, BlockFormat(element, E8M0, size))
    ports = {f"value__{i}": values[:, i] for i in range(size)}
    got = rtl(mode=np.full(n, design.mode(name), np.uint32), **ports)
    np.testing.assert_array_equal(got["scale"], expected.scales[:, 0])
    codes = np.stack([got[f"code__{i}"] for i in range(size)], axis=1)
    np.testing.assert_array_equal(codes, expected.codes)


def patterns(rng: np.random.Generator, m: int, field: np.ndarray) -> np.ndarray:
    """Any sign and mantissa, many at or beside a tie; zeros are +0, infinity and NaN those that MACs make."""
    mantissa = rng.integers(0, 1 << m, field.shape)
    # A few leading bits, then 1000..., 0111... or 0000..., one more or less.
    kept = rng.integers(0, 8, field.shape)
    edge = (mantissa >> (m - kept) << (m - kept)) + (1 << (m - 1) >> kept) + rng.integers(-1, 2, field.shape)
    mantissa = np.where(rng.random(field.shape) < 0.6, np.clip(edge, 0, (1 << m) - 1), mantissa)
    mantissa = np.where(rng.random(field.shape) < 0.1, (1 << m) - 1, mantissa)
    mantissa = np.where(field == 255, np.where(mantissa & 1, 1 << (m - 1), 0), mantissa)
    sign = rng.integers(0, 2, field.shape)
    return np.where(field == 0, 0, sign << (m + 8) | field << m | mantissa).astype(np.uint32)


@pytest.mark.usefixtures("compiled_rtl")
@pytest.mark.parametrize("m", [16, 23])
@pytest.mark.parametrize("name", [element.name for element in OCP_ELEMENTS])
def test_every_scale_and_every_distance_below_it(m: int, name: str) -> None:
    """The largest value at each of the 256 exponents, the others 0 to 34 below it, 40 blocks each, edges and ties."""
    design = MacDesign(m)
    rng = np.random.default_rng([m, design.mode(name)])
    top = np.repeat(np.arange(256), 40 * 5)[:, None]
    below = np.arange(len(top))[:, None] % 5 * 7 + np.arange(SIZE)[None]
    field = np.clip(top - below, 0, 255)
    field[:, 0] = top[:, 0]
    check(compiled(design), design, name, patterns(rng, m, field))


@pytest.mark.usefixtures("compiled_rtl")
@pytest.mark.parametrize("name", [element.name for element in OCP_ELEMENTS])
def test_blocks_as_they_come(name: str) -> None:
    design = MacDesign(16)
    rng = np.random.default_rng(7)
    anywhere = rng.integers(0, 256, (20_000, SIZE))
    near = np.clip(rng.integers(20, 235, (60_000, 1)) + rng.integers(-12, 13, (60_000, SIZE)), 0, 254)
    rtl = compiled(design)
    check(rtl, design, name, patterns(rng, 16, anywhere))
    check(rtl, design, name, patterns(rng, 16, near))
    check(rtl, design, name, np.zeros((1, SIZE), np.uint32))


@pytest.mark.usefixtures("compiled_rtl")
def test_every_pattern_of_a_narrow_accumulator_alone() -> None:
    """M = 10: all 2**19 patterns of finite numbers, each the whole block, in the formats that such a MAC has."""
    design = MacDesign(10, tuple(element for element in OCP_ELEMENTS if not element.is_integer))
    rtl = compiled(design, 1)
    every = np.arange(1 << 19, dtype=np.uint32)
    every = every[((every >> 10) & 0xFF != 0) & ((every >> 10) & 0xFF != 255)]
    for name in design.names:
        check(rtl, design, name, every[:, None])
