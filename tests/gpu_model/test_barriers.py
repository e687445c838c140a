"""Barriers that complete, and the words for those that cannot."""

import numpy as np
import pytest

from gpu_model.errors import ExecutionError
from gpu_model.execute import Machine, execute
from tests.gpu_model.ptx.harness import assemble, launch

_HEAD = """
.version 8.7
.target sm_{arch}
.address_size 64
.visible .entry probe(.param .u64 source, .param .u64 result) {extra} .reqntid {threads}
{{
.reg .b64 src, dst, wide;
.reg .b32 tid, warp, gate, value, peer, here, base, x;
.reg .pred p, q, first;
.shared .align 8 .b64 gates[4];
.shared .align 16 .b32 words[512];
ld.param.u64 src, [source];
ld.param.u64 dst, [result];
mov.u32 tid, %tid.x;
shr.u32 warp, tid, 5;
mov.u32 gate, gates;
mov.u32 base, words;
mad.lo.u32 here, tid, 4, base;
setp.eq.u32 first, tid, 0;
"""
_FINISH = """
mul.wide.u32 wide, tid, 4; add.u64 dst, dst, wide; st.global.u32 [dst], value;
ret;
}
"""


def _run(body, *, threads=128, arch=90, blocks=1, extra="", target=None):
    image = assemble(_HEAD.format(arch=target or arch, threads=threads, extra=extra) + body + _FINISH, arch)
    source, result = np.zeros(16, np.uint64), np.zeros(threads // 2, np.uint64)
    execute(Machine(launch(image, source, result, threads, blocks)))
    return result.view(np.uint32)


_INITIALISED = """
@first mbarrier.init.shared.b64 [gate], {count};
bar.sync 0;
"""
_WAIT = """
{label}: mbarrier.{how}.parity.shared.b64 q, [{gate}], {phase};
@!q bra {label};
"""


@pytest.mark.parametrize("how", ["try_wait", "test_wait"])
@pytest.mark.parametrize(("blocks", "atomic"), [(1, ""), (3, ""), (3, "atom.global.add.u32 x, [dst], 0;")])
def test_a_barrier_that_never_completes_is_named(how, blocks, atomic):
    """In order, in parallel and in turns: three of 128 threads are missing, and 512 bytes."""
    body = atomic + _INITIALISED.format(count=128) + """
    setp.lt.u32 p, tid, 125;
    @p mbarrier.arrive.shared.b64 wide, [gate];
    @first mbarrier.expect_tx.relaxed.cta.shared.b64 [gate], 512;
    """ + _WAIT.format(label="again", how=how, gate="gate", phase=0)  # fmt: skip
    with pytest.raises(ExecutionError) as caught:
        _run(body, blocks=blocks)
    message = str(caught.value)
    assert message.startswith("deadlock in kernel probe: no warp that has not exited can go on: ")
    for warp in range(4):
        assert (
            f"block (0, 0, 0), warp {warp} waits for phase 0 of the mbarrier at 0x400, 3 of 128 arrivals and 512 bytes "
            "short, kernel probe, PC 0x"
        ) in message


def test_warps_that_wait_for_each_other_are_all_named():
    body = _INITIALISED.format(count=1) + """
    setp.eq.u32 p, warp, 0;
    @p bra waiter;
    setp.eq.u32 p, warp, 1;
    @p bar.sync 1, 96;
    bra done;
    waiter:
    """ + _WAIT.format(label="again", how="try_wait", gate="gate", phase=0) + "done: mov.u32 value, 0;"  # fmt: skip
    with pytest.raises(ExecutionError) as caught:
        _run(body)
    assert "warp 0 waits for phase 0 of the mbarrier at 0x400, 1 of 1 arrivals and 0 bytes short" in str(caught.value)
    assert "warp 1 waits at barrier 1, which 1 of 3 warps have reached, kernel probe, PC 0x" in str(caught.value)


def test_a_deadlock_of_a_cluster_names_its_blocks():
    body = """
    mov.u32 x, %cluster_ctarank; setp.eq.u32 p, x, 0;
    @p bra out;
    barrier.cluster.arrive; barrier.cluster.wait;
    """ + _INITIALISED.format(count=2) + "mbarrier.arrive.shared.b64 wide, [gate];" + _WAIT.format(
        label="again", how="try_wait", gate="gate", phase=0
    ) + "out: mov.u32 value, 1;"  # fmt: skip
    with pytest.raises(ExecutionError) as caught:
        _run(body, threads=32, blocks=4, extra=".explicitcluster .reqnctapercluster 2, 1, 1")
    message = str(caught.value)
    # 32 arrivals are 16 phases of two: phase 0 is under way again.
    assert "block (1, 0, 0), warp 0 waits for phase 0 of the mbarrier at 0x1000400, 2 of 2 arrivals" in message
    assert "block (0, 0, 0)" not in message


def test_polling_that_gives_up_is_no_deadlock():
    """A loop that counts its tests ends by itself, however many other warps wait for it."""
    body = _INITIALISED.format(count=1) + """
    mov.u32 value, 0;
    setp.ne.u32 p, warp, 0;
    @p bra waiter;
    count: add.u32 value, value, 1;
    mbarrier.try_wait.parity.shared.b64 q, [gate], 0;
    setp.lt.u32 p, value, 20000;
    @p bra count;
    @first mbarrier.arrive.shared.b64 wide, [gate];
    bra done;
    waiter:
    """ + _WAIT.format(label="again", how="try_wait", gate="gate", phase=0) + "done:"  # fmt: skip
    assert _run(body).tolist() == [20000] * 32 + [0] * 96


@pytest.mark.parametrize("arch", [90, 120])
def test_producers_and_consumers_take_turns(arch):
    """Warp 0 fills one of two buffers 40 times; warps 1 to 3 sum them: full and empty barriers, phases and parity."""
    body = """
    .reg .b32 turn, slot, phase, full, empty, at, sum;
    @first mbarrier.init.shared.b64 [gate], 32;
    @first mbarrier.init.shared.b64 [gate+8], 32;
    @first mbarrier.init.shared.b64 [gate+16], 96;
    @first mbarrier.init.shared.b64 [gate+24], 96;
    bar.sync 0;
    mov.u32 turn, 0; mov.u32 value, 0;
    and.b32 at, tid, 31; mad.lo.u32 here, at, 4, base;
    setp.ne.u32 p, warp, 0;
    loop:
    and.b32 slot, turn, 1; shr.u32 phase, turn, 1; and.b32 phase, phase, 1;
    mad.lo.u32 full, slot, 8, gate; add.u32 empty, full, 16;
    mad.lo.u32 at, slot, 128, here;
    @p bra consume;
    xor.b32 phase, phase, 1;
    """ + _WAIT.format(label="w0", how="try_wait", gate="empty", phase="phase") + """
    mad.lo.u32 x, turn, 100, tid; st.shared.u32 [at], x;
    mbarrier.arrive.shared.b64 wide, [full];
    bra next;
    consume:
    """ + _WAIT.format(label="w1", how="try_wait", gate="full", phase="phase") + """
    ld.shared.u32 x, [at]; add.u32 value, value, x;
    mbarrier.arrive.shared.b64 wide, [empty];
    next: add.u32 turn, turn, 1; setp.lt.u32 q, turn, 40;
    @q bra loop;
    """  # fmt: skip
    got = _run(body, arch=arch)
    want = 100 * sum(range(40)) + 40 * np.arange(32)
    assert np.array_equal(got, np.concatenate([np.zeros(32, int), want, want, want]))


@pytest.mark.parametrize("arch", [80, 86, 90, 120])
def test_named_barriers_order_producers_and_consumers(arch):
    """Warps 0 and 1 arrive without waiting, 2 and 3 wait for all four; then the other way round."""
    body = """
    setp.ge.u32 p, tid, 64;
    mov.u32 value, 0; mov.u32 x, 0;
    loop:
    @p bra consume;
    mad.lo.u32 value, x, 1000, tid; st.shared.u32 [here], value;
    bar.arrive 1, 128;
    bar.sync 2, 128;
    bra next;
    consume:
    bar.sync 1, 128;
    ld.shared.u32 peer, [here+-256]; add.u32 value, value, peer;
    bar.arrive 2, 128;
    next: add.u32 x, x, 1; setp.lt.u32 q, x, 7;
    @q bra loop;
    """
    got = _run(body, arch=arch)
    assert np.array_equal(got[64:], 1000 * sum(range(7)) + 7 * np.arange(64))


@pytest.mark.parametrize("arch", [80, 86, 90, 120])
@pytest.mark.parametrize(("number", "threads"), [("3", "64"), ("peer", "64"), ("3", "x"), ("peer", "x")])
def test_barriers_and_counts_in_registers(arch, number, threads):
    """Each pair of warps has its own barrier; a warp reads what its partner wrote before it."""
    if number == "3":
        select, use = "setp.lt.u32 p, tid, 64; mov.u32 peer, 3;", "@p"
    else:
        select, use = "setp.ge.u32 p, tid, 0; shr.u32 peer, tid, 6; add.u32 peer, peer, 4;", ""
    body = select + f"""
    mov.u32 x, 64; ld.global.u32 value, [src]; add.u32 x, x, value; add.u32 peer, peer, value;
    st.shared.u32 [here], tid;
    {use} barrier.sync {number}, {threads};
    xor.b32 value, tid, 32; mad.lo.u32 value, value, 4, base; ld.shared.u32 value, [value];
    """  # fmt: skip
    got = _run(body, arch=arch)
    count = 64 if number == "3" else 128
    assert np.array_equal(got[:count], np.arange(count) ^ 32)


@pytest.mark.parametrize("arch", [80, 86, 90, 120])
@pytest.mark.parametrize(
    ("form", "rule"),
    [("popc.u32 value, 0, {p}", lambda true, n: true), ("and.pred q, 0, {p}", lambda true, n: int(true == n)),
     ("or.pred q, 0, {p}", lambda true, n: int(true > 0))],
)  # fmt: skip
@pytest.mark.parametrize("limit", [0, 1, 77, 128])
def test_reducing_barriers(arch, form, rule, limit):
    after = "" if "value" in form else "selp.u32 value, 1, 0, q;"
    got = _run(f"setp.lt.u32 p, tid, {limit}; barrier.red.{form.format(p='p')}; {after}", arch=arch)
    assert got.tolist() == [rule(limit, 128)] * 128


def _register_trade(taken):
    """Two warpgroups of at most 128 registers a thread: the second gives back 88, the first asks for `taken`."""
    return f"""
    setp.ge.u32 p, tid, 128;
    @p bra giver;
    setmaxnreg.inc.sync.aligned.u32 {taken};
    st.shared.u32 [here], tid;
    bar.sync 0;
    bra done;
    giver:
    setmaxnreg.dec.sync.aligned.u32 40;
    bar.sync 0;
    done:
    and.b32 value, tid, 127; mad.lo.u32 value, value, 4, base; ld.shared.u32 value, [value];
    """


def test_registers_change_hands():
    got = _run(_register_trade(216), threads=256, target="90a", extra=".maxnreg 128")
    assert np.array_equal(got, np.arange(256) % 128)


def test_registers_that_nobody_gives_back_are_named():
    with pytest.raises(ExecutionError) as caught:
        _run(_register_trade(224), threads=256, target="90a", extra=".maxnreg 128")
    assert "waits for 224 registers a thread, it has 128 and the block's pool 64 more" in str(caught.value)
    assert "warp 4 waits at barrier 0, which 7 of 8 warps have reached" in str(
        caught.value
    )  # 352 is 3 times 96, and 64
