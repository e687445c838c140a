"""What happened last to each cell of shared memory and byte of local memory; whether the next access comes after it."""

import numpy as np
from numba import njit

from gpu_model.check.clocks import fenced, knows
from gpu_model.check.layout import (
    AGENT,
    ATOMIC,
    BULK,
    EPOCH,
    NOBODY,
    PRODUCTS,
    READ_BY,
    SAME,
    THREADS,
    WHO,
    WRITE_WORDS,
    Check,
    Kind,
    report,
    who,
)
from gpu_model.machine.lanes import load_i64, load_u8, load_u32, store_u8, store_u32

_READER_KINDS = (THREADS, PRODUCTS, BULK)  # who reads shared memory; copies only write it


@njit
def _cells(chk, address, size):
    """The cells of an access: bytes, or words in a kernel that touches nothing smaller in shared memory."""
    shift = load_i64(chk, Check.CELL_SHIFT)
    return range(address >> shift, (address + size) >> shift)


@njit
def _content(chk, memory, cell):
    return load_u32(memory, cell) if load_i64(chk, Check.CELL_SHIFT) else np.uint32(load_u8(memory, cell))


@njit
def _reads(chk, cell, reader, warp):
    """Address of the last read (epoch, who) of a cell by a kind of agent of a warp."""
    entry = load_i64(chk, Check.READERS) * cell + reader * load_i64(chk, Check.WARPS) + warp
    return load_i64(chk, Check.READS) + 8 * entry


@njit
def _last_write(chk, cell):
    return load_i64(chk, Check.WRITES) + 4 * WRITE_WORDS * cell


@njit
def _check_read(chk, warp, lane, reader, cell):
    """The finding that a read of one cell makes, and the other party; -1 for none."""
    if not load_u8(load_i64(chk, Check.WRITTEN), cell):
        return np.int64(Kind.UNWRITTEN_SHARED), np.int64(NOBODY)
    last = _last_write(chk, cell)
    agent, epoch, writer = np.int64(load_u32(last, AGENT)), load_u32(last, EPOCH), np.int64(load_u32(last, WHO))
    if not knows(chk, warp, lane, agent, epoch, writer & 31) and not (load_u32(last, SAME) >> np.uint32(warp)) & 1:
        return np.int64(Kind.READ_AFTER_WRITE), writer
    if reader != 0 and not fenced(chk, warp, agent & ~ATOMIC, epoch):
        return np.int64(Kind.UNFENCED), writer
    return np.int64(-1), np.int64(NOBODY)


@njit
def read_shared(chk, row, warp, lane, address, size, reader, epoch):
    """A lane reads shared bytes; `reader` indexes threads, matrix products, bulk stores."""
    name, found, last_clean = np.uint32(who(row, warp, lane)), False, np.int64(-1)
    for cell in _cells(chk, address, size):
        last = _last_write(chk, cell)
        same_as_before = (
            last_clean >= 0
            and load_u8(load_i64(chk, Check.WRITTEN), cell)
            and load_u32(last, EPOCH) == load_u32(_last_write(chk, last_clean), EPOCH)
            and load_u32(last, WHO) == load_u32(_last_write(chk, last_clean), WHO)
            and load_u32(last, AGENT) == load_u32(_last_write(chk, last_clean), AGENT)
        )
        if not found and not same_as_before:
            kind, other = _check_read(chk, warp, lane, reader, cell)
            if kind >= 0:
                report(chk, kind, row, warp, lane, address, size, other)
                found = True
            else:
                last_clean = cell
        store_u32(last, READ_BY, load_u32(last, READ_BY) | np.uint32(1) << np.uint32(warp))
        read = _reads(chk, cell, reader, warp)
        store_u32(read, 0, np.uint32(epoch))
        store_u32(read, 1, name)


