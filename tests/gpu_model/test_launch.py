"""Launches whose addresses are not this process's: the kernel sees its own, the bytes lie elsewhere."""

import dataclasses

import numpy as np
import pytest

from gpu_model.errors import LaunchError, MemoryFault
from gpu_model.execute import Machine, execute
from gpu_model.launch import Launch, Segment, merge_segments
from gpu_model.sass import assemble

ADDRESSES = """
S2R R0, SR_TID.X
IMAD.WIDE R2, R0, 0x8, c[0x0][0x160]
LDG.E.64 R4, [R2.64]
"""
FAR = 0x7F00_0000_0000


def machine(body: str, segments: list[tuple[Segment, np.ndarray]]) -> Machine:
    """32 threads run `body` with R4:R5 an address that the first segment holds for each lane."""
    program = assemble(ADDRESSES + body + "\nEXIT")
    placed = [dataclasses.replace(segment, host=data.ctypes.data) for segment, data in segments]
    parameters = np.array([segments[0][0].address], np.uint64).tobytes()
    return Machine(Launch(program, (1, 1, 1), 32, 0, parameters, merge_segments(placed), keep=tuple(segments)))


def piece(name: str, address: int, data: np.ndarray) -> tuple[Segment, np.ndarray]:
    return Segment(name, address, data.nbytes), data


def test_lanes_of_one_instruction_reach_different_pieces():
    low, high = np.arange(32, dtype=np.uint32), 1000 + np.arange(32, dtype=np.uint32)
    wanted = np.array([(0x1000 if lane % 3 else FAR) + 4 * lane for lane in range(32)], np.uint64)
    pieces = [piece("wanted", 0x9000, wanted), piece("high", FAR, high), piece("low", 0x1000, low)]
    execute(machine("LDG.E R6, [R4.64]\nIADD3 R6, R6, 0x1, RZ\nSTG.E [R4.64], R6", pieces))
    first = np.arange(32) % 3 != 0
    assert np.array_equal(low, np.arange(32) + first)
    assert np.array_equal(high, 1000 + np.arange(32) + ~first)


def test_atomics_reach_the_host():
    counter, wanted = np.zeros(1, np.uint32), np.full(32, FAR, np.uint64)
    execute(machine("RED.E.ADD.STRONG.GPU [R4.64], R0", [piece("wanted", 64, wanted), piece("sum", FAR, counter)]))
    assert counter[0] == sum(range(32))


def test_faults_name_the_kernels_address_and_undo_on_the_host():
    data, wanted = np.arange(32, dtype=np.uint32), FAR + 4 * np.arange(32, dtype=np.uint64)
    body = "STG.E [R4.64], RZ\nLDG.E R6, [R4.64+0x80]"
    with pytest.raises(MemoryFault, match=r"4 bytes at 0x7f0000000080: .*data.*, 0 bytes past its end; .*were undone"):
        execute(machine(body, [piece("wanted", 64, wanted), piece("data", FAR, data)]))
    assert np.array_equal(data, np.arange(32))


@pytest.mark.parametrize("size", ["U8", "U16", "64", "128"])
@pytest.mark.parametrize("address", [(1 << 63) - 16, (1 << 63) - 1, 1 << 63, (1 << 64) - 16])
def test_the_end_of_the_address_space_is_out_of_bounds(address, size):
    wanted = np.full(32, address, np.uint64)
    with pytest.raises(MemoryFault, match="out-of-bounds global"):
        execute(machine(f"LDG.E.{size} R8, [R4.64]", [piece("wanted", 64, wanted)]))


def test_overlapping_pieces_must_lie_together():
    with pytest.raises(LaunchError, match="a and b overlap .* but lie apart"):
        merge_segments([Segment("a", 0x1000, 64, host=0x5000), Segment("b", 0x1020, 64, host=0x7000)])
