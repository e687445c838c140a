"""What each warp did: instruction sequence, active masks, memory addresses.

The machine appends to it while it executes; the core model replays it. A trace is read block by
block, so that no more than the blocks in flight need to be in memory.
"""

from dataclasses import dataclass

import numpy as np

LANES = 32
NO_ACCESS = -1


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
            addresses are virtual, shared addresses are offsets in the block's shared memory.
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
