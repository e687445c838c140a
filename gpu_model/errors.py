"""Errors a user of the GPU room can meet; each message names the thing, the place and a remedy."""


class GpuError(Exception):
    """Base of every user-facing error of this room."""


class CubinError(GpuError):
    """A code image that is corrupt, truncated, foreign or of an architecture we do not know."""


class SassError(GpuError):
    """Disassembly text that does not follow the SASS grammar."""


class UnsupportedInstruction(GpuError):
    """An instruction the machine does not model; raised before anything runs."""


class LaunchError(GpuError):
    """A launch that cannot run: wrong device, dtype, grid, or resources past the GPU's limits."""


class HostTensorError(LaunchError, ValueError):
    """A kernel argument in memory that a GPU cannot reach; a ValueError, as Triton's own launcher raises."""


class LaunchFileError(GpuError):
    """A launch file that cannot be read, trusted or written."""


class CaptureError(GpuError):
    """Launches of a real GPU were asked for where there is none."""


class MemoryFault(GpuError):
    """A load or store outside the launch's memory, or misaligned."""


class ExecutionError(GpuError):
    """A run that cannot continue: deadlock, trap, or a step limit reached."""


class TraceFormatError(GpuError):
    """A trace of another simulator that cannot be read, or a launch that its format cannot hold."""
