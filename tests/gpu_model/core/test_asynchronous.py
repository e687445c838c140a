"""Warpgroup products, mbarriers, bulk copies and counted barriers, on hand-made code and traces of an H100's SM.

Sources of the latencies: measurements of the H200 and H800 that `hw/gpus/h100_sxm.toml` cites.
"""

import numpy as np
import pytest

from gpu_model.core.boxes import box_lines, most_lines
from gpu_model.core.lower import lower
from gpu_model.core.polls import row_kinds, without_retries
from gpu_model.core.pool import TraceError, place_regions
from gpu_model.core.state import TRANSACTION
from gpu_model.errors import ExecutionError, UnsupportedInstruction
from gpu_model.sass import assemble
from gpu_model.timing import Timing, issue_cycles, time_launch
from gpu_model.trace import OPERAND_SHIFT, BlockTrace, CopyWord
from hw.gpu_spec import load_gpu

WARM = {"core.icache.perfect": True, "core.constant.perfect": True, "sm_count": 1}
BARRIER, DATA = 0x800, 1 << 30  # of the kernels' one mbarrier, and where their copies read
FULL = 0xFFFFFFFF


def one_lane(value: int) -> np.ndarray:
    words = np.full(32, -1, np.int64)
    words[0] = value
    return words


def initialised(barrier: int = BARRIER) -> np.ndarray:
    """What SYNCS.EXCH leaves: address and word; the expected and the pending count, here one, are negated."""
    words, negated = one_lane(barrier), -1 & 0xFFFFF
    words[1] = negated << 1 | negated << 43
    return words


def arrival(operand: int, barrier: int = BARRIER) -> np.ndarray:
    return one_lane(barrier | operand << OPERAND_SHIFT)


def asked(phase: int, *, found: bool = True, barrier: int = BARRIER) -> np.ndarray:
    return np.full(32, barrier | (phase | 2 * found) << OPERAND_SHIFT, np.int64)


def copied(size: int, *, offset: int = 0, barrier: int = BARRIER) -> np.ndarray:
    """A copy of contiguous bytes, as UBLKCP leaves it."""
    words = np.full(32, -1, np.int64)
    words[[CopyWord.SHARED, CopyWord.BARRIER, CopyWord.BYTES]] = 0, barrier, size
    words[[CopyWord.BASE, CopyWord.ROWS]] = DATA + offset, 0
    words[CopyWord.START : CopyWord.START + 5] = 0
    for first, inner in ((CopyWord.BOX, size), (CopyWord.SIZE, size), (CopyWord.STRIDE, 1), (CopyWord.STEP, 1)):
        words[first : first + 5] = 1
        words[first] = inner
    return words


def trace(*warps: list) -> BlockTrace:
    """A block whose warps ran rows, each a number or (number, what it left in the trace)."""
    rows, access, address = [], [], []
    for path in warps:
        for step in path:
            row, words = step if isinstance(step, tuple) else (step, None)
            rows.append(row)
            access.append(-1 if words is None else len(address))
            if words is not None:
                address.append(words)
    start = np.cumsum([0, *map(len, warps)])
    mask = np.full(len(rows), FULL, np.uint32)
    kept = np.array(address, np.int64).reshape(-1, 32)
    return BlockTrace(0, start, np.array(rows, np.uint32), mask, np.array(access, np.int32), kept)


def timed(listing: str, *warps: list, gpu: str = "h100_sxm", **overrides) -> Timing:
    spec = load_gpu(gpu, WARM | overrides)
    program = assemble(listing, arch=spec.arch)
    shape = {"grid": (1, 1, 1), "block_threads": 32 * len(warps), "shared_bytes": 4096}
    return time_launch(program, [trace(*warps)], spec, events=1000, **shape)


def issues(timing: Timing, row: int) -> list[int]:
    """Cycles at which a row issued."""
    return timing.events["cycle"][timing.events["row"] == row].tolist()


# One warp announces bytes, copies them and waits for them.
COPY = """
[B------:R-:W0:-:S02] SYNCS.EXCH.64 URZ, [UR4], UR6
[B0-----:R1:W-:-:S01] SYNCS.ARRIVE.TRANS64 RZ, [UR4], R2
[B------:R2:W-:-:S01] UBLKCP.S.G [UR8], [UR10], UR12
[B------:R-:W3:-:S02] SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R3
[B---3--:R-:W-:-:S01] NOP
EXIT
"""


def waited(size: int, **overrides) -> int:
    """Cycles from a copy's issue to what waits for its bytes."""
    path = [(0, initialised()), (1, arrival(size)), (2, copied(size)), (3, asked(0)), 4, 5]
    timing = timed(COPY, path, **overrides)
    return issues(timing, 4)[0] - issues(timing, 2)[0]


