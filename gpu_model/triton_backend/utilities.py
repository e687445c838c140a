"""Module loading, device properties and events of the virtual GPU, in the shapes Triton expects."""

from dataclasses import dataclass
from typing import Any

from gpu_model.decode import decode


class Utilities:
    """Stands where Triton's compiled CUDA helper stands."""

    def __init__(self, gpu: Any):
        self.gpu = gpu

    def get_device_properties(self, device: int) -> dict[str, int]:
        """Limits and clocks; clock rates in kHz, bus width in bits."""
        spec = self.gpu.spec
        return {
            "max_shared_mem": spec.limits.shared_bytes_per_block,
            "max_num_regs": spec.limits.registers,
            "multiprocessor_count": spec.sm_count,
            "warpSize": 32,
            "sm_clock_rate": int(spec.core_clock_mhz * 1000),
            "mem_clock_rate": int(spec.core_clock_mhz * 1000),
            # Chosen so that Triton's bandwidth formula (2 x clock x width) gives the spec's DRAM bandwidth.
            "mem_bus_width": int(round(spec.memory.dram_bytes_per_cycle * 8 / 2)),
        }

    def load_binary(self, name: str, image: bytes, shared: int, device: int) -> tuple[Any, Any, int, int, int]:
        """Decode a cubin: (module, function, registers, spills, most threads a block).

        There is no module to unload, so that a kernel may outlive the virtual GPU.

        Raises:
            UnsupportedInstruction: the kernel holds an instruction the machine does not model.
        """
        from gpu_model.machine.lower import lower

        program, cubin = decode(image)
        lower(program)
        return None, (program, cubin), program.registers, 0, self.gpu.spec.limits.threads_per_block

    def unload_module(self, module: Any) -> None:
        """Nothing to free."""


@dataclass
class Event:
    """A point in simulated time."""

    gpu: Any
    seconds: float = 0.0

    def record(self, stream: Any = None) -> None:
        """Take the virtual GPU's clock."""
        self.seconds = self.gpu.seconds

    def elapsed_time(self, end: "Event") -> float:
        """Milliseconds of simulated time until another event.

        Raises:
            LaunchError: the virtual GPU was made without timing.
        """
        self.gpu.require_timing("the time between two events")
        return (end.seconds - self.seconds) * 1e3

    def synchronize(self) -> None:
        """Launches complete before they return."""

    def query(self) -> bool:
        """Always complete."""
        return True


class DeviceInterface:
    """The part of `torch.cuda` that Triton's testing module uses."""

    def __init__(self, gpu: Any):
        self._gpu = gpu

    def Event(self, enable_timing: bool = False, **_: Any) -> Event:  # noqa: N802 - torch.cuda's name
        """A new event; taking time needs a virtual GPU that times its launches.

        Raises:
            LaunchError: the virtual GPU was made without timing.
        """
        self._gpu.require_timing("benchmarking")
        return Event(self._gpu)

    def synchronize(self, device: Any = None) -> None:
        """Launches complete before they return."""

    def current_device(self) -> int:
        """Number of the one device there is."""
        return self._gpu.number
