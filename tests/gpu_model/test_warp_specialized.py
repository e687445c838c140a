"""Warp-specialised, persistent and hand-pipelined kernels of Triton and Gluon, against torch on integer-valued data."""

import pytest
import torch
import triton
import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    async_store,
    cluster,
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from gpu_model import VirtualGPU
from gpu_model.errors import ExecutionError, UnsupportedInstruction


@pytest.fixture
def gpu(request):
    with VirtualGPU(getattr(request, "param", "h100_sxm")) as device:
        triton.set_allocator(lambda size, align, stream: torch.empty(size, dtype=torch.int8))
        yield device


def small(*shape):
    return torch.randint(-3, 4, shape).half()


def ran(gpu, *opcodes):
    """Whether the last kernel holds each of these instructions."""
    text = gpu.launches[-1].launch.program.text
    return all(any(opcode in line for line in text) for opcode in opcodes)


@triton.jit
def _persistent(a_ptr, b_ptr, c_ptr, M, N, K, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
                SPECIALIZE: tl.constexpr):  # fmt: skip
    a = tl.make_tensor_descriptor(a_ptr, [M, K], [K, 1], [ROWS, DEPTH])
    b = tl.make_tensor_descriptor(b_ptr, [N, K], [K, 1], [COLUMNS, DEPTH])
    c = tl.make_tensor_descriptor(c_ptr, [M, N], [N, 1], [ROWS, COLUMNS])
    across = tl.cdiv(N, COLUMNS)
    for tile in tl.range(tl.program_id(0), tl.cdiv(M, ROWS) * across, tl.num_programs(0), flatten=True,
                         warp_specialize=SPECIALIZE):  # fmt: skip
        row, column = tile // across * ROWS, tile % across * COLUMNS
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
        for start in tl.range(0, K, DEPTH):
            total = tl.dot(a.load([row, start]), b.load([column, start]).T, total)
        c.store([row, column], total.to(tl.float16))


@triton.jit
def _specialized(a_ptr, b_ptr, c_ptr, M, N, K, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr):
    a = tl.make_tensor_descriptor(a_ptr, [M, K], [K, 1], [ROWS, DEPTH])
    b = tl.make_tensor_descriptor(b_ptr, [N, K], [K, 1], [COLUMNS, DEPTH])
    c = tl.make_tensor_descriptor(c_ptr, [M, N], [N, 1], [ROWS, COLUMNS])
    row, column = tl.program_id(0) * ROWS, tl.program_id(1) * COLUMNS
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in tl.range(0, K, DEPTH, warp_specialize=True, num_stages=2):
        total = tl.dot(a.load([row, start]), b.load([column, start]).T, total)
    c.store([row, column], total.to(tl.float16))


@pytest.mark.parametrize("warps", [4, 8])
@pytest.mark.parametrize("gpu", ["h100_sxm", "rtx_5090"], indirect=True)
def test_a_specialized_loop(gpu, warps):
    a, b, c = small(200, 256), small(136, 256), torch.zeros(200, 136).half()
    _specialized[(2, 2)](a, b, c, 200, 136, 256, 128, 128, 64, num_warps=warps)
    assert gpu.launches[-1].threads > 32 * warps or not ran(gpu, "USETMAXREG")
    assert torch.equal(c, (a.float() @ b.float().T).half())


def test_a_specialized_loop_trades_registers(gpu):
    a, b, c = small(128, 128), small(128, 128), torch.zeros(128, 128).half()
    _specialized[(1, 1)](a, b, c, 128, 128, 128, 128, 128, 64, num_warps=4)
    assert gpu.launches[-1].threads == 384
    assert ran(gpu, "USETMAXREG.TRY_ALLOC", "USETMAXREG.DEALLOC", "UTMALDG.2D", "HGMMA")
    assert torch.equal(c, (a.float() @ b.float().T).half())


@pytest.mark.parametrize("specialize", [False, True])
def test_a_persistent_product(gpu, specialize):
    a, b, c = small(300, 192), small(200, 192), torch.zeros(300, 200).half()
    _persistent[(3,)](a, b, c, 300, 200, 192, 64, 64, 64, specialize)
    assert torch.equal(c, (a.float() @ b.float().T).half())


