"""What each instruction of a program executed and touched, whatever it cost: lanes, wavefronts, sectors.

A shared-memory access takes as many wavefronts as its fullest bank has words; a global one as many 32-byte sectors
as its lanes touch (`gpu_model.core.coalesce`). What is more than a full, conflict-free, contiguous access of the
same width needs is counted apart.
"""

import numpy as np
from numba import njit

from gpu_model.core.opcodes import Action, Space

SECTOR_BYTES = 32
ROW_COUNTS = np.dtype(
    [
        ("lanes", "i8"),  # that executed
        ("wavefronts", "i8"),  # of shared memory
        ("conflicts", "i8"),  # wavefronts beyond those of an access without bank conflicts
        ("sectors", "i8"),  # of global memory
        ("uncoalesced", "i8"),  # sectors beyond those that the lanes' bytes fill
    ]
)
_LDGSTS = int(Action.LDGSTS)
_GLOBAL, _SHARED = int(Space.GLOBAL), int(Space.SHARED)


@njit(cache=True, nogil=True)
def count_rows(rows, lanes, access, table, accesses, counts):
    """Add a block's trace to the counts.

    Args:
        rows: program row of each trace entry.
        lanes: lanes that executed it.
        access: index into `accesses`, or -1.
        table: `LOWERED` table.
        accesses: `ACCESS` records of the block.
        counts: `ROW_COUNTS[rows of the program]`, added to.
    """
    for at in range(len(rows)):
        count = counts[rows[at]]
        count.lanes += lanes[at]
        if access[at] < 0:
            continue
        op, record = table[rows[at]], accesses[access[at]]
        if op.space == _GLOBAL:
            filled = (record.lanes * op.width + SECTOR_BYTES - 1) // SECTOR_BYTES
            count.sectors += record.sectors
            count.uncoalesced += max(0, record.sectors - filled)
        if op.space == _SHARED or op.action == _LDGSTS:
            count.wavefronts += record.wavefronts
            count.conflicts += max(0, record.wavefronts - op.wavefronts)
