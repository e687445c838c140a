"""Matrix cores against the published rules written down once more in exact rationals, on operands made to hurt.

The rule of MMA-Sim (arXiv 2511.10909) as its text has it, and the instructions of its model by name.
"""

from fractions import Fraction

import numpy as np
import pytest
from mmasim.nv_ptx import isa_mma, isa_tcgen05mma, isa_wgmma, sim

from hw.block_scaled import LOWEST_EXPONENT
from hw.cdna1 import cdna1
from hw.cdna3 import PRODUCTS as CDNA3_PRODUCTS
from hw.cdna3 import cdna3
from hw.evaluate import evaluate_codes, evaluate_steps
from hw.presets import NVIDIA_E8M13, NVIDIA_F16, NVIDIA_F32, TENSOR_CORES, block_scaled_core, tensor_core
from hw.summation import sequential_fma
from mx_formats.element import (
    BF16,
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    FP16,
    FP32,
    TF32,
    ElementFormat,
    NanCodes,
)
from mx_formats.scale import E8M0, UE4M3

NAMES = {
    "f16": FP16, "bf16": BF16, "tf32": TF32, "e4m3": E4M3, "e5m2": E5M2, "e3m2": E3M2, "e2m3": E2M3, "e2m1": E2M1,
}  # fmt: skip
GENERATIONS = {
    "Volta": "volta", "Turing": "turing", "Ampere": "ampere", "Ada Lovelace": "ada", "Hopper": "hopper",
    "Blackwell": "blackwell", "RTX Blackwell": "blackwell",
}  # fmt: skip
SUMS = {"RZ-FP32": NVIDIA_F32, "RZ-E8M13": NVIDIA_E8M13, "RNE-FP16": NVIDIA_F16}
INSTRUCTIONS = (
    [(sim.MMA, arch, name) for arch, names in isa_mma.mma_shape_and_type.items() for name in names]
    + [(sim.WGMMA, arch, name) for arch, names in isa_wgmma.wgmma_shape_and_type.items() for name in names]
    + [
        (sim.TCGen05MMA, arch, name)
        for arch, names in isa_tcgen05mma.tcgen05mma_shape_and_type.items()
        for name in names
    ]
)


def test_every_instruction_of_the_published_model_has_its_tree():
    """Of mma, wgmma and tcgen05.mma: fraction bits, products of a step and the format of the sum."""
    compared = 0
    for kind, arch, name in INSTRUCTIONS:
        operation = kind(arch, name)
        rule = operation.arithmetic_op
        if not hasattr(rule, "F"):  # FP64, a chain of fused multiply-adds
            continue
        generation = GENERATIONS[arch]
        if arch == "Turing" and name.startswith("m8n8k4."):  # runs as on Volta
            generation = "volta"
        tree = tensor_core(generation, NAMES[operation.a_type_ptx], SUMS[rule.rho])
        assert (tree.stages[0].fraction_bits, tree.products) == (rule.F, rule.L_max), (arch, name)
        lowest = tree.stages[0].lowest
        if rule.F == 13:  # no product of FP8 has a bit below 2**-32, so that neither limit cuts anything off
            assert max(lowest, rule.e_zero) - rule.F <= -32
        else:
            assert lowest == rule.e_zero
        compared += 1
    assert compared > 3900


def test_every_block_scaled_instruction_of_the_published_model_has_its_tree():
    """Of mma and tcgen05.mma: 64 products in groups of 16, or 32 that share one pair of scales."""
    tables = (
        (sim.MMABlockScale, isa_mma.mma_block_scale_shape_and_type),
        (sim.TCGen05MMABlockScale, isa_tcgen05mma.tcgen05mma_block_scale_shape_and_type),
    )
    operations = [kind(arch, name) for kind, table in tables for arch, names in table.items() for name in names]
    assert len(operations) > 900
    for operation in operations:
        rule = operation.arithmetic_op
        grouped = hasattr(rule, "G")
        tree = block_scaled_core() if grouped else tensor_core("blackwell", NAMES[operation.a_type_ptx])
        join = tree.stages[-1]
        found = join.fraction_bits, join.lowest, tree.products, tree.scaled_terms if grouped else 1
        assert found == (rule.F, rule.e_zero, rule.L_max, rule.L_max // rule.G if grouped else 1)
        assert (rule.rho, tree.accumulator) == ("RZ-FP32", NVIDIA_F32)


def finite(code, element):
    """Exact value and the exponent of a significand in [1, 2), the smallest one for subnormals; None for zero."""
    m, top = element.mantissa_bits, (1 << element.exponent_bits) - 1
    field, mantissa = code >> m & top, code & ((1 << m) - 1)
    exponent = max(field, 1) - element.bias
    magnitude = ((1 << m if field else 0) + mantissa) * Fraction(2) ** (exponent - m)
    return (-magnitude if code >> (element.bits - 1) else magnitude), (exponent if magnitude else None)


def cut(value, last):
    """Toward zero at a bit of weight 2**last."""
    units = value / Fraction(2) ** last
    return (abs(units).__floor__() * (-1 if units < 0 else 1)) * Fraction(2) ** last


def floor_log2(value):
    value = abs(value)
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent if value >= Fraction(2) ** exponent else exponent - 1


def pattern(value, exponent_bits, mantissa_bits, nearest):
    """A finite value in a format, cut or rounded to nearest even; zero is +0, overflow infinity."""
    bias = (1 << (exponent_bits - 1)) - 1
    if value == 0:
        return 0
    exponent = max(floor_log2(value), 1 - bias)
    units = abs(value) / Fraction(2) ** (exponent - mantissa_bits)
    whole = units.__floor__()
    rest = units - whole
    if nearest and (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole & 1)):
        whole += 1
    bits = whole + ((exponent - 1 + bias) << mantissa_bits)
    bits = min(bits, ((1 << exponent_bits) - 1) << mantissa_bits)
    return bits | (1 << (exponent_bits + mantissa_bits) if value < 0 and bits else 0)


