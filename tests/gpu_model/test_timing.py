"""Whole launches: rates that arithmetic predicts, conservation, and results that do not depend on bookkeeping."""

import numpy as np
import pytest

from gpu_model.core import pool
from gpu_model.core.lower import lower
from gpu_model.core.pool import TraceError
from gpu_model.core.stalls import StallReason
from gpu_model.errors import ExecutionError, LaunchError, UnsupportedInstruction
from gpu_model.sass import assemble
from gpu_model.timing import time_launch
from gpu_model.trace import BlockTrace
from hw.gpu_spec import load_gpu

WARM = {"core.icache.perfect": True, "core.constant.perfect": True}


def block(program, index: int, warps: int, repeats: int = 1, spacing: int = 1 << 16) -> BlockTrace:
    """Each warp runs the rows before EXIT `repeats` times; memory rows touch consecutive 4-byte words."""
    body = np.arange(len(program) - 1)
    path = np.append(np.tile(body, repeats), len(body))
    rows = np.tile(path, warps)
    touches = np.isin(lower(program, load_gpu("rtx_a6000"))["space"][rows], (1, 2))
    number = np.cumsum(touches) - touches
    address = index * spacing + np.arange(touches.sum())[:, None] * 128 + 4 * np.arange(32)
    access = np.where(touches, number, -1).astype(np.int32)
    start = np.arange(warps + 1) * len(path)
    return BlockTrace(index, start, rows.astype(np.uint32), np.full(len(rows), 2**32 - 1, np.uint32), access, address)


def timed(listing: str, *, blocks: int = 1, warps: int = 8, repeats: int = 1, overrides=None, shared: int = 0, **more):
    program = assemble(listing + "\nEXIT")
    spec = load_gpu("rtx_a6000", WARM | {"sm_count": 2} | (overrides or {}))
    traces = (block(program, index, warps, repeats) for index in range(blocks))
    shape = {"grid": (blocks, 1, 1), "block_threads": 32 * warps, "shared_bytes": shared}
    return time_launch(program, traces, spec, **shape, **more)


def test_ffma_reaches_its_peak_and_no_more():
    # Two 16-lane pipes per sub-core: one FFMA a cycle, four per SM; the reuse cache makes the ports suffice.
    listing = "\n".join(f"FFMA R{20 + i}, R8.reuse, R11.reuse, R{20 + i}" for i in range(64))
    timing = timed(listing, blocks=2, warps=16, repeats=20)
    assert 3.8 < timing.ipc <= 4


def test_hmma_reaches_its_peak_and_no_more():
    # 4096 operations at 256 a cycle: one HMMA.16816 in 16 cycles on each of four sub-cores.
    listing = "\n".join(f"[B------:R-:W-:-:S08] HMMA.16816.F32 R{20 + 4 * i}, R8, R12, R{20 + 4 * i}" for i in range(8))
    timing = timed(listing, blocks=2, warps=8, repeats=20)
    count = timing.issued[:-1].sum() / 2  # per SM; the last one's 16 cycles end after its warp
    assert 0.97 * 4 / 16 < count / (timing.cycles + 15) <= 4 / 16


def test_dram_bandwidth_is_reached_and_not_exceeded():
    listing = "\n".join(f"[B------:R-:W0:-:S01] LDG.E R{20 + i}, [R2.64]" for i in range(8))
    timing = timed(listing + "\n[B0-----:R-:W-:-:S01] NOP", blocks=1200, warps=8, overrides={"sm_count": 84})
    assert timing.traffic_bytes["dram_read"] == 1200 * 8 * 8 * 128
    rate = timing.traffic_bytes["dram_read"] / timing.cycles
    assert 0.75 * 416 < rate <= 416


def test_a_second_reader_of_a_line_hits_in_l1():
    timing = timed("[B------:R-:W0:-:S02] LDG.E R8, [R2.64]\n[B0-----:R-:W-:-:S01] NOP", warps=1, repeats=1)
    again = timed("[B------:R-:W0:-:S02] LDG.E R8, [R2.64]\n[B0-----:R-:W-:-:S01] NOP", warps=1, repeats=1, blocks=1)
    assert timing.traffic_bytes == again.traffic_bytes
    assert timing.traffic_bytes["l1_read"] == timing.traffic_bytes["dram_read"] == 128


def test_a_miss_to_dram_costs_l2_and_dram_latency():
    # Issue at 2; a hit would free the waiter 32 cycles later, L2 adds 218 and DRAM 300. EXIT follows one cycle later.
    timing = timed("[B------:R-:W0:-:S02] LDG.E R8, [R2.64]\n[B0-----:R-:W-:-:S01] NOP", warps=1)
    assert timing.cycles == 2 + 32 + 218 + 300 + 1 + 1


@pytest.mark.parametrize("warps", [1, 2, 3, 4])
def test_barriers_are_spaced_as_measured(warps):
    # 16, 18, 20, 22 cycles between two barriers for 1 to 4 warps (RTX 5090 measurement, FlashGPU-Sim).
    timing = timed("BAR.SYNC 0x0\nBAR.SYNC 0x0", warps=warps, events=100)
    cycles = timing.events["cycle"]
    first, second = (cycles[timing.events["row"] == row].max() for row in (0, 1))
    assert second - first == 14 + 2 * warps


