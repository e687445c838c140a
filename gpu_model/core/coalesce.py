"""Addresses of a trace to what the memory system sees: lines and sectors, shared-memory wavefronts.

A global line is 128 bytes of four 32-byte sectors. Shared memory has 32 banks of 4 bytes; 64-bit accesses
go by half warps, 128-bit ones and LDSM by quarter warps, and a phase takes as many wavefronts as its
fullest bank has distinct words (CUDA C++ programming guide).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from gpu_model.core.opcodes import Action, Space
from gpu_model.trace import LANES

LINE_BYTES = 128
SECTOR_BYTES = 32
_BANKS = 32
_LOCAL_BASE = 1 << 50
_LDGSTS = int(Action.LDGSTS)
_NONE, _GLOBAL, _SHARED, _MBARRIER = int(Space.NONE), int(Space.GLOBAL), int(Space.SHARED), int(Space.MBARRIER)


class Regions(NamedTuple):
    """Global memory of a launch, sorted; gives each region an address that does not change between runs."""

    starts: np.ndarray  # int64[n]
    ends: np.ndarray
    bases: np.ndarray


@njit(cache=True, nogil=True)
def _add_sector(out, count, address):
    """Note that the sector of an address is touched; returns the number of distinct lines so far."""
    line, sector = address // LINE_BYTES, (address % LINE_BYTES) // SECTOR_BYTES
    found = 0
    while found < count and out[found].line != line:
        found += 1
    if found == count:
        out[count].line = line
        out[count].sectors = 0
        count += 1
    out[found].sectors |= 1 << sector
    return count


@njit(cache=True, nogil=True)
def lines_of(addresses, out):
    """Write the distinct lines of a warp access to `out`; returns how many and their sectors.

    An aligned access of at most 16 bytes stays inside one sector.
    """
    count = 0
    for lane in range(LANES):
        if addresses[lane] >= 0:
            count = _add_sector(out, count, addresses[lane])
    return count, _sectors(out, count)


@njit(cache=True, nogil=True)
def local_lines_of(addresses, width, warp, out):
    """Lines of a thread-local access: word k of the 32 lanes of a warp fills one line."""
    count = 0
    for lane in range(LANES):
        if addresses[lane] >= 0:
            for word in range(addresses[lane] // 4, (addresses[lane] + width + 3) // 4):
                count = _add_sector(out, count, _LOCAL_BASE + ((warp << 18) + word) * LINE_BYTES + lane * 4)
    return count, _sectors(out, count)


@njit(cache=True, nogil=True)
def _sectors(out, count):
    sectors = 0
    for i in range(count):
        for sector in range(4):
            sectors += out[i].sectors >> sector & 1
    return sectors


@njit(cache=True, nogil=True)
def moved(address, regions):
    """An address moved from its region to the region's base, -1 if it is outside all; without regions, itself."""
    if not len(regions.starts):
        return address
    region = np.searchsorted(regions.starts, address, side="right") - 1
    if region < 0 or address >= regions.ends[region]:
        return np.int64(-1)
    return address - regions.starts[region] + regions.bases[region]


@njit(cache=True, nogil=True)
def rebase(addresses, regions):
    """Move a warp's addresses from their region to its base, in place; returns an address outside all, or -1."""
    for lane in range(LANES):
        value = addresses[lane]
        if value >= 0:
            place = moved(value, regions)
            if place < 0:
                return value
            addresses[lane] = place
    return -1


@njit(cache=True, nogil=True)
def wavefronts_of(addresses, width):
    """Shared-memory wavefronts of a warp access: over phases, the most distinct words in one bank."""
    lanes_per_phase = min(LANES, max(8, LANES * 4 // max(width, 4)))
    words = max(1, width // 4)
    total = 0
    seen = np.empty((_BANKS, LANES), np.int64)
    held = np.zeros(_BANKS, np.int64)
    for first in range(0, LANES, lanes_per_phase):
        held[:] = 0
        most = 0
        for lane in range(first, first + lanes_per_phase):
            if addresses[lane] < 0:
                continue
            for word in range(addresses[lane] // 4, addresses[lane] // 4 + words):
                bank = word % _BANKS
                i = 0
                while i < held[bank] and seen[bank, i] != word:
                    i += 1
                if i == held[bank]:
                    seen[bank, i] = word
                    held[bank] += 1
                    most = max(most, held[bank])
        total += most
    return total


@njit(cache=True, nogil=True)
def coalesce(rows, access, warp, address, table, matrix, regions, accesses, lines):
    """Fill `ACCESS` and `TRANSACTION` records from a block's trace.

    Args:
        rows: program row of each trace entry.
        access: index into `address` of each entry, or -1.
        warp: number of each entry's warp, which places its thread-local memory.
        address: int64[m, 32] byte addresses, -1 = lane inactive; changed in place.
        table: `LOWERED` table.
        matrix: bool per row, true for LDSM and STSM: each lane's address is a 16-byte row of a matrix.
        regions: where global addresses are moved to; none = left as they are.
        accesses: out, `ACCESS[m]`.
        lines: out, `TRANSACTION[32 * m]`, four times that with thread-local accesses.

    Returns:
        Transactions written, and a global address outside all regions or -1.
    """
    written = 0
    for at in range(len(rows)):
        index = access[at]
        if index < 0:
            continue
        op, record, lanes = table[rows[at]], accesses[index], address[index]
        record.first, record.lines, record.sectors, record.wavefronts, record.lanes = written, 0, 0, 0, 0
        if op.space == _NONE or op.space >= _MBARRIER:  # not addresses of lanes: see gpu_model.core.asynchronous
            continue
        if matrix[rows[at]]:
            lanes[2 * op.width :] = -1  # .x1 and .x2 take their row addresses from 8 and 16 lanes
        for lane in range(LANES):
            record.lanes += lanes[lane] >= 0
        if op.space == _SHARED:
            record.wavefronts = wavefronts_of(lanes, 16 if matrix[rows[at]] else op.width)
        elif op.space == _GLOBAL:
            if not op.local and len(regions.starts):
                outside = rebase(lanes, regions)
                if outside >= 0:
                    return written, outside
            if op.local:
                record.lines, record.sectors = local_lines_of(lanes, op.width, warp[at], lines[written:])
            else:
                record.lines, record.sectors = lines_of(lanes, lines[written:])
            written += record.lines
            if op.action == _LDGSTS:  # the address list after it holds where the data goes in shared memory
                record.wavefronts = wavefronts_of(address[index + 1], op.width)
    return written, -1
