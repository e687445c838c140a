"""The virtual GPU: a Triton device that runs each launch on the SASS machine and, if asked, times it."""

import dataclasses
import itertools
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_model.check.findings import Finding
from gpu_model.errors import LaunchError
from gpu_model.execute import Dots, Machine, execute, execute_traced
from gpu_model.launch import Launch
from gpu_model.recorder import LaunchRecorder
from hw.gpu_spec import GpuSpec, load_gpu

if TYPE_CHECKING:
    from gpu_model.accelsim.write import AccelSimWriter

FIDELITIES = ("full", "sampled")

# Triton keeps compiled kernels, and their launchers, by device number: each virtual GPU has its own.
_numbers = itertools.count()


@dataclass(frozen=True)
class LaunchRecord:
    """What one launch did.

    Attributes:
        kernel: name.
        grid: blocks in x, y, z.
        threads: threads per block.
        shared_bytes: shared memory per block.
        registers: registers per thread.
        instructions: warp-instructions executed.
        timing: `gpu_model.timing.Timing`, or None if the GPU does not time.
        dots: operands of tensor instructions, empty unless the GPU keeps them.
        findings: what the checks found, empty if nothing or if the GPU does not check.
        launch: the launch itself; in `VirtualGPU.launches` without the tensors it held.
    """

    kernel: str
    grid: tuple[int, int, int]
    threads: int
    shared_bytes: int
    registers: int
    instructions: int
    timing: Any
    dots: Dots = field(repr=False)
    findings: tuple[Finding, ...]
    launch: Launch = field(repr=False)