MIXED = """[B------:R-:W0:-:S02] LDG.E R8, [R2.64]
[B------:R-:W1:-:S02] LDS R9, [R4]
[B-1----:R-:W-:-:S04] FADD R10, R9, R9
BAR.SYNC 0x0
[B------:R-:W2:-:S02] MUFU.EX2 R12, R10
[B0-2---:R-:W-:-:S04] FADD R11, R8, R12
[B------:R0:W-:-:S02] STG.E [R2.64], R11
[B0-----:R-:W-:-:S05] NOP"""


def test_every_warp_cycle_is_issued_or_has_one_reason():
    timing = timed(MIXED, blocks=20, repeats=3)
    lifetimes = (timing.warps["end_cycle"] - timing.warps["start_cycle"]).sum()
    assert timing.issued.sum() + timing.stalled.sum() == lifetimes
    assert timing.issued.sum() == timing.warp_instructions == timing.warps["issued"].sum() == 20 * 8 * (3 * 8 + 1)
    assert (timing.stalled >= 0).all()
    frame = timing.stalls_frame()
    assert frame["share"].sum() == pytest.approx(1)
    assert frame["reason"].tolist() == ["ISSUED", *(reason.name for reason in StallReason)]


def test_the_result_does_not_depend_on_how_traces_are_buffered(monkeypatch):
    whole = timed(MIXED, blocks=60, repeats=2, events=4000)
    monkeypatch.setattr(pool, "POOL_ENTRIES", 1)
    piecewise = timed(MIXED, blocks=60, repeats=2, events=4000)
    assert piecewise.cycles == whole.cycles
    assert (piecewise.stalled == whole.stalled).all()
    assert piecewise.traffic_bytes == whole.traffic_bytes
    fields = ["block", "warp", "sm", "slot", "start_cycle", "end_cycle"]
    assert (np.sort(piecewise.warps[fields]) == np.sort(whole.warps[fields])).all()


def test_regions_make_the_result_independent_of_host_addresses():
    program = assemble(MIXED + "\nEXIT")
    spec = load_gpu("rtx_a6000", {"sm_count": 1})
    shape = {"grid": (4, 1, 1), "block_threads": 256, "shared_bytes": 0}
    found = []
    for base in (1 << 30, (1 << 33) + 4096 * 37):
        traces = [block(program, index, 8) for index in range(4)]
        for trace in traces:
            glob = np.isin(program.rows["opcode"][trace.row], ("LDG", "STG"))
            trace.address[trace.access[glob]] += base
        found.append(time_launch(program, traces, spec, regions=[(base, 1 << 20)], **shape))
    assert found[0].cycles == found[1].cycles
    assert (found[0].stalled == found[1].stalled).all()
    with pytest.raises(TraceError, match="outside every region of the launch"):
        time_launch(program, [block(program, 0, 8)], spec, regions=[(1 << 40, 64)], **shape)


def test_lines_frame_sums_rows_of_a_line():
    program = assemble(MIXED + "\nEXIT")
    program.rows["line"] = [7, 7, 7, 7, 8, 8, 8, 8, 9]
    traces = [block(program, 0, 8)]
    spec = load_gpu("rtx_a6000", {"sm_count": 1})
    timing = time_launch(program, traces, spec, grid=(1, 1, 1), block_threads=256, shared_bytes=0)
    frame = timing.lines_frame(program)
    assert set(frame["line"]) == {7, 8, 9}
    assert frame["warp_cycles"].sum() == timing.issued.sum() + timing.stalled.sum()
    assert frame["warp_cycles"].is_monotonic_decreasing


def test_blocks_fill_sms_breadth_first():
    timing = timed("NOP", blocks=4, warps=1)
    assert timing.warps["sm"].tolist() == [0, 1, 0, 1]


def test_a_deadlock_names_the_instruction():
    program = assemble("BAR.SYNC 0x0\nBAR.SYNC 0x1\nNOP\nEXIT")
    rows = np.array([0, 2, 3, 1, 2, 3], np.uint32)  # two warps at two barriers
    none = np.full(6, -1, np.int32)
    trace = BlockTrace(0, np.array([0, 3, 6]), rows, np.full(6, 1, np.uint32), none, np.zeros((0, 32), np.int64))
    with pytest.raises(ExecutionError, match=r"PC 0x0020: 2 warps wait for ever; the first for BARRIER"):
        time_launch(program, [trace], load_gpu("rtx_a6000"), grid=(1, 1, 1), block_threads=64, shared_bytes=0)


def test_an_unknown_opcode_is_named_with_its_place():
    with pytest.raises(UnsupportedInstruction, match="PC 0x0010.*no timing for opcode FROB"):
        timed("NOP\nFROB R1, R2")


def test_code_of_another_architecture_is_refused():
    program = assemble("EXIT", arch=90)
    with pytest.raises(UnsupportedInstruction, match="is sm_90 code, rtx_a6000 is sm_86"):
        time_launch(program, [], load_gpu("rtx_a6000"), grid=(1, 1, 1), block_threads=32, shared_bytes=0)


