"""Kernels that follow addresses stored in tensors."""

import pytest
import torch
import triton
import triton.language as tl
from triton.compiler import ASTSource

from gpu_model import VirtualGPU
from gpu_model.errors import HostTensorError, MemoryFault


@triton.jit
def sum_through(pointers_ptr, out_ptr, depth: tl.constexpr, N: tl.constexpr):
    address = tl.load(pointers_ptr + tl.program_id(0))
    for _ in tl.static_range(depth - 1):
        address = tl.load(address.to(tl.pointer_type(tl.int64)))
    values = tl.load(address.to(tl.pointer_type(tl.float32)) + tl.arange(0, N))
    tl.store(out_ptr + tl.program_id(0), tl.sum(values))


def _addresses(tensors, device="cpu"):
    return torch.tensor([tensor.data_ptr() for tensor in tensors], device=device)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_chains_of_addresses(depth):
    ends = [torch.arange(16.0) + i for i in range(3)]
    links = [ends]
    for _ in range(depth - 1):
        links.append([_addresses([tensor]) for tensor in links[-1]])
    out = torch.zeros(3)
    with VirtualGPU("rtx_a6000"):
        sum_through[(3,)](_addresses(links[-1]), out, depth, 16)
    assert out.tolist() == [120.0, 136.0, 152.0]


def test_an_address_inside_a_view():
    base, out = torch.arange(64.0), torch.zeros(1)
    with VirtualGPU("rtx_a6000"):
        sum_through[(1,)](_addresses([base[20:40]]), out, 1, 16)
    assert out.item() == sum(range(20, 36))


@triton.jit
def double_at(address: tl.int64, out_ptr, N: tl.constexpr):
    values = tl.load(address.to(tl.pointer_type(tl.float32)) + tl.arange(0, N))
    tl.store(out_ptr + tl.arange(0, N), 2 * values)


def test_addresses_as_arguments():
    """A 64-bit integer that the kernel casts, and pointers of a kernel compiled ahead of time."""
    x, out = torch.arange(16.0), torch.zeros(16)
    with VirtualGPU("rtx_a6000"):
        double_at[(1,)](x.data_ptr(), out, 16)
        assert torch.equal(out, 2 * x)
        source = ASTSource(double_at, {"address": "*i8", "out_ptr": "*fp32", "N": "constexpr"}, {(2,): 16})
        triton.compile(source)[(1, 1, 1)](x.data_ptr(), out.zero_().data_ptr(), 16)
    assert torch.equal(out, 2 * x)


@triton.jit
def store_at(out_ptr, value):
    tl.store(out_ptr, value)


@pytest.mark.parametrize("value", [-(2**63), -1, 2**47, 2**63 - 1, 2**63, 2**64 - 1])
def test_integers_that_no_address_can_be_are_numbers(value):
    out = torch.zeros(1, dtype=torch.uint64 if value >= 2**63 else torch.int64)
    with VirtualGPU("rtx_a6000"):
        store_at[(1,)](out, value)
    assert out.item() == value


def test_an_address_past_the_end_is_named_after_the_argument():
    x, out = torch.ones(3), torch.zeros(16)
    with VirtualGPU("rtx_a6000"), pytest.raises(MemoryFault, match=r"what address points to \(float32\[3\]\)"):
        double_at[(1,)](x.data_ptr(), out, 16)


def test_past_the_end_is_named_after_the_element():
    tensors, out = [torch.ones(16), torch.ones(3)], torch.zeros(2)
    with (
        VirtualGPU("rtx_a6000"),
        pytest.raises(MemoryFault, match=r"what pointers_ptr\[1\] points to \(float32\[3\]\)"),
    ):
        sum_through[(2,)](_addresses(tensors), out, 1, 16)


def test_memory_that_no_tensor_owns_is_not_reachable():
    gone = _addresses([torch.ones(1 << 20)])
    with VirtualGPU("rtx_a6000"), pytest.raises(MemoryFault, match="out-of-bounds global"):
        sum_through[(1,)](gone, torch.zeros(1), 1, 16)


def test_a_gpu_reaches_no_tensor_on_the_cpu():
    with VirtualGPU("rtx_a6000", cuda=True, host_tensors=False):
        near, far, out = torch.ones(16, device="cuda"), torch.ones(16), torch.zeros(1, device="cuda")
        sum_through[(1,)](_addresses([near], "cuda"), out, 1, 16)
        assert out.item() == 16
        with pytest.raises(HostTensorError, match=r"pointers_ptr\[0\]"):
            sum_through[(1,)](_addresses([far], "cuda"), out, 1, 16)