def test_a_copy_cannot_be_waited_for_before_its_bytes_arrive():
    spec = load_gpu("h100_sxm")
    miss = spec.memory.l2_cycles + spec.memory.dram_cycles
    assert spec.core.copies is not None
    assert waited(128) >= spec.core.copies.start + miss
    # HPMLL on an H800: a chain of dependent copies takes 104 cycles longer than one of loads; that is 32 at an L1 hit.
    assert waited(128) == pytest.approx(32 + miss + 104, abs=3)


def test_longer_copies_take_the_engines_rate_longer():
    """64 bytes a cycle, as long as DRAM is faster: 1,643 bytes a cycle for the whole chip."""
    assert waited(16384) - waited(4096) == pytest.approx(12288 / 64, rel=0.1)
    assert waited(4096, **{"core.copies.bytes_per_cycle": 32}) > waited(4096) + 4096 / 64 * 0.9


def test_an_arrival_and_a_wait_for_it_take_71_cycles():
    """H200: 71 cycles; a wait that finds its phase complete takes 43."""
    path = [(0, initialised()), (1, arrival(0)), (3, asked(0)), 4, 5]
    timing = timed(COPY, path)
    assert issues(timing, 4)[0] - issues(timing, 1)[0] == 71
    later = timed(COPY, [(0, initialised()), (1, arrival(0)), *[4] * 80, (3, asked(0)), 4, 5])
    assert issues(later, 4)[-1] - issues(later, 3)[0] == 43


def test_bytes_that_never_come_deadlock():
    with pytest.raises(ExecutionError, match="1 warps wait for ever; the first for MBARRIER"):
        timed(COPY, [(0, initialised()), (1, arrival(4096)), (2, copied(2048)), (3, asked(0)), 4, 5])


def test_an_mbarrier_must_be_initialised():
    with pytest.raises(ExecutionError, match="each mbarrier must be initialised"):
        timed(COPY, [(1, arrival(0)), (3, asked(0)), 4, 5])


