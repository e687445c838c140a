"""What each warp did: instruction sequence, active masks, memory addresses.

The machine appends to it while it executes; the core model replays it. A trace is read block by
block, so that no more than the blocks in flight need to be in memory.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

LANES = 32
NO_ACCESS = -1
OPERAND_SHIFT = 32  # of what an mbarrier instruction adds to a lane's address


class CopyWord(IntEnum):
    """What a bulk copy leaves in its row of `BlockTrace.address`.

    It moves a box of up to five dimensions. Elements outside the tensor are not read or written.
    """

    SHARED = 0  # shared address of the box
    BARRIER = 1  # shared address of the mbarrier it completes on, -1 for none
    RECEIVERS = 2  # mask of the cluster's blocks that receive it, -1 for the one that SHARED names
    BYTES = 3  # of the box, for each receiver
    BASE = 4  # global address of the tensor, -1 for a copy between shared memories
    SOURCE = 5  # shared address a copy between shared memories reads, else -1
    ROWS = 6  # 1 if START[1:5] are four rows to gather or scatter, else 0
    START = 7  # first element in each dimension
    BOX = 12  # elements of the box in each dimension
    SIZE = 17  # elements of the tensor in each dimension
    STRIDE = 22  # bytes between elements in each dimension
    STEP = 27  # elements from one of the box to the next in each dimension
    COUNT = 32


@dataclass(frozen=True)
class BlockTrace:
    """The dynamic instructions of one thread block.

    Warp w executed entries `start[w]:start[w + 1]` of `row`, `mask` and `access`, in program order.

    Attributes:
        block: linear block index, x fastest.
        start: int64[warps + 1].
        row: uint32[n], index into `Program.rows`.
        mask: uint32[n], lanes that executed (active and guard true); 0 where the guard failed everywhere.
        access: int32[n], index into `address`, or -1 for an instruction without addresses.
        address: int64[m, 32], byte address of each lane; lanes outside the mask hold -1. Global
            addresses are virtual, shared addresses are offsets in the block's shared memory. Above
            `OPERAND_SHIFT`, mbarrier instructions add what they count or ask for: SYNCS.ARRIVE its operand,
            SYNCS.PHASECHK the phase and whether it was complete (bit 1), STAS and REDAS nothing, but their
            address is the mbarrier's; SYNCS.EXCH leaves its address and the word. A bulk copy leaves
            `CopyWord`s, BAR whose operands are registers its barrier and number of threads.
    """

    block: int
    start: np.ndarray
    row: np.ndarray
    mask: np.ndarray
    access: np.ndarray
    address: np.ndarray

    @property
    def warps(self) -> int:
        """Warps of the block."""
        return len(self.start) - 1