E8M13 = ElementFormat("E8M13", 8, 13, 127, infinity=True, nan=NanCodes.IEEE)


def product(a, b, element, zero_exponent):
    """Value and exponent of a product."""
    (value_a, ea), (value_b, eb) = finite(int(a), element), finite(int(b), element)
    return value_a * value_b, zero_exponent if ea is None or eb is None else ea + eb


def cut_sum(terms, fraction_bits):
    """The largest exponent, and the terms cut toward zero below it and summed."""
    largest = max(exponent for _, exponent in terms)
    return sum((cut(value, largest - fraction_bits) for value, _ in terms), start=Fraction(0)), largest


def shown(value_and_exponent, zero_exponent):
    value, exponent = value_and_exponent
    return value, zero_exponent if exponent is None else exponent


def hurtful(rng, element, shape):
    """Finite codes: any, near one, subnormal, and all-ones or all-zeros mantissas at neighbouring exponents."""
    m, largest = element.mantissa_bits, element.largest_code
    any_code = rng.integers(0, largest + 1, shape)
    near = (element.bias << m) + rng.integers(-2 << m, (2 << m) + 1, shape)
    small = rng.integers(0, min(3 << m, largest), shape)
    edge = (rng.integers(0, (largest >> m) + 1, shape) << m) - rng.integers(0, 2, shape)
    code = np.clip(np.choose(rng.integers(0, 4, shape), [any_code, near, small, edge]), 0, largest)
    sign = rng.integers(0, 2, shape) * (code > 0) << (element.bits - 1)  # no -0, which is NaN in some formats
    return (code | sign).astype(np.uint32)


def operands(rng, element, total, products, count):
    """Steps in which neighbours cancel but for one bit, and accumulators that nearly cancel the first product."""
    a, b, start = (hurtful(rng, part, shape) for part, shape in (
        (element, (count, products)), (element, (count, products)), (total, count)
    ))  # fmt: skip
    a[::3, 1::2], b[::3, 1::2] = a[::3, ::2] ^ np.where(a[::3, ::2] > 0, 1 << (element.bits - 1), 0), b[::3, ::2]
    other = a[::6, 0] ^ 1
    magnitude = other & ((1 << (element.bits - 1)) - 1)
    a[::6, 0] = np.where((magnitude > 0) & (magnitude <= element.largest_code), other, a[::6, 0])
    for row in range(0, count, 5):
        value, _ = product(a[row, 0], b[row, 0], element, 0)
        bits = pattern(-value, total.exponent_bits, total.mantissa_bits, nearest=False)
        sign = 1 << (total.bits - 1)
        start[row] = min(bits & (sign - 1), total.largest_code) | bits & sign
    return a, b, start


def one_step(tree, element, a, b, start, row):
    one = slice(row, row + 1)
    return hex(evaluate_codes(tree, element, a[one], element, b[one], start[one, None])[0, 0])


def cores():
    for generation, element in TENSOR_CORES:
        for name, accumulator in SUMS.items():
            try:
                tree = tensor_core(generation, element, accumulator)
            except ValueError:
                continue
            yield pytest.param(tree, element, name, id=f"{generation} {element.name} {name}")


