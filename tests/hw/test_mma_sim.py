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
from mx_formats.element import E2M1, E2M3, E3M2, E4M3, E5M2
from mx_formats.scale import E8M0, UE4M3
from tests.hw.mma_sim import KINDS, draw, draw_sums, sums_from_torch, sums_to_torch, to_torch

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
