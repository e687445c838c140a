"""The variant in which all sixteen 2-bit multipliers work in FP4."""

import ml_dtypes
import numpy as np
import pytest

from hw.mac import step as model_step
from hw.multiplier_grid import IDLE, multiplier_grid
from rtl.equality import check_dots, check_product_pairs, check_single_cycles
from rtl.mac import MacDesign
from rtl.prove import prove, stages, theorems
from rtl.simulate import rtl_mac_step

DESIGN = MacDesign(four_bit_products=16)
E2M1 = np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float64)


def test_every_multiplier_works() -> None:
    spec = DESIGN.spec("E2M1")
    codes = np.zeros(16, np.uint8)
    assert spec.lanes == 16 == len(set(multiplier_grid(spec, codes, codes).lane.tolist()) - {IDLE})
    assert DESIGN.operand_bits == 64


@pytest.mark.usefixtures("compiled_rtl")
def test_sums_of_sixteen_products_are_exact() -> None:
    # At most 16 * 36, in steps of a quarter: twelve bits, which a mantissa of 16 holds.
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 16, (2, 50_000, 16), dtype=np.uint8)
    scales, zero = np.full(len(a), 127, np.uint8), np.zeros(len(a), np.uint32)
    got = rtl_mac_step(DESIGN, "E2M1", a, b, scales, scales, zero)
    exact = (E2M1[a] * E2M1[b]).sum(axis=1)
    np.testing.assert_array_equal((got << np.uint32(7)).view(np.float32), exact)


@pytest.mark.usefixtures("compiled_rtl")
@pytest.mark.parametrize("name", DESIGN.names)
def test_rtl_equals_the_model(name: str) -> None:
    assert check_product_pairs(DESIGN, name).cycles == DESIGN.spec(name).lanes << 2 * DESIGN.spec(name).element.bits
    check_single_cycles(DESIGN, name, 50_000)
    assert sum(part.cycles for part in check_dots(DESIGN, name, 5000)) == 40_000


@pytest.mark.usefixtures("compiled_rtl")
@pytest.mark.parametrize("m", [12, 23])
def test_other_mantissas(m: int, cycles) -> None:
    design = MacDesign(m, four_bit_products=16)
    for name in design.names:
        inputs = cycles(design, name, 50_000, seed=3).inputs()
        np.testing.assert_array_equal(
            rtl_mac_step(design, name, **inputs), model_step(design.spec(name), *inputs.values())
        )


@pytest.mark.slow
@pytest.mark.parametrize("element", [*DESIGN.names, None])
def test_it_equals_its_rule_for_every_input(element: str | None) -> None:
    stages.netlist.cache_clear()
    chosen = [theorem for theorem in theorems(DESIGN) if theorem.element == element]
    assert chosen
    assert all(prove(DESIGN, theorem).failure is None for theorem in chosen)


def test_another_number_of_products_is_refused() -> None:
    with pytest.raises(ValueError, match="four_bit_products: got 12, legal 8 or 16"):
        MacDesign(four_bit_products=12)
