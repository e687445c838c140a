"""NVIDIA tensor cores against MMA-Sim 2.1.1 (arXiv 2511.10909), the public model that was checked on silicon."""

import ml_dtypes
import numpy as np
import pytest
import torch
from mmasim.arithmetic import fdpa

from hw.block_scaled import mma_block_scaled, scale_table
from hw.evaluate import evaluate_codes
from hw.presets import NVIDIA_E8M13, NVIDIA_F16, NVIDIA_F32, TENSOR_CORES, block_scaled_core, tensor_core
from hw.reference import reference
from mx_formats.element import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, FP16, TF32
from mx_formats.scale import E8M0, UE4M3

TORCH = {
    FP16: (np.uint16, torch.float16),
    BF16: (np.uint16, torch.bfloat16),
    E4M3: (np.uint8, torch.float8_e4m3fn),
    E5M2: (np.uint8, torch.float8_e5m2),
}
# Exponents MMA-Sim gives to a zero term, (FP32 sums, FP16 sums): its tables in mmasim/nv_ptx/sim.py.
ZERO_EXPONENTS = {
    "volta": (-131, -19),
    "turing": (-132, -20),
    "ampere": (-132, -20),
    "ada": (-132, -20),
    "hopper": (-133, -21),
    "blackwell": (-133, -21),
}
ROUNDING = {NVIDIA_F32: "RZ-FP32", NVIDIA_E8M13: "RZ-E8M13", NVIDIA_F16: "RNE-FP16"}
KINDS = ("patterns", "subnormal", "low", "narrow", "cancel", "high")