@njit
def _unordered_reader(chk, warp, lane, cell, readers):
    """Who read a cell with nothing to order it before what a lane does now, or nobody."""
    warps = load_i64(chk, Check.WARPS)
    kinds = load_i64(chk, Check.READERS) // warps
    for other in range(warps):
        if not (readers >> np.uint32(other)) & 1:
            continue
        for reader in range(kinds):
            read = _reads(chk, cell, reader, other)
            epoch, name = load_u32(read, 0), np.int64(load_u32(read, 1))
            agent = _READER_KINDS[reader] * warps + other
            if epoch and not knows(chk, warp, lane, agent, epoch, name & 31):
                return name
    return np.int64(NOBODY)


@njit
def _check_write(chk, warp, lane, agent, cell, changed):
    """The finding that a write of one cell makes, the other party, and whether it repeats a concurrent write."""
    last = _last_write(chk, cell)
    epoch, repeats = load_u32(last, EPOCH), False
    if epoch and not (load_u32(last, AGENT) & agent & ATOMIC):
        writer = np.int64(load_u32(last, WHO))
        if not knows(chk, warp, lane, np.int64(load_u32(last, AGENT)), epoch, writer & 31):
            if changed:
                return np.int64(Kind.WRITE_AFTER_WRITE), writer, False
            repeats = True
    readers = load_u32(last, READ_BY)
    if readers:
        reader = _unordered_reader(chk, warp, lane, cell, readers)
        if reader != NOBODY:
            return np.int64(Kind.WRITE_AFTER_READ), reader, repeats
    return np.int64(-1), np.int64(NOBODY), repeats


@njit
def _keep(chk, mirror, cell, value):
    if load_i64(chk, Check.CELL_SHIFT):
        store_u32(mirror, cell, value)
    else:
        store_u8(mirror, cell, np.uint8(value))


@njit
def _same_writers(chk, last):
    """Warps whose threads already wrote the value that is written once more."""
    agent = np.int64(load_u32(last, AGENT)) & ~ATOMIC
    thread = agent < load_i64(chk, Check.WARPS)
    return load_u32(last, SAME) | (np.uint32(1) << np.uint32(agent) if thread else np.uint32(0))


@njit
def write_shared(chk, shared, row, warp, lane, address, size, agent, epoch):
    """A lane, or an agent it started, wrote shared bytes; `agent` may carry the atomic flag.

    Lanes and warps that write the value that is there already race with no one who wrote it.
    """
    name, found = np.uint32(who(row, warp, lane)), False
    written, mirror = load_i64(chk, Check.WRITTEN), load_i64(chk, Check.MIRROR)
    for cell in _cells(chk, address, size):
        value = _content(chk, shared, cell)
        kind, other, repeats = _check_write(chk, warp, lane, agent, cell, value != _content(chk, mirror, cell))
        if kind >= 0 and not found:
            report(chk, kind, row, warp, lane, address, size, other)
            found = True
        last = _last_write(chk, cell)
        store_u32(last, SAME, _same_writers(chk, last) if repeats else np.uint32(0))
        store_u32(last, EPOCH, np.uint32(epoch))
        store_u32(last, WHO, name)
        store_u32(last, AGENT, np.uint32(agent))
        store_u32(last, READ_BY, np.uint32(0))
        _keep(chk, mirror, cell, value)
        store_u8(written, cell, np.uint8(1))


@njit
def last_writer(chk, address):
    """Who wrote a shared byte last."""
    return np.int64(load_u32(_last_write(chk, address >> load_i64(chk, Check.CELL_SHIFT)), WHO))


@njit
def _local_bytes(chk, warp, lane, address):
    return load_i64(chk, Check.LOCAL_WRITTEN) + (32 * warp + lane) * load_i64(chk, Check.LOCAL_BYTES) + address


@njit
def read_local(chk, row, warp, lane, address, size):
    """A lane reads its own local bytes."""
    written = _local_bytes(chk, warp, lane, address)
    for byte in range(size):
        if not load_u8(written, byte):
            report(chk, np.int64(Kind.UNWRITTEN_LOCAL), row, warp, lane, address, size, np.int64(NOBODY))
            return


@njit
def write_local(chk, warp, lane, address, size):
    """A lane wrote its own local bytes."""
    written = _local_bytes(chk, warp, lane, address)
    for byte in range(size):
        store_u8(written, byte, np.uint8(1))
