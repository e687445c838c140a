"""Trees drawn at random, every feature of a stage among them: the kernel against the exact reference, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from hw.evaluate import evaluate_codes, evaluate_steps, pattern_dtype
from hw.lowering import lower
from hw.presets import NVIDIA_E8M13, NVIDIA_F16, NVIDIA_F32
from hw.reduction_tree import Accumulator, Align, IntegerAccumulator, ReductionTree, Rounding, Stage, Window, Zero
from hw.reference import reference
from mx_formats.element import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, FP16, FP32, INT4, INT8
from mx_formats.scale import E8M0, UE4M3

ROUNDINGS = (Rounding.TOWARD_ZERO, Rounding.FLOOR, Rounding.NEAREST_EVEN)
FP32_NEAREST = Accumulator(8, 23, Rounding.NEAREST_EVEN, subnormals=True, nan=0x7FC00000, zero=Zero.IEEE)
FP64_FLOOR = Accumulator(11, 52, Rounding.FLOOR, subnormals=True, nan=0x7FF8000000000000, zero=Zero.ROUNDED)
TINY = Accumulator(4, 3, Rounding.NEAREST_EVEN, subnormals=False, nan=0x7C, zero=Zero.ROUNDED)
FORMATS = (NVIDIA_F32, NVIDIA_F16, NVIDIA_E8M13, FP32_NEAREST, FP64_FLOOR, TINY)
SMALL = (E5M2, E4M3, E3M2, E2M3, E2M1, INT8)


@st.composite
def stages(draw, last: bool, fan_ins=(1, 2, 4)):
    """One legal stage; the accumulator joins if it is the last."""
    fan_in = draw(st.sampled_from(fan_ins))
    common = {"fan_in": fan_in, "accumulator": last}
    if not last:
        common["interleaved"] = draw(st.booleans())
        if draw(st.booleans()):
            common["result"] = draw(st.sampled_from(FORMATS))
            common["chain"] = draw(st.sampled_from([1, fan_in]))
    elif draw(st.booleans()):
        common["result"] = draw(st.sampled_from(FORMATS))
    common["overflow"] = draw(st.sampled_from([None, None, 3]))
    if draw(st.booleans()):
        return Stage(align=Align.EXACT, **common)
    common["fraction_bits"], common["rounding"] = draw(st.integers(3, 30)), draw(st.sampled_from(ROUNDINGS))
    common["zeros_join"] = draw(st.booleans())
    if last and draw(st.booleans()):
        common["accumulator_bits"] = draw(st.integers(0, common["fraction_bits"]))
        common["window"] = draw(st.sampled_from([None, Window(None, 4)]))
    return Stage(align=Align.LARGEST, lowest=draw(st.sampled_from([None, -5, -126])), **common)


@st.composite
def trees(draw):
    inner = draw(st.lists(stages(last=False), min_size=0, max_size=3))
    join = draw(stages(last=True))
    scales_enter = draw(st.integers(0, len(inner)))
    return ReductionTree("drawn", (*inner, join), draw(st.sampled_from(FORMATS)), scales_enter, "test")


@st.composite
def codes(draw, element, count):
    """All codes; zeros and small patterns often, so that sums cancel and vanish."""
    top = (1 << element.bits) - 1
    code = st.integers(0, top) | st.sampled_from([0, 1, 1 << (element.bits - 1), top >> 1, (top >> 1) - 1])
    return np.array([draw(st.lists(code, min_size=count, max_size=count))], element.code_dtype)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_kernel_equals_reference(data):
    tree = data.draw(trees())
    element_a, element_b = data.draw(st.sampled_from(SMALL)), data.draw(st.sampled_from(SMALL))
    a, b = (data.draw(codes(element, tree.products)) for element in (element_a, element_b))
    start = data.draw(st.integers(0, (1 << tree.accumulator.bits) - 1) | st.just(0))
    scale = data.draw(st.sampled_from([E8M0, UE4M3]))
    groups = data.draw(st.sampled_from([1, tree.scaled_terms]))
    one = st.integers(110, 140) | st.sampled_from([0, 254, 255]) if scale is E8M0 else st.integers(0, 255)
    scale_a, scale_b = (
        np.array([data.draw(st.lists(one, min_size=groups, max_size=groups))], np.uint8) for _ in range(2)
    )
    accumulator = np.array([start], pattern_dtype(tree))
    want = reference(tree, element_a, a[0].tolist(), element_b, b[0].tolist(), start, scale_a[0], scale_b[0], scale)
    try:
        room = lower(tree, element_a, element_b).widest_scale
    except ValueError as error:
        if "exact sums that may leave 62 bits" not in str(error):
            raise
        reject()
    if scale is UE4M3 and room < 8:
        with pytest.raises(ValueError, match="scale: two UE4M3 significands have 8 bits"):
            evaluate_steps(tree, element_a, a, element_b, b, accumulator, scale_a, scale_b, scale)
        return
    got = evaluate_steps(tree, element_a, a, element_b, b, accumulator, scale_a, scale_b, scale)
    assert hex(int(got[0])) == hex(want)


WIDE = (FP16, BF16, FP32)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_wide_exact_sums_equal_the_reference(data):
    """Products hundreds of binades apart, summed exactly and rounded once."""
    element = data.draw(st.sampled_from(WIDE))
    accumulator = data.draw(st.sampled_from(FORMATS))
    shape = data.draw(st.sampled_from([(8, 1), (4, 2), (1, 4)]))
    parts = Stage(shape[0], Align.EXACT), Stage(shape[1], Align.EXACT, accumulator=True)
    tree = ReductionTree("exact", parts, accumulator, 0, "test")
    a, b = (data.draw(codes(element, tree.products)) for _ in range(2))
    b[0, 1::2] = np.where(data.draw(st.booleans()), b[0, ::2], b[0, 1::2]) if tree.products > 1 else b[0, 1::2]
    a[0, 1::2] = np.where(data.draw(st.booleans()), a[0, ::2] ^ (1 << (element.bits - 1)), a[0, 1::2])
    start = data.draw(st.integers(0, (1 << accumulator.bits) - 1) | st.just(0))
    want = reference(tree, element, a[0].tolist(), element, b[0].tolist(), start)
    got = evaluate_codes(tree, element, a, element, b, np.array([[start]], pattern_dtype(tree)))
    assert hex(int(got[0, 0])) == hex(want)


@pytest.mark.parametrize("saturate", [False, True])
def test_integer_registers_wrap_or_saturate(saturate):
    """Against NumPy's int64 sums, brought into range by hand."""
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 256, (4, 64)).astype(np.uint8) for _ in range(2))
    start = rng.choice([0, 5, 0x7FFFFFF0, 0x80000010], (4, 4)).astype(np.uint32)
    register = IntegerAccumulator(32, 12, saturate)
    tree = ReductionTree("imma", (Stage(64, Align.EXACT, accumulator=True),), register, 0, "test")
    exact = a.view(np.int8).astype(np.int64) @ b.view(np.int8).astype(np.int64).T + start.view(np.int32)
    want = np.clip(exact, -(1 << 31), (1 << 31) - 1) if saturate else exact
    got = evaluate_codes(tree, INT8, a, INT8, b, start)
    np.testing.assert_array_equal(got, want.astype(np.int32).view(np.uint32) if saturate else want.astype(np.uint32))
    assert int(got[1, 2]) == reference(tree, INT8, a[1].tolist(), INT8, b[2].tolist(), int(start[1, 2]))


