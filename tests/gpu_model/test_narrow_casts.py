"""Casts to floats of 8 and 4 bits, several to a register: each conversion moves the ones before it up."""

import ml_dtypes
import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from gpu_model import VirtualGPU

TARGETS = {"e4m3": (tl.float8e4nv, ml_dtypes.float8_e4m3fn, 448), "e5m2": (tl.float8e5, ml_dtypes.float8_e5m2, 57344)}


@triton.jit
def to_float8(x_ptr, out_ptr, target: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out_ptr + i, tl.load(x_ptr + i).to(target).to(tl.uint8, bitcast=True))


@pytest.mark.parametrize("gpu", ["rtx_4090", "h100_sxm", "rtx_5090"])
@pytest.mark.parametrize("source", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("target", TARGETS)
def test_contiguous_float8(gpu, source, target):
    triton_type, numpy_type, most = TARGETS[target]
    x = torch.randn(2048, generator=torch.Generator().manual_seed(1)) * torch.logspace(-8, 6, 2048, base=2)
    x = x.clamp(-most, most).to(source)
    out = torch.zeros(2048, dtype=torch.uint8)
    with VirtualGPU(gpu):
        to_float8[(1,)](x, out, triton_type, 2048)
    assert out.tolist() == x.float().numpy().astype(numpy_type).view(np.uint8).tolist()


@triton.jit
def to_float4(x_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    eight = tl.inline_asm_elementwise(
        """{ .reg .b8 a, b, c, d;
        cvt.rn.satfinite.e2m1x2.f32 a, $2, $1; cvt.rn.satfinite.e2m1x2.f32 b, $4, $3;
        cvt.rn.satfinite.e2m1x2.f32 c, $6, $5; cvt.rn.satfinite.e2m1x2.f32 d, $8, $7;
        mov.b32 $0, {a, b, c, d}; }""",
        "=r,f,f,f,f,f,f,f,f",
        [
            tl.load(x_ptr + 8 * i), tl.load(x_ptr + 8 * i + 1), tl.load(x_ptr + 8 * i + 2), tl.load(x_ptr + 8 * i + 3),
            tl.load(x_ptr + 8 * i + 4), tl.load(x_ptr + 8 * i + 5), tl.load(x_ptr + 8 * i + 6),
            tl.load(x_ptr + 8 * i + 7),
        ],
        dtype=tl.int32, is_pure=True, pack=1,
    )  # fmt: skip
    tl.store(out_ptr + i, eight)


def test_eight_float4_in_a_register():
    x = torch.linspace(-7, 7, 1024)
    out = torch.zeros(128, dtype=torch.int32)
    with VirtualGPU("rtx_5090"):
        to_float4[(1,)](x, out, 128)
    codes = x.clamp(-6, 6).numpy().astype(ml_dtypes.float4_e2m1fn).view(np.uint8).astype(np.uint32) & 15
    want = (codes.reshape(128, 8) << np.arange(0, 32, 4, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
    assert out.numpy().view(np.uint32).tolist() == want.tolist()
