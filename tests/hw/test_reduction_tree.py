"""What a spec refuses, and what it derives."""

from dataclasses import replace

import pytest

from hw.mac import MacSpec
from hw.mx_macs import hybrid_mac
from hw.presets import NVIDIA_F16, NVIDIA_F32, tensor_core
from hw.reduction_tree import Accumulator, Align, IntegerAccumulator, ReductionTree, Rounding, Stage, Window
from mx_formats.element import E2M1, E4M3, FP16

LAST = Stage(1, Align.LARGEST, 24, Rounding.TOWARD_ZERO, accumulator=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fan_in": 0}, "fan_in: got 0"),
        ({"fraction_bits": None}, "fraction_bits: got None"),
        ({"rounding": Rounding.EXACT}, "rounding: got"),
        ({"anchor": 3}, "anchor: got 3"),
        ({"window": Window(3, 4)}, "window: got Window"),
        ({"align": Align.ANCHOR, "anchor": 2, "lowest": -3}, "lowest: got -3"),
        ({"chain": 2}, "chain: got 2, must divide fan_in 1"),
        ({"chain": 2, "fan_in": 4}, "chain: got 2, more than 1 needs a result"),
        ({"accumulator_bits": 25}, "accumulator_bits: got 25"),
        ({"integer_bits": 5}, "integer_bits: got 5"),
        ({"window": Window(None, 4), "accumulator": False}, "legal where the accumulator joins"),
        ({"align": Align.WINDOW, "window": Window(3, 4), "fan_in": 2}, "WINDOW joins one term"),
    ],
)
def test_a_stage_names_the_field_at_fault(fields, message):
    with pytest.raises(ValueError, match=message):
        replace(LAST, **fields)


def test_a_tree_names_the_field_at_fault():
    with pytest.raises(ValueError, match="accumulator joins at .0, 1., must be the last stage alone"):
        ReductionTree("two", (LAST, LAST), NVIDIA_F32, 0, "test")
    with pytest.raises(ValueError, match=r"scales_enter: got 1, legal 0\.\.0"):
        ReductionTree("one", (LAST,), NVIDIA_F32, 1, "test")
    with pytest.raises(ValueError, match="must come after anchored stage 0"):
        replace(hybrid_mac(MacSpec(E2M1)), scales_enter=0)
    with pytest.raises(ValueError, match="rounding: got Rounding.EXACT"):
        Accumulator(8, 23, Rounding.EXACT, subnormals=True, nan=0x7FFFFFFF)
    with pytest.raises(ValueError, match="nan: got 0x7f800000, must be above 0x7f800000"):
        Accumulator(8, 23, Rounding.FLOOR, subnormals=True, nan=0x7F800000)
    with pytest.raises(ValueError, match=r"bits: got 64, legal 2\.\.62"):
        IntegerAccumulator(64, 0)


def test_products_of_a_step():
    assert hybrid_mac(MacSpec(E2M1)).products == 8
    assert hybrid_mac(MacSpec(E4M3)).products == 4
    steps = [tensor_core(name, FP16).products for name in ("volta", "ampere", "hopper")]
    assert steps == [4, 8, 16]


def test_accumulator_patterns():
    assert (NVIDIA_F32.bits, NVIDIA_F32.infinity, NVIDIA_F32.emin) == (32, 0x7F800000, -126)
    assert (NVIDIA_F16.bits, NVIDIA_F16.infinity, NVIDIA_F16.bias) == (16, 0x7C00, 15)
