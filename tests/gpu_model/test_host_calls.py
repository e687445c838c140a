"""device_print and device_assert on the virtual GPU."""

import pytest
import torch
import triton
import triton.language as tl

from gpu_model import VirtualGPU
from gpu_model.errors import ExecutionError


@triton.jit
def prints(x_ptr, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + index)
    tl.device_print("value", x)
    tl.store(x_ptr + index, x + 1)


def test_device_print_of_floats_and_integers(capsys):
    for dtype, expected in ((torch.float32, "1.500000"), (torch.int32, "7"), (torch.int64, "-123456789012")):
        x = torch.full((32,), float(expected) if dtype.is_floating_point else int(expected), dtype=dtype)
        before = x.clone()
        with VirtualGPU("rtx_a6000"):
            prints[(2,)](x, BLOCK=32, num_warps=1)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 64
        assert expected in lines[0]
        assert "value" in lines[0]
        assert "(0, 0, 0)" in lines[0]
        assert "(1, 0, 0)" in lines[-1]
        assert torch.equal(x, before + 2)


@triton.jit
def positive_only(x_ptr, out_ptr, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + index)
    tl.device_assert(x > 0, "x must be positive")
    tl.store(out_ptr + index, x)


def test_device_assert():
    x, out = torch.ones(64), torch.zeros(64)
    with VirtualGPU("rtx_a6000"):
        positive_only[(1,)](x, out, BLOCK=64, debug=True)
        assert torch.equal(out, x)
        x[37] = -1
        with pytest.raises(ExecutionError) as caught:
            positive_only[(1,)](x, out, BLOCK=64, debug=True)
    message = str(caught.value)
    for part in ("x must be positive", "test_host_calls.py", "block (0, 0, 0)", "thread 37"):
        assert part in message, message


@triton.jit
def positive_without_message(x_ptr):
    tl.device_assert(tl.load(x_ptr) > 0)


def test_device_assert_without_a_message():
    # The empty message is a variable that starts as zero, for which a cubin holds no contents.
    x = torch.ones(1)
    with VirtualGPU("rtx_a6000"):
        positive_without_message[(1,)](x, debug=True)
        x[0] = -1
        with pytest.raises(ExecutionError, match=r"assertion failed:  \(.*test_host_calls.py"):
            positive_without_message[(1,)](x, debug=True)


@triton.jit
def sine(x_ptr, out_ptr, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    tl.store(out_ptr + index, tl.sin(tl.load(x_ptr + index)))


def test_a_kernel_reads_its_own_tables():
    """libdevice's double sine keeps its coefficients in global data of the cubin."""
    x = torch.linspace(-50, 50, 128, dtype=torch.float64)
    out = torch.zeros_like(x)
    with VirtualGPU("rtx_a6000"):
        sine[(1,)](x, out, BLOCK=128)
    torch.testing.assert_close(out, torch.sin(x), rtol=1e-15, atol=1e-15)
