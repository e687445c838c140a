"""device_print and device_assert on the virtual GPU."""

import dataclasses
import functools
import struct

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from gpu_model import VirtualGPU, host_calls
from gpu_model.errors import ExecutionError
from gpu_model.launch import LOCAL_WINDOW, Launch
from gpu_model.sass import assemble


@triton.jit
def prints(x_ptr, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + index)
    tl.device_print("value", x)
    tl.store(x_ptr + index, x + 1)


@pytest.mark.parametrize("name", ["rtx_a6000", "h100_sxm", "rtx_5090"])
@pytest.mark.parametrize(
    ("dtype", "value", "printed"),
    [(torch.float32, 1.5, "1.500000"), (torch.int32, 7, "7"), (torch.int64, -123456789012, "-123456789012")],
)
def test_device_print_of_floats_and_integers(capsys, name, dtype, value, printed):
    x = torch.full((32,), value, dtype=dtype)
    before = x.clone()
    with VirtualGPU(name):
        prints[(2,)](x, BLOCK=32, num_warps=1)
    lines = capsys.readouterr().out.splitlines()
    first = [f"pid (0, 0, 0) idx ({index:2}) value: {printed}" for index in range(32)]
    assert lines[:32] == first
    assert len(lines) == 64
    assert all(line.startswith("pid (1, 0, 0)") for line in lines[32:])
    assert torch.equal(x, before + 2)


@triton.jit
def positive_only(x_ptr, out_ptr, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + index)
    tl.device_assert(x > 0, "x must be positive")
    tl.store(out_ptr + index, x)


@pytest.mark.parametrize("name", ["rtx_a6000", "h100_sxm", "rtx_5090"])
def test_device_assert(name):
    x, out = torch.ones(64), torch.zeros(64)
    with VirtualGPU(name):
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


def printed(template: bytes, *arguments: bytes) -> str:
    """What printf makes of a format string and a va_list."""
    program = dataclasses.replace(assemble("EXIT"), global_data=template + b"\0")
    launch = Launch(program, (1, 1, 1), 32, 0, b"", (), global_address=0x1000)
    registers = np.array([0, 0, 0, 0, 0x1000, 0, 0, LOCAL_WINDOW >> 32], np.uint32)
    return host_calls.printf(launch, registers, np.frombuffer(b"".join(arguments) + bytes(8), np.uint8))


def test_printf_as_c_has_it():
    word = functools.partial(struct.pack, "<i")
    assert printed(b"%5d|%-5d|%05d|%x", *map(word, (42, 42, -42, -1))) == "   42|42   |-0042|ffffffff"
    assert printed(b"%*d|%-*d|", *map(word, (4, 7, 4, 7))) == "   7|7   |"
    assert printed(b"%.*f|", word(-1), word(0), struct.pack("<d", 0.5)) == "0.500000|"  # as if there were none
    assert printed(b"%c%c%%", word(65), word(0x142)) == "AB%"


@pytest.mark.parametrize(
    ("template", "value"), [(b"%999999999d", 1), (b"%*d", 1 << 30), (b"%*d", -(1 << 31)), (b"%.*f", 1 << 30)]
)
def test_printf_does_not_pad_without_end(template, value):
    with pytest.raises(ExecutionError, match="at most 4096"):
        printed(template, struct.pack("<i", value), bytes(16))


def test_calls_of_a_kernel_with_few_registers_are_named():
    launch = Launch(assemble("EXIT"), (1, 1, 1), 32, 0, b"", ())
    with pytest.raises(ExecutionError, match="a kernel of 5 registers calls the host with an argument in R4"):
        host_calls.printf(launch, np.zeros(5, np.uint32), np.zeros(16, np.uint8))