def _descriptor(tensor, block, dtype=gl.float16):
    return TensorDescriptor.from_tensor(tensor, block, gl.NVMMASharedLayout.get_default_for(block, dtype))


@gluon.jit
def _fetch(a, b, left, right, ready, empty, K, DEPTH: gl.constexpr, STAGES: gl.constexpr):
    row, column = gl.program_id(0) * a.block_shape[0], gl.program_id(1) * b.block_shape[1]
    for i in range(gl.cdiv(K, DEPTH)):
        stage, phase = i % STAGES, i // STAGES & 1
        mbarrier.wait(empty.index(stage), phase ^ 1)
        mbarrier.expect(ready.index(stage), a.nbytes_per_cta + b.nbytes_per_cta)
        tma.async_load(a, [row, i * DEPTH], ready.index(stage), left.index(stage))
        tma.async_load(b, [i * DEPTH, column], ready.index(stage), right.index(stage))


@gluon.jit
def _multiply(c, left, right, ready, empty, K, DEPTH: gl.constexpr, STAGES: gl.constexpr, WARPS: gl.constexpr,
              FORGET: gl.constexpr):  # fmt: skip
    ROWS: gl.constexpr = c.block_shape[0]
    COLUMNS: gl.constexpr = c.block_shape[1]
    layout: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[WARPS, 1], instr_shape=[16, COLUMNS, 16]
    )
    total = gl.zeros([ROWS, COLUMNS], gl.float32, layout)
    for i in range(gl.cdiv(K, DEPTH)):
        stage, phase = i % STAGES, i // STAGES & 1
        mbarrier.wait(ready.index(stage), phase)
        total = warpgroup_mma(left.index(stage), right.index(stage), total, is_async=True)
        total = warpgroup_mma_wait(0, deps=[total])
        if not FORGET:
            mbarrier.arrive(empty.index(stage), count=1)
    out = gl.allocate_shared_memory(c.dtype, c.block_shape, c.layout)
    out.store(total.to(c.dtype))
    fence_async_shared()
    tma.async_store(c, [gl.program_id(0) * ROWS, gl.program_id(1) * COLUMNS], out)
    tma.store_wait(0)


@gluon.jit
def _partitioned(a, b, c, K, STAGES: gl.constexpr, WARPS: gl.constexpr, FORGET: gl.constexpr):
    DEPTH: gl.constexpr = a.block_shape[1]
    left = gl.allocate_shared_memory(a.dtype, [STAGES] + a.block_shape, a.layout)
    right = gl.allocate_shared_memory(b.dtype, [STAGES] + b.block_shape, b.layout)
    ready = mbarrier.allocate_mbarrier(batch=STAGES)
    empty = mbarrier.allocate_mbarrier(batch=STAGES)
    for i in gl.static_range(STAGES):
        mbarrier.init(ready.index(i), count=1)
        mbarrier.init(empty.index(i), count=1)
    gl.warp_specialize(
        [
            (_multiply, (c, left, right, ready, empty, K, DEPTH, STAGES, WARPS, FORGET)),
            (_fetch, (a, b, left, right, ready, empty, K, DEPTH, STAGES)),
        ],
        [1],
        [24],
    )


@pytest.mark.parametrize(("warps", "stages"), [(4, 1), (4, 2), (8, 3)])
def test_gluon_partitions(gpu, warps, stages):
    a, b, c = small(200, 320), small(320, 136), torch.zeros(200, 136).half()
    tensors = _descriptor(a, [128, 64]), _descriptor(b, [64, 128]), _descriptor(c, [128, 128])
    _partitioned[(2, 2)](*tensors, 320, stages, warps, False, num_warps=warps)
    assert torch.equal(c, (a.float() @ b.float()).half())