def exact_tree(*parts, accumulator=FP32_NEAREST):
    return ReductionTree("tree", parts, accumulator, len(parts) - 1, "test")


JOIN = Stage(1, Align.EXACT, accumulator=True)


@pytest.mark.parametrize(
    ("tree", "element", "message"),
    [
        (
            exact_tree(Stage(4, Align.ANCHOR, 20, anchor=0, integer_bits=32), JOIN),
            E5M2,
            r"Stage.fraction_bits: got 20 in stage 0 of 'tree' with E5M2 x E5M2, legal 32 or more",
        ),
        (
            exact_tree(Stage(4, Align.ANCHOR, 34, anchor=0, integer_bits=31), JOIN),
            E5M2,
            r"Stage.integer_bits: got 31 in .*, legal 32 or more",
        ),
        (
            exact_tree(Stage(4, Align.LARGEST, 60, Rounding.FLOOR), JOIN),
            E4M3,
            r"Stage.fraction_bits: got 60 in stage 0 .*, a sum of 65 bits or more; legal up to 62",
        ),
        (
            exact_tree(Stage(2, Align.EXACT), Stage(2, Align.EXACT, interleaved=True), Stage(2, Align.EXACT), JOIN),
            E5M2,
            r"Stage.align: got EXACT in stage 1 .*, whose terms are exact sums that may leave 62 bits",
        ),
        (
            exact_tree(Stage(4, Align.EXACT), JOIN, accumulator=IntegerAccumulator(32, 4)),
            INT4,
            None,
        ),
        (
            exact_tree(Stage(4, Align.EXACT), JOIN, accumulator=IntegerAccumulator(32, 4)),
            INT8,
            r"IntegerAccumulator.fraction_bits: got 4 in 'tree', legal 12 or more for INT8",
        ),
        (
            exact_tree(Stage(4, Align.EXACT), JOIN, accumulator=IntegerAccumulator(32, 40)),
            E4M3,
            "element: got E4M3, which has NaN",
        ),
    ],
)
def test_widths_that_cannot_hold_the_products_are_named(tree, element, message):
    if message is None:
        lower(tree, element, element)
        return
    with pytest.raises(ValueError, match=message):
        lower(tree, element, element)
