"""Lanes, bank conflicts and uncoalesced sectors of each instruction, on access patterns that can be counted by hand."""

import numpy as np
import pytest

from gpu_model.sass import assemble
from gpu_model.timing import Timing, time_launch
from gpu_model.trace import NO_ACCESS, BlockTrace
from hw.gpu_spec import load_gpu

LANE = np.arange(32, dtype=np.int64)
FIRST_HALF = np.where(LANE < 16, LANE, -1)


def run(instruction: str, *addresses: np.ndarray, blocks: int = 1) -> Timing:
    """One warp a block executes the instruction, on lanes with an address, and exits."""
    program = assemble(f"{instruction}\nEXIT")
    mask = sum(1 << int(lane) for lane in np.flatnonzero(addresses[0] >= 0))
    access = np.array([0, NO_ACCESS], np.int32)
    traces = [
        BlockTrace(block, np.array([0, 2]), np.array([0, 1], np.uint32), np.array([mask, 0xFFFFFFFF], np.uint32),
                   access, np.stack(addresses))
        for block in range(blocks)
    ]  # fmt: skip
    return time_launch(program, traces, load_gpu("rtx_a6000"), grid=(blocks, 1, 1), block_threads=32, shared_bytes=0)


@pytest.mark.parametrize(
    ("instruction", "address", "lanes", "sectors", "uncoalesced"),
    [
        ("LDG.E R2, [R4.64]", LANE * 4, 32, 4, 0),
        ("LDG.E R2, [R4.64]", LANE * 4 + 16, 32, 5, 1),  # 128 bytes across five sectors
        ("LDG.E R2, [R4.64]", LANE * 32, 32, 32, 28),
        ("LDG.E R2, [R4.64]", LANE * 8, 32, 8, 4),
        ("LDG.E R2, [R4.64]", LANE * 0, 32, 1, 0),  # all lanes one word
        ("LDG.E.128 R4, [R2.64]", LANE * 16, 32, 16, 0),
        ("STG.E [R4.64], R2", FIRST_HALF * 4, 16, 2, 0),
        ("STG.E [R4.64], R2", np.where(LANE < 16, LANE * 64, -1), 16, 16, 14),
    ],
)
def test_sectors_beyond_those_the_bytes_fill_are_uncoalesced(instruction, address, lanes, sectors, uncoalesced):
    address = np.where(address < 0, -1, address)
    counts = run(instruction, address, blocks=3).counts[0]
    assert counts["lanes"] == 3 * lanes
    assert (counts["sectors"], counts["uncoalesced"]) == (3 * sectors, 3 * uncoalesced)
    assert (counts["wavefronts"], counts["conflicts"]) == (0, 0)


@pytest.mark.parametrize(
    ("instruction", "address", "wavefronts", "conflicts"),
    [
        ("LDS R2, [R4]", LANE * 4, 1, 0),
        ("LDS R2, [R4]", LANE * 0, 1, 0),  # a broadcast
        ("LDS R2, [R4]", LANE * 8, 2, 1),
        ("LDS R2, [R4]", LANE * 128, 32, 31),
        ("LDS R2, [R4]", LANE * 132, 1, 0),  # padded rows
        ("STS.128 [R4], R8", LANE * 16, 4, 0),
        ("LDS.64 R2, [R4]", LANE * 16, 4, 2),
    ],
)
def test_wavefronts_beyond_those_of_the_width_are_conflicts(instruction, address, wavefronts, conflicts):
    counts = run(instruction, address).counts[0]
    assert (counts["wavefronts"], counts["conflicts"]) == (wavefronts, conflicts)
    assert (counts["sectors"], counts["uncoalesced"]) == (0, 0)


def test_a_copy_into_shared_memory_counts_on_both_sides():
    counts = run("LDGSTS.E [R2], [R4.64]", LANE * 32, LANE * 8).counts[0]
    assert tuple(counts)[1:] == (2, 1, 32, 28)


def test_lines_carry_the_sums():
    frame = run("LDS R2, [R4]", LANE * 8).lines_frame(assemble("LDS R2, [R4]\nEXIT"))
    assert frame[["lanes", "wavefronts", "conflicts", "sectors", "uncoalesced"]].sum().tolist() == [64, 2, 1, 0, 0]