def test_a_block_too_big_for_an_sm_is_refused():
    with pytest.raises(LaunchError, match="bytes of shared memory per block"):
        timed("NOP", shared=1 << 20)


def test_a_trace_of_another_shape_is_refused():
    program = assemble("NOP\nEXIT")
    with pytest.raises(TraceError, match="block 0 has 2 warps, the launch has 4 per block"):
        time_launch(
            program, [block(program, 0, 2)], load_gpu("rtx_a6000"), grid=(1, 1, 1), block_threads=128, shared_bytes=0
        )


def test_an_l2_full_of_unwritten_lines_is_written_back_first():
    listing = "\n".join(f"[B------:R-:W0:-:S01] LDG.E R{20 + i}, [R2.64]" for i in range(8))
    listing += "\n[B0-----:R-:W-:-:S01] NOP"
    clean, half, full = (timed(listing, blocks=8, dirty_l2=share) for share in (0.0, 0.5, 1.0))
    lines = clean.traffic_bytes["dram_read"]
    written = [timing.traffic_bytes["dram_write"] for timing in (clean, half, full)]
    assert (written[0], written[2]) == (0, lines)
    assert written[1] == pytest.approx(lines / 2, rel=0.2)
    assert clean.cycles <= half.cycles <= full.cycles
    with pytest.raises(ValueError, match=r"dirty_l2 is 1\.5, legal 0 to 1"):
        timed(listing, dirty_l2=1.5)


def test_turning_a_channel_around_costs_what_the_spec_says():
    # Reads that evict unwritten lines alternate with writes; one channel serves them all.
    listing = "\n".join(f"[B------:R-:W0:-:S01] LDG.E R{20 + i}, [R2.64]" for i in range(8))
    listing += "\n[B0-----:R-:W-:-:S01] NOP"
    one = {"memory.dram_channels": 1, "memory.l2_slices": 1, "memory.dram_bytes_per_cycle": 16.0}
    free, costly = (
        timed(listing, blocks=8, dirty_l2=1.0, overrides=one | {"memory.dram_turnaround_cycles": cost})
        for cost in (0.0, 4.0)
    )
    turns = 2 * free.traffic_bytes["dram_read"] // 128
    assert costly.cycles - free.cycles == pytest.approx(4 * turns, rel=0.02)


def test_threads_do_not_change_the_result():
    found = [timed(MIXED, blocks=60, repeats=2, events=4000, overrides={"sm_count": 12}, threads=n) for n in (1, 2, 3)]
    for other in found[1:]:
        assert other.cycles == found[0].cycles
        assert other.traffic_bytes == found[0].traffic_bytes
        for name in ("stalled", "issued", "warps", "events"):
            assert (getattr(other, name) == getattr(found[0], name)).all()
    with pytest.raises(ValueError, match="threads is 0, legal from 1 on"):
        timed("NOP", threads=0)


def copies(stride: int) -> BlockTrace:
    """A warp that copies 16 words a lane from global memory to shared ones `stride` bytes apart."""
    start, rows = np.array([0, 18]), np.array([*range(18)], np.uint32)
    access = np.array([*range(0, 32, 2), -1, -1], np.int32)
    lanes = np.arange(32)
    words = [((i * 128 + 4 * lanes), (i * 4 + stride * lanes)) for i in range(16)]
    address = np.array([row for pair in words for row in pair])
    return BlockTrace(0, start, rows, np.full(18, 2**32 - 1, np.uint32), access, address)


def test_bank_conflicts_of_asynchronous_copies_are_charged():
    # Lanes 128 bytes apart fill one bank: 31 wavefronts more a copy, at the acceptance point all copies pass.
    listing = "\n".join(["[B------:R-:W-:-:S01] LDGSTS.E [R4], [R2.64]"] * 16 + ["LDGDEPBAR"])
    program, spec = assemble(listing + "\nEXIT"), load_gpu("rtx_a6000", WARM | {"memory.perfect_l1": True})
    shape = {"grid": (1, 1, 1), "block_threads": 32, "shared_bytes": 8192}
    program.rows["write_counter"][16], program.rows["wait_mask"][17], program.rows["stall"][16] = 0, 1, 2
    spread, crowded = (time_launch(program, [copies(stride)], spec, **shape) for stride in (4, 128))
    assert crowded.counts["conflicts"].sum() == 16 * 31
    assert spread.counts["conflicts"].sum() == 0
    assert 15 * 31 - 16 * 4 <= crowded.cycles - spread.cycles <= 16 * 31


@pytest.mark.parametrize(("scope", "cycles"), [("GPU", 186), ("CTA", 53)])
def test_a_memory_barrier_of_a_block_is_cheaper(scope, cycles):
    # 186 and 53 cycles: the simulator released with Huerta et al., MICRO 2025.
    with_barrier, without = (timed(f"{code}\nNOP", warps=1) for code in (f"MEMBAR.SC.{scope}", "NOP"))
    assert with_barrier.cycles - without.cycles == cycles - 1