class VirtualGPU:
    """A GPU that needs no GPU; use it as a context around ordinary Triton code.

    ```
    with VirtualGPU("rtx_a6000", timing=True) as gpu:
        kernel[grid](x, y, n, BLOCK=1024)   # x and y are CPU tensors
    print(gpu.launches[-1].timing.cycles)
    ```

    Args:
        gpu: name of a GPU in `hw/gpus`, a path to a TOML file, or a `GpuSpec`.
        timing: run the cycle-level core model on each launch.
        fidelity: `full`, or `sampled` to time a part of long launches (`gpu_model.sampling`); results are always whole.
        dots: keep the operands of the first this many 16 x 8 tiles of tensor instructions of each launch.
        check: look for races in shared memory, uninitialised reads and missing convergence.
        events: keep the first this many issue events of each SM in a launch's timing.
        dirty_l2: share of L2 that must be written back before a launch can use it; see `gpu_model.timing.time_launch`.
        on_launch: called with each `LaunchRecord`.
        recorder: saves each launch to a file, with its outputs.
        traces: writes each launch's traces for Accel-Sim as they are timed; needs `timing`.
        kept: how many records `launches` holds, the newest; None for all of them, some kilobytes each.
        max_instructions: warp-instructions after which a launch is given up; None for no limit.
        cuda: make torch's CUDA names mean this GPU while it is in use; see `gpu_model.cuda_names`. A launch may then
            not mix tensors on cuda with others on the CPU.
        host_tensors: kernels take CPU tensors; a real GPU's do not. Can be False only with `cuda`.
        overrides: fields of the spec to change, such as `{"core.rf.read_ports": 2}`.

    Raises:
        GpuSpecError: an unknown GPU or an impossible value.
    """

    def __init__(
        self,
        gpu: str | Path | GpuSpec = "rtx_a6000",
        *,
        timing: bool = False,
        fidelity: str = "full",
        dots: int = 0,
        check: bool = False,
        events: int = 0,
        dirty_l2: float = 0.0,
        on_launch: Callable[[LaunchRecord], None] | None = None,
        recorder: LaunchRecorder | None = None,
        traces: "AccelSimWriter | None" = None,
        kept: int | None = None,
        max_instructions: int | None = None,
        cuda: bool = False,
        host_tensors: bool = True,
        overrides: dict[str, Any] | None = None,
    ):
        if not (cuda or host_tensors):
            raise ValueError("host_tensors=False needs cuda=True: without CUDA's names every tensor is a CPU tensor")
        if fidelity not in FIDELITIES:
            raise ValueError(f"fidelity is {fidelity!r}, legal: {', '.join(FIDELITIES)}")
        if traces is not None and not timing:
            raise ValueError("traces are written as they are timed: give timing=True too")
        self.spec = gpu if isinstance(gpu, GpuSpec) else load_gpu(gpu, overrides or {})
        self.timing, self.dots, self.check, self.events = timing, dots, check, events
        self.fidelity = fidelity
        self.dirty_l2, self.on_launch = dirty_l2, on_launch
        self.recorder, self.traces, self.kept, self.max_instructions = recorder, traces, kept, max_instructions
        self.cuda, self.host_tensors = cuda, host_tensors
        self.number = next(_numbers)
        self.launches: list[LaunchRecord] = []
        self.seconds = 0.0  # simulated time of all launches so far
        self._previous: list[ExitStack] = []

    def __enter__(self) -> "VirtualGPU":
        """Make this the GPU that Triton launches on."""
        from triton.runtime import driver

        from gpu_model.triton_backend.driver import VirtualDriver
        from gpu_model.triton_backend.source_lines import repaired

        with ExitStack() as stack:
            stack.callback(setattr, driver, "_active", driver._active)
            driver.set_active(VirtualDriver(self))
            stack.enter_context(repaired())
            if self.cuda:
                from gpu_model.cuda_names import CudaNames

                stack.enter_context(CudaNames(self))
            self._previous.append(stack.pop_all())
        return self

    def __exit__(self, *_: object) -> None:
        """Give Triton back the driver it had, and torch its names."""
        self._previous.pop().close()

    def __repr__(self) -> str:
        return f"VirtualGPU({self.spec.name!r}, timing={self.timing}, dots={self.dots})"

    def require_timing(self, what: str) -> None:
        """Refuse something that needs simulated time.

        Raises:
            LaunchError: this GPU does not time its launches.
        """
        if not self.timing:
            raise LaunchError(
                f"{what} needs simulated time: make the GPU with VirtualGPU({self.spec.name!r}, timing=True)"
            )

    def run(self, launch: Launch) -> LaunchRecord:
        """Execute a launch (and time it), and remember what it did.

        Raises:
            LaunchError: a kernel for another architecture, or resources past this GPU's limits.
            MemoryFault, ExecutionError: the kernel went wrong; see `gpu_model.execute`.
        """
        self._check(launch)
        with self.recorder.recording(launch) if self.recorder else nullcontext():
            record = self._execute(launch)
        # What is remembered lets go of the tensors; a callback sees the launch whole.
        self.launches.append(dataclasses.replace(record, launch=dataclasses.replace(launch, keep=())))
        if self.kept is not None:
            del self.launches[: max(len(self.launches) - self.kept, 0)]
        if self.on_launch is not None:
            self.on_launch(record)
        return record

    def _execute(self, launch: Launch) -> LaunchRecord:
        machine = Machine(
            launch, trace=self.timing, dots=self.dots, check=self.check, max_instructions=self.max_instructions
        )
        timing = None
        if self.timing:
            from gpu_model.sampling import TIMERS

            traces = execute_traced(machine)
            if self.traces is not None:
                traces = self.traces.recording(launch, launch.regions, traces)
            timing = TIMERS[self.fidelity](
                launch.program,
                traces,
                self.spec,
                grid=launch.grid,
                block_threads=launch.threads,
                shared_bytes=launch.own_shared_bytes,
                regions=launch.regions,
                events=self.events,
                dirty_l2=self.dirty_l2,
            )
            self.seconds += timing.microseconds * 1e-6
        else:
            execute(machine)
        return LaunchRecord(
            launch.program.name, launch.grid, launch.threads, launch.own_shared_bytes, launch.program.registers,
            machine.instructions, timing, machine.dots, machine.findings, launch,
        )  # fmt: skip

    def _check(self, launch: Launch) -> None:
        program, limits = launch.program, self.spec.limits
        if program.arch != self.spec.arch:
            raise LaunchError(
                f"kernel {program.name} is compiled for sm_{program.arch}, but {self.spec.name} is sm_{self.spec.arch}"
            )
        if launch.threads > limits.threads_per_block:
            raise LaunchError(
                f"kernel {program.name}: {launch.threads} threads a block, {self.spec.name} allows "
                f"{limits.threads_per_block}"
            )
        if launch.own_shared_bytes > limits.shared_bytes_per_block:
            raise LaunchError(
                f"kernel {program.name}: {launch.own_shared_bytes} bytes of shared memory a block, {self.spec.name} "
                f"allows {limits.shared_bytes_per_block}"
            )