def test_a_second_stage_saves_cycles():
    """One stage copies and multiplies in turn; runs repeat to the cycle."""
    a, b, c = small(128, 640), small(640, 128), torch.zeros(128, 128).half()
    tensors = _descriptor(a, [128, 64]), _descriptor(b, [64, 128]), _descriptor(c, [128, 128])
    cycles = []
    with VirtualGPU("h100_sxm", timing=True) as gpu:
        for stages in (1, 2, 2):
            _partitioned[(1, 1)](*tensors, 640, stages, 4, False, num_warps=4)
            cycles.append(gpu.launches[-1].timing.cycles)
    assert cycles[1] == cycles[2] < 0.8 * cycles[0]
    assert torch.equal(c, (a.float() @ b.float()).half())


def test_a_cluster_has_no_timing():
    x, out = torch.zeros(512, dtype=torch.int32), torch.zeros(512, dtype=torch.int32)
    layout = gl.BlockedLayout([1], [32], [4], [0], cga_layout=[[1]])
    shared = gl.SwizzledSharedLayout(1, 1, 1, [0], cga_layout=[[1]])
    with (
        VirtualGPU("h100_sxm", timing=True),
        pytest.raises(UnsupportedInstruction, match="_trade_halves runs in clusters of 2 blocks, which have no timing"),
    ):
        _trade_halves[(1,)](x, out, 512, layout, shared, num_warps=4, num_ctas=2)


def test_a_forgotten_arrival_is_named(gpu):
    a, b, c = small(128, 256), small(256, 128), torch.zeros(128, 128).half()
    tensors = _descriptor(a, [128, 64]), _descriptor(b, [64, 128]), _descriptor(c, [128, 128])
    with pytest.raises(ExecutionError) as caught:
        _partitioned[(1, 1)](*tensors, 256, 2, 4, True, num_warps=4)
    message = str(caught.value)
    assert "deadlock in kernel _partitioned" in message
    assert "1 of 1 arrivals and 0 bytes short" in message


@gluon.jit
def _trade_halves(x_ptr, out_ptr, SIZE: gl.constexpr, layout: gl.constexpr, shared: gl.constexpr):
    at = gl.arange(0, SIZE, layout)
    there = gl.allocate_shared_memory(gl.int32, [SIZE], shared)
    ready = mbarrier.allocate_mbarrier()
    mbarrier.init(ready, count=1)
    cluster.barrier()
    mbarrier.expect(ready, SIZE * 4 // 2)
    async_store(there, gl.load(x_ptr + at), ready)
    mbarrier.wait(ready, 0)
    gl.store(out_ptr + at, there.load(layout))
    cluster.barrier()


def test_gluon_stores_across_a_cluster(gpu):
    x, out = torch.randint(-1000, 1000, (512,), dtype=torch.int32), torch.zeros(512, dtype=torch.int32)
    layout = gl.BlockedLayout([1], [32], [4], [0], cga_layout=[[1]])
    shared = gl.SwizzledSharedLayout(1, 1, 1, [0], cga_layout=[[1]])
    _trade_halves[(1,)](x, out, 512, layout, shared, num_warps=4, num_ctas=2)
    assert ran(gpu, "STAS")
    assert torch.equal(out, x)


@gluon.jit
def _add_boxes(source, target, BOX: gl.constexpr):
    tile = gl.allocate_shared_memory(source.dtype, [BOX, BOX], source.layout)
    ready = mbarrier.allocate_mbarrier()
    mbarrier.init(ready, count=1)
    mbarrier.expect(ready, source.nbytes_per_cta)
    tma.async_load(source, [gl.program_id(0) * BOX, 0], ready, tile)
    mbarrier.wait(ready, 0)
    tma.async_atomic_add(target, [0, 0], tile)
    tma.store_wait(0)


def test_gluon_adds_boxes(gpu):
    x, total = torch.randint(-50, 50, (160, 32)).float(), torch.ones(32, 32)
    _add_boxes[(5,)](_descriptor(x, [32, 32], gl.float32), _descriptor(total, [32, 32], gl.float32), 32)
    assert torch.equal(total, 1 + x.reshape(5, 32, 32).sum(0))
