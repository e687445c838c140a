"""The checks of one block in flight: memory for the clocks and shadows, and what was found."""

import numpy as np

from gpu_model.check import convergence, layout
from gpu_model.check.clocks import begin_block
from gpu_model.check.findings import Finding, describe
from gpu_model.check.layout import AGENT_KINDS, BLOCK_BARRIERS, MAX_BARRIERS, MAX_FINDINGS, Check
from gpu_model.check.watch import cell_shift, row_flags
from gpu_model.errors import ExecutionError
from gpu_model.launch import Launch, local_bytes

_READS_LATER = ("HGMMA", "QGMMA", "IGMMA", "UTMASTG", "UTMAREDG", "UBLKCP", "UBLKRED")


class BlockChecks:
    """Check state of a resident block, reused for one block after another.

    Epochs go on counting from block to block, so that what an earlier block left in the shadows is ordered
    before everything the next one does, and only the marks of written bytes are cleared.

    Args:
        launch: what the block belongs to.
        steps: the machine's own function table, int64.
    """

    def __init__(self, launch: Launch, steps: np.ndarray):
        self.launch = launch
        warps, opcodes, shift = launch.warps, launch.program.rows["opcode"], cell_shift(launch.program)
        shared = -(-max(launch.shared_bytes, 8) // 8) * 8
        cells = shared >> shift
        barriers = MAX_BARRIERS if np.isin(opcodes, ("SYNCS", "ARRIVES")).any() else 0
        agents = AGENT_KINDS * warps + barriers
        readers = warps * (3 if np.isin(opcodes, _READS_LATER).any() else 1)
        self.row_flags = row_flags(launch.program)
        self._lanes = np.zeros((warps, convergence.LANE_WORDS), np.int64)
        self._clocks = np.zeros((warps + BLOCK_BARRIERS + 2 * barriers, agents + 2 * warps), np.uint32)
        self._committed = np.zeros((AGENT_KINDS, warps), np.int64)
        self._phases = np.zeros(barriers, np.int64)
        self._numbers = np.zeros(shared // 8 + 1, np.uint32)
        self._written = np.zeros(cells, np.uint8)
        self._mirror = np.zeros(shared, np.uint8)
        self._local = np.zeros(max(32 * warps * local_bytes(launch.program), 1), np.uint8)
        self._findings = np.zeros((MAX_FINDINGS, layout.FINDING_COLUMNS), np.int64)
        self._arrays = {
            Check.LANES: self._lanes, Check.CLOCKS: self._clocks, Check.COMMITTED: self._committed,
            Check.ROW_FLAGS: self.row_flags, Check.WRITES: np.zeros((cells, layout.WRITE_WORDS), np.uint32),
            Check.READS: np.zeros((cells, readers, 2), np.uint32), Check.WRITTEN: self._written,
            Check.LOCAL_WRITTEN: self._local, Check.MIRROR: self._mirror, Check.BARRIER_NUMBER: self._numbers,
            Check.PHASES: self._phases, Check.FINDINGS: self._findings, Check.STEPS: steps,
        }  # fmt: skip
        self.words = np.zeros(Check.COUNT, np.int64)
        for entry, array in self._arrays.items():
            self.words[entry] = array.ctypes.data
        self.words[Check.WARPS], self.words[Check.SHARED_BYTES] = warps, launch.shared_bytes
        self.words[Check.LOCAL_BYTES] = local_bytes(launch.program)
        self.words[Check.CELL_SHIFT] = shift
        self.words[Check.AGENTS], self.words[Check.READERS] = agents, readers

    def start(self) -> np.ndarray:
        """Forget the block before; returns the address of each warp's convergence state."""
        for cleared in (self._numbers, self._written, self._mirror, self._local):
            cleared.fill(0)
        self.words[[Check.BARRIERS, Check.FOUND, Check.LOST, Check.EVENT]] = 0
        begin_block(self.words.ctypes.data, self.launch.threads, len(self._phases))
        return self._lanes.ctypes.data + self._lanes.strides[0] * np.arange(self.launch.warps)

    def take(self, block: int) -> list[Finding]:
        """What was found in the block that ran.

        Raises:
            ExecutionError: the block used more mbarriers than the checks follow.
        """
        if self.words[Check.BARRIERS] > MAX_BARRIERS:
            raise ExecutionError(
                f"kernel {self.launch.program.name}, block {self.launch.block_index(block)}: the checks follow "
                f"{MAX_BARRIERS} mbarriers a block, it used {self.words[Check.BARRIERS]}; try without --check"
            )
        return [describe(self.launch, block, row) for row in self._findings[: self.words[Check.FOUND]]]