@pytest.mark.parametrize(("tree", "element", "name"), list(cores()))
def test_tensor_cores_follow_the_rule_as_written(tree, element, name):
    """Terms cut toward zero below the largest exponent, summed, converted."""
    total = {"RZ-FP32": FP32, "RZ-E8M13": E8M13, "RNE-FP16": FP16}[name]
    stage, count = tree.stages[0], 60
    a, b, start = operands(np.random.default_rng(0), element, total, tree.products, count)
    for row in range(count):
        terms = [product(x, y, element, stage.lowest) for x, y in zip(a[row], b[row], strict=True)]
        terms.append(shown(finite(int(start[row]), total), stage.lowest))
        exact, _ = cut_sum(terms, stage.fraction_bits)
        want = pattern(exact, total.exponent_bits, total.mantissa_bits, nearest=total is FP16)
        assert one_step(tree, element, a, b, start, row) == hex(want)


@pytest.mark.parametrize("scale", [E8M0, UE4M3], ids=lambda scale: scale.name)
def test_block_scaled_cores_follow_the_rule_as_written(scale):
    """Groups of 16 summed exactly, times both scales' significands, cut at 35 bits below the largest exponent."""
    rng, tree, count = np.random.default_rng(1), block_scaled_core(), 60
    a, b, start = operands(rng, E2M1, FP32, 64, count)
    a[1::7, :16] = 0
    low, high = (110, 145) if scale is E8M0 else (0, 0x7F)
    scales = [rng.integers(low, high, (count, 4)).astype(np.uint8) for _ in range(2)]
    got = evaluate_steps(tree, E2M1, a, E2M1, b, start, *scales, scale)
    for row in range(count):
        terms = [shown(finite(int(start[row]), FP32), LOWEST_EXPONENT)]
        for group in range(4):
            k = slice(16 * group, 16 * group + 16)
            products = [product(x, y, E2M1, 0)[0] for x, y in zip(a[row, k], b[row, k], strict=True)]
            factor, exponent = Fraction(1), 0
            for code in (int(codes[row, group]) for codes in scales):
                power = Fraction(2) ** (code - 127), code - 127
                value, own = power if scale is E8M0 else shown(finite(code, E4M3), 0)
                factor, exponent = factor * value, exponent + own
            joins = factor != 0 and any(products)
            terms.append((sum(products, start=Fraction(0)) * factor, exponent if joins else LOWEST_EXPONENT))
        assert hex(got[row]) == hex(pattern(cut_sum(terms, 35)[0], 8, 23, nearest=False))


@pytest.mark.parametrize("element", [FP16, BF16], ids=lambda element: element.name)
def test_cdna1_follows_the_rule_as_written(element):
    """Everything summed exactly, rounded once."""
    tree, count = cdna1(element), 200
    a, b, start = operands(np.random.default_rng(2), element, FP32, tree.products, count)
    for row in range(count):
        terms = [product(x, y, element, 0)[0] for x, y in zip(a[row], b[row], strict=True)]
        exact = sum(terms, start=finite(int(start[row]), FP32)[0])
        want = pattern(exact, 8, 23, nearest=True)
        if want == 0 and exact < 0:  # only rounded to zero
            want = 1 << 31
        assert one_step(tree, element, a, b, start, row) == hex(want)


def floored(value, last):
    return (value / Fraction(2) ** last).__floor__() * Fraction(2) ** last


@pytest.mark.parametrize("element", CDNA3_PRODUCTS, ids=lambda element: element.name)
def test_cdna3_follows_the_rule_as_written(element):
    """Products cut toward zero at 24 bits, FP8 by even and odd places; dot and accumulator downward at 32 and 24."""
    tree, count, narrow = cdna3(element), 100, element.bits == 8
    a, b, start = operands(np.random.default_rng(3), element, FP32, tree.products, count)
    if element is BF16 or element is TF32:  # no product near overflow, which is another rule
        a, b = (
            np.where(part >> element.mantissa_bits & 0xFF > 180, part & 0x807F, part).astype(np.uint32)
            for part in (a, b)
        )
    for row in range(count):
        terms = [product(x, y, element, -999) for x, y in zip(a[row], b[row], strict=True)]
        dot, largest = cut_sum(terms, 24)
        if narrow:
            (even, top_even), (odd, top_odd) = cut_sum(terms[::2], 24), cut_sum(terms[1::2], 24)
            largest = max(top_even, top_odd)
            dot = floored(even, largest - 24) + floored(odd, largest - 24)
        kept, exponent = shown(finite(int(start[row]), FP32), -126)
        top = max(largest, exponent)
        kept = floored(kept, top - 24) if not narrow or exponent >= top - 25 else Fraction(0)
        exact = floored(dot, top - 32) + kept
        if exact:
            exact = floored(exact, max(floor_log2(exact), -126) - 31)
        want = pattern(exact, 8, 23, nearest=True)
        if want == 0 and exact < 0:
            want = 1 << 31
        assert one_step(tree, element, a, b, start, row) == hex(want)


def test_cdna1_names_what_it_has():
    with pytest.raises(ValueError, match="got E4M3, legal on CDNA1: FP16, BF16, FP32"):
        cdna1(E4M3)
    assert cdna1(FP32) == sequential_fma()
