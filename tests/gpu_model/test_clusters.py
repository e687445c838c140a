"""Clusters: kernels with `num_ctas` against torch, and the cluster's own registers, barrier and shared memory."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from gpu_model import VirtualGPU
from gpu_model.errors import LaunchError, MemoryFault
from gpu_model.execute import Machine, execute
from tests.gpu_model.ptx.harness import assemble, launch


@pytest.fixture(params=["h100_sxm", "rtx_5090"])
def gpu(request):
    with VirtualGPU(request.param) as device:
        triton.set_allocator(lambda size, align, stream: torch.empty(size, dtype=torch.int8))
        yield device


@triton.jit
def _product(a_ptr, b_ptr, c_ptr, K, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in tl.range(0, K, DEPTH):
        a = tl.load(a_ptr + rows[:, None] * K + (start + depth)[None, :])
        b = tl.load(b_ptr + columns[:, None] * K + (start + depth)[None, :])
        total = tl.dot(a, b.T, total)
    tl.store(c_ptr + rows[:, None] * (COLUMNS * tl.num_programs(1)) + columns[None, :], total)


@triton.jit
def _product_of_boxes(a_ptr, b_ptr, c_ptr, K, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr):
    height, width = ROWS * tl.num_programs(0), COLUMNS * tl.num_programs(1)
    a = tl.make_tensor_descriptor(a_ptr, [height, K], [K, 1], [ROWS, DEPTH])
    b = tl.make_tensor_descriptor(b_ptr, [width, K], [K, 1], [COLUMNS, DEPTH])
    c = tl.make_tensor_descriptor(c_ptr, [height, width], [width, 1], [ROWS, COLUMNS])
    row, column = tl.program_id(0) * ROWS, tl.program_id(1) * COLUMNS
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in tl.range(0, K, DEPTH, num_stages=3):
        total = tl.dot(a.load([row, start]), b.load([column, start]).T, total)
    c.store([row, column], total)


@pytest.mark.parametrize("blocks", [2, 4])
@pytest.mark.parametrize("kernel", [_product, _product_of_boxes], ids=["pointers", "boxes"])
def test_products(gpu, kernel, blocks):
    a, b = (torch.randint(-3, 4, (256, 64)).half() for _ in range(2))
    c = torch.zeros(256, 256)
    kernel[(2, 4)](a, b, c, 64, 128, 64, 32, num_ctas=blocks)
    assert gpu.launches[-1].grid == (2 * blocks, 4, 1)
    assert torch.equal(c, a.float() @ b.float().T)


@triton.jit
def _sum_and_transpose(x_ptr, total_ptr, turned_ptr, counter_ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    rows, columns = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    x = tl.load(x_ptr + rows[:, None] * COLUMNS + columns[None, :])
    x -= tl.max(x, 1)[:, None]
    tl.store(total_ptr + columns, tl.sum(x, 0))
    tl.store(turned_ptr + columns[:, None] * ROWS + rows[None, :], x.T)
    tl.atomic_add(counter_ptr + rows, tl.sum(x, 1))


@pytest.mark.parametrize("blocks", [2, 4])
def test_reductions_cross_blocks_through_shared_memory(gpu, blocks):
    x = torch.randint(-100, 100, (64, 128)).float()
    total, turned, counter = torch.empty(128), torch.empty(128, 64), torch.zeros(64)
    _sum_and_transpose[(3,)](x, total, turned, counter, 64, 128, num_ctas=blocks)
    text = " ".join(gpu.launches[-1].launch.program.text)
    assert "UCGABAR_WAIT" in text
    assert "LD.E" in text
    low = x - x.max(1).values[:, None]
    assert torch.equal(total, low.sum(0))
    assert torch.equal(turned, low.T)
    assert torch.equal(counter, 3 * low.sum(1))


_HEAD = """
.version 8.7
.target sm_{arch}
.address_size 64
.visible .entry probe(.param .u64 source, .param .u64 result) .explicitcluster .reqntid 64 .reqnctapercluster {shape}
{{
.reg .b64 src, dst, wide, far;
.reg .b32 tid, x, y, z, block, here, there, value, peer, count, phase;
.reg .pred p, q;
.shared .align 16 .b32 words[64];
.shared .align 8 .b64 gate;
ld.param.u64 src, [source];
ld.param.u64 dst, [result];
mov.u32 tid, %tid.x;
mov.u32 x, %ctaid.x; mov.u32 y, %ctaid.y; mov.u32 z, %ctaid.z;
mov.u32 block, %nctaid.y; mad.lo.u32 z, z, block, y;
mov.u32 block, %nctaid.x; mad.lo.u32 block, z, block, x;
mov.u32 here, words;
"""


def _run(body, grid, shape, *, arch=90, slots=64):
    """Run 64 threads a block; each block may write `slots` 32-bit words at dst + 4 slots block."""
    image = assemble(_HEAD.format(arch=arch, shape=", ".join(map(str, shape))) + body + "\nret;\n}\n", arch)
    blocks = int(np.prod(grid))
    source, result = np.arange(1 << 12, dtype=np.uint64), np.zeros(blocks * slots // 2, np.uint64)
    whole = launch(image, source, result, 64, 1)
    object.__setattr__(whole, "grid", grid)
    execute(Machine(whole))
    return result.view(np.uint32).reshape(blocks, slots)


_STORE = """
mad.lo.u32 x, block, 256, 0; cvt.u64.u32 wide, x; add.u64 dst, dst, wide;
"""


@pytest.mark.parametrize("arch", [90, 120])
@pytest.mark.parametrize(("grid", "shape"), [((6, 1, 1), (2, 1, 1)), ((4, 6, 2), (2, 3, 1)), ((2, 4, 4), (1, 2, 4))])
def test_cluster_registers(arch, grid, shape):
    """%cluster_ctarank and its kin, as the PTX ISA defines them."""
    names = ["cluster_ctarank", "cluster_nctarank", *(f"cluster_nctaid.{a}" for a in "xyz"),
             *(f"nclusterid.{a}" for a in "xyz")]  # fmt: skip
    if arch == 90:
        names += [f"{name}.{axis}" for name in ("cluster_ctaid", "clusterid") for axis in "xyz"]
    body = _STORE + "\n".join(f"mov.u32 value, %{name}; st.global.u32 [dst+{4 * i}], value;"
                              for i, name in enumerate(names))  # fmt: skip
    got = _run(body, grid, shape, arch=arch)
    for block in range(int(np.prod(grid))):
        at = block % grid[0], block // grid[0] % grid[1], block // (grid[0] * grid[1])
        inner = [a % s for a, s in zip(at, shape, strict=True)]
        rank = inner[0] + shape[0] * (inner[1] + shape[1] * inner[2])
        want = [rank, int(np.prod(shape)), *shape, *(g // s for g, s in zip(grid, shape, strict=True)), *inner,
                *(a // s for a, s in zip(at, shape, strict=True))]  # fmt: skip
        assert got[block, : len(names)].tolist() == want[: len(names)]


_EXCHANGE = (
    _STORE
    + """
shl.b32 x, tid, 2; add.u32 here, here, x;
mad.lo.u32 value, block, 1000, tid;
mov.u32 peer, %cluster_ctarank; xor.b32 peer, peer, 1;
mapa.shared::cluster.u32 there, here, peer;
"""
)


@pytest.mark.parametrize("arch", [90, 120])
@pytest.mark.parametrize(
    ("write", "read"),
    [
        ("st.shared.u32 [here], value;", "ld.shared::cluster.u32 value, [there];"),
        ("st.shared::cluster.u32 [there], value;", "ld.shared.u32 value, [here];"),
        (
            "st.shared.u32 [here], tid;\nbarrier.cluster.arrive; barrier.cluster.wait;\n"
            "sub.u32 value, value, tid; atom.shared::cluster.add.u32 value, [there], value;",
            "ld.shared.u32 value, [here];",
        ),
    ],
    ids=["remote-load", "remote-store", "remote-atomic"],
)
def test_distributed_shared_memory(arch, write, read):
    barrier = "barrier.cluster.arrive; barrier.cluster.wait;\n"
    finish = "mul.wide.u32 wide, tid, 4; add.u64 dst, dst, wide; st.global.u32 [dst], value;\n"
    got = _run(_EXCHANGE + write + barrier + read + barrier + finish, (8, 1, 1), (2, 1, 1), arch=arch)
    want = np.arange(8)[:, None] // 2 * 2 + 1 - np.arange(8)[:, None] % 2
    assert np.array_equal(got, want * 1000 + np.arange(64))


def test_generic_addresses_reach_shared_memory_of_the_cluster():
    body = (
        _EXCHANGE
        + """
    st.shared.u32 [here], value;
    barrier.cluster.arrive; barrier.cluster.wait;
    cvta.shared::cluster.u64 far, wide; cvt.u64.u32 wide, here; cvta.shared.u64 far, wide;
    mapa.u64 far, far, peer; ld.u32 value, [far]; getctarank.u64 x, far; mad.lo.u32 value, x, 100000, value;
    barrier.cluster.arrive; barrier.cluster.wait;
    mul.wide.u32 wide, tid, 4; add.u64 dst, dst, wide; st.u32 [dst], value;
    """
    )
    got = _run(body, (4, 1, 1), (2, 1, 1))
    peer = np.array([1, 0, 3, 2])[:, None]
    assert np.array_equal(got, peer % 2 * 100000 + peer * 1000 + np.arange(64))


_GATE = """
mov.u32 x, gate; setp.eq.u32 p, tid, 0;
@p mbarrier.init.shared.b64 [x], {count};
fence.mbarrier_init.release.cluster;
barrier.cluster.arrive; barrier.cluster.wait;
mapa.shared::cluster.u32 y, x, peer;
"""
_WAIT = """
again: mbarrier.try_wait.parity.acquire.cluster.shared.b64 q, [x], 0;
@!q bra again;
ld.shared.u32 value, [here];
"""
_FINISH = """
barrier.cluster.arrive; barrier.cluster.wait;
mul.wide.u32 wide, tid, 4; add.u64 dst, dst, wide; st.global.u32 [dst], value;
"""


@pytest.mark.parametrize("arch", [90, 120])
def test_remote_arrivals(arch):
    body = _EXCHANGE + _GATE.format(count=64) + """
    st.shared::cluster.u32 [there], value;
    mbarrier.arrive.release.cluster.shared::cluster.b64 _, [y];
    """ + _WAIT + _FINISH  # fmt: skip
    got = _run(body, (4, 1, 1), (2, 1, 1), arch=arch)
    assert np.array_equal(got, np.array([1, 0, 3, 2])[:, None] * 1000 + np.arange(64))


@pytest.mark.parametrize("arch", [90, 120])
@pytest.mark.parametrize("words", [1, 2, 4])
def test_stores_that_complete_on_a_remote_barrier(arch, words):
    form = {1: "u32", 2: "v2.u32", 4: "v4.u32"}[words]
    data = "value" if words == 1 else "{" + ", ".join(["value", "tid", "block", "peer"][:words]) + "}"
    body = _EXCHANGE + _GATE.format(count=1) + f"""
    @p mbarrier.arrive.expect_tx.shared.b64 wide, [x], 256;
    and.b32 count, tid, {words - 1}; setp.eq.u32 q, count, 0;
    @q st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.{form} [there], {data}, [y];
    """ + _WAIT + _FINISH  # fmt: skip
    got = _run(body, (4, 1, 1), (2, 1, 1), arch=arch)
    for block, sender in enumerate([1, 0, 3, 2]):
        for thread in range(0, 64, words):
            sent = [sender * 1000 + thread, thread, sender, block % 2]
            assert got[block, thread : thread + words].tolist() == sent[:words]


@pytest.mark.parametrize(
    ("form", "rule"),
    [("add.u32", lambda a, b: a + b), ("min.s32", min), ("max.u32", max), ("xor.b32", lambda a, b: a ^ b),
     ("inc.u32", lambda a, b: 0 if a >= b else a + 1), ("dec.u32", lambda a, b: b if a == 0 or a > b else a - 1)],
)  # fmt: skip
def test_remote_reductions_complete_on_a_barrier(form, rule):
    body = _EXCHANGE + _GATE.format(count=1) + f"""
    @p mbarrier.arrive.expect_tx.shared.b64 wide, [x], 256;
    mul.lo.u32 count, tid, 7; and.b32 count, count, 31; st.shared.u32 [here], count;
    barrier.cluster.arrive; barrier.cluster.wait;
    red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.{form} [there], tid, [y];
    """ + _WAIT + _FINISH  # fmt: skip
    got = _run(body, (2, 1, 1), (2, 1, 1))
    assert np.array_equal(got, [[rule(7 * thread & 31, thread) for thread in range(64)]] * 2)


def test_multicast_copies_reach_every_block_of_the_mask():
    """Block 0 of each cluster of four copies 256 bytes to blocks 1 and 3, at the same offset."""
    body = _EXCHANGE + _GATE.format(count=1) + """
    .reg .b16 mask; mov.b16 mask, 10;
    st.shared.u32 [here], 5;
    mov.u32 count, %cluster_ctarank;
    and.b32 z, count, 1; setp.eq.u32 q, z, 1;
    @p mbarrier.arrive.expect_tx.shared.b64 wide, [x], 256;
    barrier.cluster.arrive; barrier.cluster.wait;
    fence.proxy.async;
    or.b32 z, count, tid; setp.eq.u32 p, z, 0;
    mov.u32 here, words;
    @p cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster
        [here], [src], 256, [x], mask;
    mad.lo.u32 here, tid, 4, here;
    @!q bra done;
    """ + _WAIT + "done: ld.shared.u32 value, [here];" + _FINISH  # fmt: skip
    got = _run(body, (8, 1, 1), (4, 1, 1))
    copied = np.arange(32, dtype=np.uint64).view(np.uint32)
    for block in range(8):
        assert got[block].tolist() == (copied.tolist() if block % 2 else [5] * 64)


def test_a_remote_access_outside_the_cluster_is_named():
    with pytest.raises(MemoryFault, match=r"out-of-bounds generic access of 4 bytes at 0x300000002000"):
        _run(_EXCHANGE + "mapa.shared::cluster.u32 there, here, 2; ld.shared::cluster.u32 value, [there];" + _FINISH,
             (2, 1, 1), (2, 1, 1))  # fmt: skip


def test_a_grid_that_clusters_do_not_fill_is_refused():
    with pytest.raises(LaunchError, match="grid x is 3, expected a multiple of the cluster's 2 blocks"):
        _run("", (3, 1, 1), (2, 1, 1))