def touched(words: np.ndarray) -> list[int]:
    """Sectors of a box, element by element."""
    sizes, box, start = (words[first : first + 5] for first in (CopyWord.SIZE, CopyWord.BOX, CopyWord.START))
    strides = words[CopyWord.STRIDE : CopyWord.STRIDE + 5]
    sectors = set()
    for offset in np.ndindex(*box):
        at = start + offset
        if words[CopyWord.ROWS]:
            at[1] = start[1 + offset[1]]
            at[2:] = 0
        if ((at >= 0) & (at < sizes)).all():
            first = int(words[CopyWord.BASE] + (at * strides).sum())
            sectors.update(range(first // 32, (first + int(strides[0]) - 1) // 32 + 1))
    return sorted(sectors)


def test_a_box_touches_the_sectors_of_its_elements():
    """Boxes of one to three dimensions that may stick out of the tensor, and four rows gathered."""
    random = np.random.default_rng(0)
    for number in range(40):
        words = copied(0)
        rank, gather = random.integers(1, 4), number % 4 == 3
        rank = 2 if gather else rank
        element = int(random.choice([1, 2, 4, 8]))
        sizes, box = random.integers(1, 50, rank), random.integers(1, 12, rank)
        words[CopyWord.STRIDE], words[CopyWord.ROWS] = element, gather
        for i in range(rank):
            words[CopyWord.SIZE + i], words[CopyWord.BOX + i] = sizes[i], box[i]
            words[CopyWord.START + i] = random.integers(-5, sizes[i])
            stride = element if i == 0 else words[CopyWord.STRIDE + i - 1] * words[CopyWord.SIZE + i - 1]
            words[CopyWord.STRIDE + i] = stride if i == 0 else -(-stride // 16) * 16
        if gather:
            words[CopyWord.BOX + 1] = 4
            words[CopyWord.START + 1 : CopyWord.START + 5] = random.integers(-2, sizes[1] + 2, 4)
        lines = np.zeros(most_lines(words), TRANSACTION)
        count, outside = box_lines(words, place_regions(()), lines)
        found = [int(4 * line + i) for line, mask in lines[:count].tolist() for i in range(4) if mask >> i & 1]
        assert outside == -1
        assert sorted(set(found)) == touched(words)


def test_a_box_outside_every_region_is_named():
    spec = load_gpu("h100_sxm", WARM)
    path = [(0, initialised()), (1, arrival(256)), (2, copied(256)), (3, asked(0)), 4, 5]
    shape = {"grid": (1, 1, 1), "block_threads": 32, "shared_bytes": 4096, "regions": [(DATA + 4096, 4096)]}
    with pytest.raises(TraceError, match="reaches address 0x40000000, outside every region"):
        time_launch(assemble(COPY, arch=90), [trace(path)], spec, **shape)


SPIN = """
[B------:R-:W0:-:S02] SYNCS.EXCH.64 URZ, [UR4], UR6
[B0-----:R1:W-:-:S01] SYNCS.ARRIVE.TRANS64 RZ, [UR4], R2
[B------:R-:W3:-:S02] SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R3
[B---3--:R-:W-:-:S05] @!P0 BRA `(again)
done:
NOP
EXIT
again:
[B------:R-:W3:-:S02] SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R3
[B---3--:R-:W-:-:S05] @!P0 BRA `(again)
BRA `(done)
"""


def test_retries_of_a_wait_are_one_wait():
    """However often the machine came back to a warp that waits, its cycles are the same."""
    first, early, late = [(0, initialised()), (1, arrival(0))], (2, asked(0, found=False)), [(6, asked(0)), 7, 8]
    program = assemble(SPIN, arch=90)
    paths = [[*first, (2, asked(0)), 3, 4, 5]]
    paths += [[*first, early, 3, *[(6, asked(0, found=False)), 7] * count, *late, 4, 5] for count in (0, 1, 9)]
    assert len({timed(SPIN, path).cycles for path in paths}) == 1
    spec = load_gpu("h100_sxm")

    kinds = row_kinds(program, lower(program, spec))
    for path in paths:
        assert without_retries(trace(path), kinds).row.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_test_that_gave_up_does_not_wait():
    """The warp went on without the phase; its arrival comes after the test."""
    path = [(0, initialised()), (2, asked(0, found=False)), 3, 4, (1, arrival(0)), 5]
    assert timed(SPIN, path).cycles < 120


def test_lanes_must_test_one_mbarrier():
    words = asked(0)
    words[5] += 8
    with pytest.raises(TraceError, match="lanes of a warp test different mbarriers"):
        timed(SPIN, [(0, initialised()), (2, words), 3, 4, 5])


STORE = """
[B------:R0:W-:-:S01] UBLKCP.G.S [UR8], [UR10], UR12
[B------:R0:W-:-:S02] UTMACMDFLUSH
[B------:R-:W-:Y:S04] DEPBAR.LE SB0, 0x0
NOP
EXIT
"""


def test_a_store_group_ends_when_shared_memory_is_read():
    program = STORE.replace("R0:W-:-:S01] UBLKCP", "R1:W-:-:S01] UBLKCP")
    short, long = (timed(program, [(0, copied(size, barrier=-1)), 1, 2, 3, 4]) for size in (1024, 8192))
    assert issues(long, 3)[0] - issues(short, 3)[0] == (8192 - 1024) // 64
    assert (long.traffic_bytes["l2_write"], long.traffic_bytes["shared_read"]) == (8192, 8192)


PRODUCT = "[B------:R-:W-:-:S03] HGMMA.64x{n}x16.F32 R24, gdesc[UR4], R24{group}"
WAIT = "[B------:R-:W-:-:S02] WARPGROUP.DEPBAR.LE gsb0, {left}"


def products(count: int, n: int, *, left: str = "0x0") -> str:
    body = [PRODUCT.format(n=n, group=", gsb0" if i == count - 1 else "") for i in range(count)]
    return "\n".join(["WARPGROUP.ARRIVE", *body, WAIT.format(left=left), "NOP", "EXIT"])


@pytest.mark.parametrize(("n", "cycles"), [(64, 97.80), (128, 129.79)])
def test_a_product_between_fence_and_wait(n, cycles):
    """H200, measured: fence, issue, one product and its wait."""
    record = issue_cycles(assemble(products(1, n), arch=90), load_gpu("h100_sxm", WARM), warps=4)
    for own in record.cycle:
        assert own[3] - own[0] == pytest.approx(cycles, abs=1)


def test_eight_products_of_a_group_follow_each_other():
    """H200, measured: 72.23 cycles for each of eight m64n128k16 on one accumulator, fence and wait included."""
    record = issue_cycles(assemble(products(8, 128), arch=90), load_gpu("h100_sxm", WARM), warps=4)
    assert (record.cycle[0][10] - record.cycle[0][0]) / 8 == pytest.approx(72.23, abs=0.3)


def test_a_scoreboard_waits_for_groups_too():
    spec = load_gpu("h100_sxm", WARM | {"core.dependence.mechanism": "scoreboard"})
    record = issue_cycles(assemble(products(8, 128), arch=90), spec, warps=4)
    assert 8 * 64 < record.cycle[0][10] - record.cycle[0][0] < 8 * 80


def test_a_wait_leaves_as_many_groups_as_it_says():
    one = PRODUCT.format(n=256, group=", gsb0")
    listing = "\n".join([one, one, one, WAIT.format(left="0x{}"), "NOP", "EXIT"])
    ends = [
        issue_cycles(assemble(listing.format(left), arch=90), load_gpu("h100_sxm", WARM), warps=4).cycle[0][4]
        for left in (3, 2, 1, 0)
    ]
    assert ends[0] < 20
    assert np.diff(ends[1:]).tolist() == [128, 128]


def test_small_products_wait_for_shared_memory():
    """m64n8k16 reads 64 + 8 rows of 32 bytes, at 128 a cycle 18 cycles, for 4 cycles of work."""
    listing = products(40, 8)
    record = issue_cycles(assemble(listing, arch=90), load_gpu("h100_sxm", WARM), warps=4)
    assert (record.cycle[0][-2] - record.cycle[0][0]) / 40 == pytest.approx(18, rel=0.1)


PIPELINE = f"""
[B------:R-:W0:-:S02] SYNCS.EXCH.64 URZ, [UR4], UR6
[B0-----:R1:W-:-:S01] SYNCS.ARRIVE.TRANS64 RZ, [UR4], R2
[B------:R2:W-:-:S01] UBLKCP.S.G [UR8], [UR10], UR12
[B0-----:R-:W3:-:S02] SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R3
[B---3--:R-:W-:-:S01] NOP
{PRODUCT.format(n=256, group=", gsb0")}
{WAIT.format(left="0x0")}
BAR.SYNC 0x1, 0xa0
EXIT
"""
TILES, TILE_BYTES, TILE_PRODUCTS = 6, 16384, 8


def pipeline(stages: int, *, copies: bool = True, multiplies: bool = True) -> int:
    """Cycles of a warp that copies tiles, `stages` ahead of four that multiply; all meet after each tile."""

    def fetch(tile: int) -> list:
        if not copies or tile >= TILES:
            return []
        barrier = BARRIER + 8 * (tile % stages)
        copy = copied(TILE_BYTES, offset=tile * TILE_BYTES, barrier=barrier)
        return [(1, arrival(TILE_BYTES, barrier)), (2, copy)]

    producer = [(0, initialised(BARRIER + 8 * stage)) for stage in range(stages)] + [7]
    producer += [step for tile in range(stages) for step in fetch(tile)]
    consumer = [7]
    for tile in range(TILES):
        phase = asked(tile // stages % 2, barrier=BARRIER + 8 * (tile % stages))
        consumer += [*[(3, phase), 4] * copies, *[*[5] * TILE_PRODUCTS, 6] * multiplies, 7]
        producer += [7, *fetch(tile + stages)]
    return timed(PIPELINE, [*producer, 8], *[[*consumer, 8]] * 4).cycles


def test_a_second_stage_overlaps_copies_with_products():
    copies, products_alone = pipeline(1, multiplies=False), pipeline(1, copies=False)
    assert products_alone >= TILES * TILE_PRODUCTS * 128
    assert pipeline(1) == pytest.approx(copies + products_alone, rel=0.1)
    assert max(copies, products_alone) < pipeline(2) < 0.75 * (copies + products_alone)
    assert pipeline(2) == pipeline(2)


NAMED = """
BAR.SYNC.DEFER_BLOCKING 0x1, 0x40
BAR.ARV 0x2, 0x60
BAR.SYNC.DEFER_BLOCKING 0x2, 0x60
BAR.SYNC R4, R4
EXIT
"""


def test_a_barrier_opens_for_as_many_threads_as_it_says():
    """Two of four warps meet at barrier 1, a third only arrives at barrier 2, and a fourth takes no part."""
    timing = timed(NAMED, [0, 2, 4], [0, 2, 4], [1, 4], [4])
    assert sorted(timing.warps["issued"].tolist()) == [1, 2, 3, 3]
    with pytest.raises(ExecutionError, match="2 warps wait for ever; the first for BARRIER"):
        timed(NAMED, [0, 2, 4], [0, 2, 4], [4], [4])


def test_a_barrier_and_its_threads_may_come_from_a_register():
    words = np.full(32, -1, np.int64)
    words[:2] = 5, 64
    assert timed(NAMED, [(3, words), 4], [(3, words), 4], [4]).cycles < 100


def test_hardware_that_a_gpu_does_not_have_is_named():
    with pytest.raises(UnsupportedInstruction, match=r"rtx_5090 has no \[core.products\]"):
        timed(products(1, 64), [4], gpu="rtx_5090")