def draw(rng, element, shape, kind):
    """Codes whose exponents make alignment, cancellation, underflow or overflow likely."""
    width, m = element.exponent_bits, element.mantissa_bits
    top = (1 << width) - 1
    low, high = {
        "patterns": (0, top + 1),
        "subnormal": (0, 3),
        "low": (0, max(top // 2, 2)),
        "narrow": (element.bias - 1, element.bias + 2),
        "cancel": (element.bias, element.bias + 1),
        "high": (top - 3, top),
    }[kind]
    field = rng.integers(max(low, 0), high, shape)
    mantissa = rng.integers(0, 1 << m, shape)
    mantissa = np.where(rng.random(shape) < 0.3, 0, mantissa)
    codes = rng.integers(0, 2, shape) << (element.bits - 1) | field << m | mantissa
    return np.where(rng.random(shape) < 0.2, codes & ~((1 << (element.bits - 1)) - 1), codes).astype(np.uint32)


def draw_sums(rng, accumulator, shape, kind):
    width, m = accumulator.exponent_bits, accumulator.mantissa_bits
    top = (1 << width) - 1
    low, high = {"subnormal": (0, 2), "low": (0, 30), "high": (top - 5, top)}.get(kind, (0, top + 1))
    pattern = rng.integers(0, 2, shape) << (width + m) | rng.integers(low, high, shape) << m
    pattern |= rng.integers(0, 1 << m, shape)
    return np.where(rng.random(shape) < 0.4, 0, pattern).astype(np.uint32)


def to_torch(codes, element):
    if element is TF32:
        return torch.from_numpy((codes << np.uint32(13)).view(np.float32))
    if element in TORCH:
        dtype, view = TORCH[element]
        return torch.from_numpy(codes.astype(dtype)).view(view)
    return torch.from_numpy((codes << np.uint32(6 - element.bits)).astype(np.uint8))  # MMA-Sim's placing of FP6, FP4


def sums_to_torch(patterns, accumulator):
    if accumulator is NVIDIA_F16:
        return torch.from_numpy(patterns.astype(np.uint16)).view(torch.float16)
    return torch.from_numpy(patterns << np.uint32(32 - accumulator.bits)).view(torch.float32)


def sums_from_torch(values, accumulator):
    if accumulator is NVIDIA_F16:
        return values.view(torch.uint16).numpy().astype(np.uint32)
    return values.view(torch.uint32).numpy() >> np.uint32(32 - accumulator.bits)


def all_cores():
    for generation, element in TENSOR_CORES:
        for accumulator in (NVIDIA_F32, NVIDIA_E8M13, NVIDIA_F16):
            try:
                tensor_core(generation, element, accumulator)
            except ValueError:
                continue
            yield pytest.param(generation, element, accumulator, id=f"{generation} {element.name} {accumulator.bits}")


@pytest.mark.parametrize(("generation", "element", "accumulator"), list(all_cores()))
def test_every_tensor_core_equals_mma_sim(generation, element, accumulator):
    """Two fused steps in a row; NaN patterns and the sign of zero included."""
    core, tree = TENSOR_CORES[generation, element], tensor_core(generation, element, accumulator)
    lowest = ZERO_EXPONENTS[generation][accumulator is NVIDIA_F16]
    name = element.name.lower()
    theirs = fdpa.MMA_T_FDPA(core.fraction_bits, ROUNDING[accumulator], core.products, lowest, name, name)
    for kind in KINDS:
        rng = np.random.default_rng(KINDS.index(kind))
        a, b = (draw(rng, element, (rows, 2 * core.products), kind) for rows in (32, 24))
        if kind == "cancel":
            a[:, 1::2] = a[:, ::2] ^ (1 << (element.bits - 1))
            b[:, 1::2] = b[:, ::2]
        start = draw_sums(rng, accumulator, (32, 24), kind)
        want = theirs(to_torch(a, element), to_torch(b, element).T, sums_to_torch(start, accumulator))
        got = evaluate_codes(tree, element, a, element, b, start)
        np.testing.assert_array_equal(got, sums_from_torch(want, accumulator), err_msg=kind)


@pytest.mark.parametrize(("a", "b"), [(E4M3, E2M1), (E3M2, E5M2), (E2M3, E2M1)], ids=lambda x: x.name)
def test_mixed_scaled_products_equal_mma_sim(a, b):
    """mxf8f6f4: one E8M0 scale a line, all codes, NaN among them."""
    rng = np.random.default_rng(7)
    tree = tensor_core("blackwell", a)
    theirs = fdpa.MMA_ST_FDPA(25, "RZ-FP32", 32, -133, a.name.lower(), b.name.lower())
    for _ in range(20):
        left, right = draw(rng, a, (4, 32), "patterns"), draw(rng, b, (4, 32), "patterns")
        start = draw_sums(rng, NVIDIA_F32, (4, 4), "patterns")
        scale_a, scale_b = (rng.choice([0, 1, 60, 64, 120, 127, 135, 254, 255], 4).astype(np.uint8) for _ in range(2))
        want = theirs(
            to_torch(left, a), to_torch(right, b).T, sums_to_torch(start, NVIDIA_F32),
            torch.from_numpy(scale_a[:, None]).view(torch.float8_e8m0fnu),
            torch.from_numpy(scale_b[None, :]).view(torch.float8_e8m0fnu),
        ).view(torch.uint32)  # fmt: skip
        for m in range(4):
            for n in range(4):
                scales = int(scale_a[m]), int(scale_b[n])
                got = reference(tree, a, left[m].tolist(), b, right[n].tolist(), int(start[m, n]), *scales)
                assert got == int(want[m, n])


@pytest.mark.parametrize("scale", [E8M0, UE4M3], ids=lambda scale: scale.name)
def test_block_scaled_groups_equal_mma_sim(scale):
    """mxf4 and nvf4, among them groups that cancel, groups of zeros and scales of zero."""
    rng = np.random.default_rng(8)
    theirs = fdpa.MMA_GST_FDPA(16, 35, "RZ-FP32", 64, -139)
    dtype = torch.float8_e8m0fnu if scale is E8M0 else torch.float8_e4m3fn
    doubled = (np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32) * 2).astype(np.int32)
    significands, exponents = scale_table(scale is UE4M3)
    tree = block_scaled_core()
    for trial in range(40):
        a, b = rng.integers(0, 16, (16, 64)), rng.integers(0, 16, (8, 64))
        if trial % 2:
            a[:, 1::2], b[:, 1::2] = a[:, ::2] ^ 8, b[:, ::2]  # every group of 16 cancels
            a[:, 16:32] *= rng.integers(0, 2, (16, 1))
            a[::2, 40] = 5
        codes = [0, 1, 5, 60, 0x78, 0x7F, 0x80, 250, 255] if scale is UE4M3 else [0, 40, 64, 120, 127, 140, 254, 255]
        scale_a, scale_b = (rng.choice(codes, (rows, 4)).astype(np.uint8) for rows in (16, 8))
        start = draw_sums(rng, NVIDIA_F32, (16, 8), KINDS[trial % 6])
        packed = [torch.from_numpy((part[:, ::2] << 4 | part[:, 1::2]).astype(np.uint8)) for part in (a, b)]
        want = theirs(
            packed[0], packed[1].T, sums_to_torch(start, NVIDIA_F32),
            torch.from_numpy(scale_a).view(dtype), torch.from_numpy(scale_b).view(dtype).T,
        ).view(torch.uint32).numpy()  # fmt: skip
        got = np.ascontiguousarray(start.T)
        mma_block_scaled(
            doubled[a.T], doubled[b.T], significands[scale_a.T], exponents[scale_a.T],
            significands[scale_b.T], exponents[scale_b.T], got,
        )  # fmt: skip
        np.testing.assert_array_equal(got.T, want)
        by_definition = reference(
            tree, E2M1, a[1].tolist(), E2M1, b[0].tolist(), int(start[1, 0]),
            scale_a[1].tolist(), scale_b[0].tolist(), scale,
        )  # fmt: skip
        assert by_definition == want[1, 0]
