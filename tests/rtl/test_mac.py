import ml_dtypes
import numpy as np
import pytest

from hw.mac import MacSpec
from hw.mac import step as model_step
from hw.mx_macs import hybrid_mac
from hw.reference import reference
from mx_formats.element import E2M1, E4M3, FP16, INT8
from rtl.compiled import CompiledRtl
from rtl.mac import MacDesign, MacStep
from rtl.simulate import port_words, rtl_mac_step
from tests.rtl.mutants import E2M3_BIAS, FP4_ANCHOR, INT8_DIGIT_WEIGHTS, SIGN_OF_THE_SUM

pytestmark = pytest.mark.usefixtures("compiled_rtl")

DESIGN = MacDesign()
NAMES = DESIGN.names

# Values from a package we did not write; INT8 is two's complement with an implied 2**-6 (OCP MX 1.0).
VALUES = {
    "E5M2": np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e5m2).astype(np.float64),
    "E4M3": np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float64),
    "E3M2": np.arange(64, dtype=np.uint8).view(ml_dtypes.float6_e3m2fn).astype(np.float64),
    "E2M3": np.arange(64, dtype=np.uint8).view(ml_dtypes.float6_e2m3fn).astype(np.float64),
    "E2M1": np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float64),
    "INT8": np.arange(256, dtype=np.uint8).view(np.int8) / 64.0,
}


def pattern(values: np.ndarray, m: int) -> np.ndarray:
    """Accumulator pattern of float64 values by cutting float32 bits: sign and exponent are the same fields."""
    bits = values.astype(np.float32).view(np.uint32)
    out = bits >> np.uint32(23 - m)
    out[np.isnan(values)] = 0xFF << m | 1 << (m - 1)
    out[values == 0] = 0
    return out


def unit_scales(n: int) -> dict[str, np.ndarray]:
    return {"xa": np.full(n, 127, np.uint8), "xb": np.full(n, 127, np.uint8), "acc": np.zeros(n, np.uint32)}


def slow_model(spec: MacSpec, inputs: dict[str, np.ndarray]) -> np.ndarray:
    tree = hybrid_mac(spec)
    rows = zip(*(inputs[name].tolist() for name in ("a", "b", "acc", "xa", "xb")), strict=True)
    out = [reference(tree, spec.element, a, spec.element, b, acc, xa, xb) for a, b, acc, xa, xb in rows]
    return np.array(out, np.uint32)


@pytest.mark.parametrize("name", NAMES)
def test_every_product_pair_in_every_lane(name: str) -> None:
    # Alone in its lane a product is aligned to itself (zeros have the least exponent), so nothing is cut: the float64
    # product is the answer, infinities, NaN and infinity * 0 included.
    spec = DESIGN.spec(name)
    codes = np.arange(1 << spec.element.bits, dtype=np.uint8)
    left, right = (grid.ravel() for grid in np.meshgrid(codes, codes, indexing="ij"))
    with np.errstate(invalid="ignore"):
        expected = pattern(VALUES[name][left] * VALUES[name][right], 16)
    for lane in range(spec.lanes):
        a, b = np.zeros((2, left.size, spec.lanes), np.uint8)
        a[:, lane], b[:, lane] = left, right
        got = rtl_mac_step(DESIGN, name, a, b, **unit_scales(left.size))
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["E3M2", "E2M3", "E2M1", "INT8"])
def test_first_step_is_the_exact_sum_cut_toward_zero(name: str) -> None:
    # Products of these formats span at most 2 * 7 exponents (E3M2) and 4 fraction bits, so M = 16 cuts none of them.
    spec = DESIGN.spec(name)
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 1 << spec.element.bits, (2, 50_000, spec.lanes), dtype=np.uint8)
    exact = (VALUES[name][a] * VALUES[name][b]).sum(axis=1)
    got = rtl_mac_step(DESIGN, name, a, b, **unit_scales(len(a)))
    np.testing.assert_array_equal(got, pattern(exact, 16))


