"""Arrays of MACs: published cycle counts, values of the matrix product, and what the 2-bit multipliers do."""

import numpy as np
import pytest

from hw.evaluate import evaluate_gemm, evaluate_steps
from hw.mac import MacSpec
from hw.mac_array import ArraySpec, run, trace
from hw.multiplier_grid import IDLE, multiplier_grid, significand_products
from hw.mx_macs import hybrid_mac
from mx_formats import E8M0, OCP_FORMATS, quantize
from mx_formats.element import E2M1, E2M3, E3M2, E4M3, E5M2, INT8, decode

# KU Leuven: cycles of an 8 x 8 x 8 tile, and of the variant that uses every multiplier in FP4.
TILE_CYCLES = [(INT8, 8, 8), (E4M3, 8, 2), (E5M2, 8, 2), (E3M2, 8, 2), (E2M3, 8, 2), (E2M1, 8, 1)]


@pytest.mark.parametrize(("element", "four_bit", "cycles"), TILE_CYCLES, ids=lambda x: getattr(x, "name", str(x)))
def test_a_tile_takes_the_published_cycles(element, four_bit, cycles):
    array = ArraySpec(MacSpec(element, 16, four_bit))
    assert array.cycles(8, 8, 8) == cycles
    # 64 MACs at 500 MHz, multiplication and addition an operation each: 64, 256 or 512 GOPS.
    assert 2 * array.products_per_cycle * 0.5 == {8: 64, 2: 256, 1: 512}[cycles]


def test_the_variant_with_all_multipliers_halves_the_cycles_of_fp4():
    assert ArraySpec(MacSpec(E2M1, 16, 16)).cycles(8, 8, 16) == 1
    assert ArraySpec(MacSpec(E2M1, 16, 8)).cycles(8, 8, 16) == 2
    assert ArraySpec(MacSpec(E4M3, 16, 16)).cycles(8, 8, 8) == 2


@pytest.mark.parametrize("name", OCP_FORMATS)
def test_run_counts_partial_tiles(name):
    rng = np.random.default_rng(0)
    a, b = (quantize(rng.standard_normal((rows, 64)).astype(np.float32), OCP_FORMATS[name]) for rows in (11, 5))
    array = ArraySpec(MacSpec(a.format.element))
    done = run(array, a, b)
    np.testing.assert_array_equal(done.values, evaluate_gemm(hybrid_mac(array.mac), a, b))
    assert done.cycles == 2 * 64 // array.mac.lanes
    assert done.utilisation == pytest.approx(11 * 5 / 128)


@pytest.mark.parametrize("four_bit", [8, 16])
@pytest.mark.parametrize("name", OCP_FORMATS)
def test_a_trace_ends_where_the_matrix_product_does(name, four_bit):
    """A 4-wide array over one block of 32, cycle by cycle."""
    rng = np.random.default_rng(1)
    element = OCP_FORMATS[name].element
    array = ArraySpec(MacSpec(element, 16, four_bit), 4, 3)
    a, b = (quantize(rng.standard_normal((rows, 32)).astype(np.float32), OCP_FORMATS[name]) for rows in (4, 3))
    sums = trace(array, a.codes, b.codes, a.scales[:, 0], b.scales[:, 0])
    assert len(sums) == 32 // array.mac.lanes == array.cycles(4, 3, 32)
    np.testing.assert_array_equal((sums[-1] << np.uint32(7)).view(np.float32), run(array, a, b).values)
    shared = a.scales[:, 0].repeat(3)[:, None], np.tile(b.scales[:, 0], 4)[:, None]
    lanes = array.mac.lanes
    left, right = a.codes[:, :lanes].repeat(3, axis=0), np.tile(b.codes[:, :lanes], (4, 1))
    first = evaluate_steps(hybrid_mac(array.mac), element, left, element, right, np.zeros(12, np.uint32), *shared, E8M0)
    np.testing.assert_array_equal(sums[0].reshape(-1), first)


def test_sixteen_products_of_the_largest_fp4_are_exact():
    """16 * 6 * 6 = 576 needs the anchor one higher than 8 products do."""
    array = ArraySpec(MacSpec(E2M1, 16, 16), 1, 1)
    codes, one = np.full((1, 16), 7, np.uint8), np.full(1, 127, np.uint8)
    assert (trace(array, codes, codes, one, one) << np.uint32(7)).view(np.float32)[0, 0, 0] == 576


BUSY = [(INT8, 8, 16), (E4M3, 8, 16), (E2M3, 8, 16), (E2M1, 8, 8), (E2M1, 16, 16)]


@pytest.mark.parametrize(("element", "four_bit", "busy"), BUSY, ids=lambda x: getattr(x, "name", str(x)))
def test_multipliers_make_the_products(element, four_bit, busy):
    """Every significand of two bits a digit, the most negative integer among them."""
    spec = MacSpec(element, 16, four_bit)
    rng = np.random.default_rng(2)
    for _ in range(200):
        a, b = (rng.integers(0, 1 << element.bits, spec.lanes).astype(np.uint8) for _ in range(2))
        a[0] = 0x80 if element is INT8 else a[0]
        grid = multiplier_grid(spec, a, b)
        assert (grid.lane != IDLE).sum() == busy
        assert max(grid.digit_a.max(), grid.digit_b.max()) <= 3
        want = np.abs(decode(a, element).significand.astype(np.int64) * decode(b, element).significand)
        np.testing.assert_array_equal(significand_products(spec, grid), want)


def test_bad_arrays_are_named():
    with pytest.raises(ValueError, match="rows: got 0"):
        ArraySpec(MacSpec(E4M3), 0)
    with pytest.raises(ValueError, match="four_bit_products: got 12, legal 8 or 16"):
        MacSpec(E2M1, 16, 12)
    array = ArraySpec(MacSpec(E4M3))
    tile = np.zeros((8, 6), np.uint8)
    with pytest.raises(ValueError, match="k a multiple of 4"):
        trace(array, tile, tile, tile[:, 0], tile[:, 0])
    x = quantize(np.ones((8, 32), np.float32), OCP_FORMATS["MXFP4"])
    with pytest.raises(ValueError, match="a: element is E2M1, must be the MAC's E4M3"):
        run(array, x, x)
    with pytest.raises(ValueError, match="must be .4,."):
        multiplier_grid(array.mac, tile[0], tile[0])