@pytest.mark.parametrize("m", [12, 13, 16, 23])
@pytest.mark.parametrize("name", NAMES)
def test_step_equals_the_exact_reference(name: str, m: int, cycles) -> None:
    design = MacDesign(m)
    inputs = cycles(design, name, 1500, seed=5).inputs()
    np.testing.assert_array_equal(rtl_mac_step(design, name, **inputs), slow_model(design.spec(name), inputs))


@pytest.mark.parametrize("m", [12, 16, 23])
@pytest.mark.parametrize("name", NAMES)
def test_step_equals_the_model_in_bulk(name: str, m: int, cycles) -> None:
    design = MacDesign(m)
    inputs = cycles(design, name, 200_000, seed=17).inputs()
    got = rtl_mac_step(design, name, **inputs)
    np.testing.assert_array_equal(got, model_step(design.spec(name), *inputs.values()))


@pytest.mark.parametrize("name", NAMES)
def test_multi_cycle_dots_equal_the_model(name: str, cycles) -> None:
    # Operands and scales as they come, so sums grow, cancel, overflow and underflow on their own.
    spec = DESIGN.spec(name)
    acc = np.zeros(20_000, np.uint32)
    for cycle in range(32):
        made = cycles(DESIGN, name, len(acc), seed=100 + cycle, finite=True)
        operands = made.a, made.b, made.xa, made.xb
        expected = model_step(spec, *operands, acc)
        np.testing.assert_array_equal(rtl_mac_step(DESIGN, name, *operands, acc), expected, err_msg=f"cycle {cycle}")
        acc = expected


MUTANTS = {
    "E2M3 bias": (*E2M3_BIAS, "E2M3"),
    "sign of the sum": (*SIGN_OF_THE_SUM, "E4M3"),
    "INT8 digit weights": (*INT8_DIGIT_WEIGHTS, "INT8"),
    "FP4 anchor": (*FP4_ANCHOR, "E2M1"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_broken_rtl_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch, cycles) -> None:
    module, attribute, broken, name = MUTANTS[mutant]
    monkeypatch.setattr(module, attribute, broken)
    step = CompiledRtl(MacStep(DESIGN), "mac_step")
    inputs = cycles(DESIGN, name, 300, seed=7).inputs()
    acc = inputs["acc"]
    ports = port_words(DESIGN, name, **{key: value for key, value in inputs.items() if key != "acc"})
    assert (step(acc=acc, **ports)["result"] != slow_model(DESIGN.spec(name), inputs)).any()


def test_a_subset_of_modes(cycles) -> None:
    design = MacDesign(14, (INT8, E4M3))
    assert (design.mode("INT8"), design.mode("E4M3")) == (0, 1)
    inputs = cycles(design, "E4M3", 300, seed=11).inputs()
    np.testing.assert_array_equal(rtl_mac_step(design, "E4M3", **inputs), slow_model(design.spec("E4M3"), inputs))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((16, ()), "one or more"),
        ((16, (INT8, INT8)), "each once"),
        ((16, (FP16,)), "FP16 has 16 bits"),
        ((11,), "legal 12..23 for INT8"),
        ((24,), "legal 12..23|legal 10..23"),
    ],
)
def test_impossible_designs_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MacDesign(*arguments)


def test_small_mantissa_without_int8() -> None:
    assert MacDesign(10, (E2M1,)).accumulator_bits == 19


def test_bad_inputs_are_named() -> None:
    codes = np.zeros((1, 4), np.uint8)
    with pytest.raises(ValueError, match="got 'E4M2', this MAC has the modes E5M2, E4M3"):
        rtl_mac_step(DESIGN, "E4M2", codes, codes, **unit_scales(1))
    with pytest.raises(ValueError, match=r"a: got uint8\[1, 4\], must be unsigned\[1, 8\]"):
        rtl_mac_step(DESIGN, "E2M1", codes, codes, **unit_scales(1))
    with pytest.raises(ValueError, match="b: 0x40 does not fit in 6 bits"):
        rtl_mac_step(DESIGN, "E2M3", codes, codes + np.uint8(64), **unit_scales(1))
