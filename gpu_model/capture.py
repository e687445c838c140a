"""Recording launches on a real GPU: Triton's own driver runs them, and the GPU's outputs become what replays must give.

The driver is wrapped where ours stands in for it: `load_binary` shows each cubin, and the launcher shows each launch.
Tensors are copied to the host before and after; the launch in the file has their addresses on the GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpu_model.decode import decode
from gpu_model.errors import CaptureError, GpuError
from gpu_model.launch import Segment
from gpu_model.launch_file import Origin
from gpu_model.recorder import LaunchRecorder
from gpu_model.triton_backend.launcher import LaunchBuilder


class _HostCopies:
    """Copies of device memory that a launch refers to, taken again after it ran."""

    def __init__(self) -> None:
        self._copies: dict[int, tuple[torch.Tensor, np.ndarray]] = {}

    def place(self, tensor: torch.Tensor, name: str) -> Segment:
        """The tensor's storage, copied to the host, at its address on the device."""
        storage = tensor.untyped_storage()
        address, dtype = storage.data_ptr(), str(tensor.dtype).removeprefix("torch.")
        if storage.nbytes() == 0:
            return Segment(name, address, 0, dtype, tuple(tensor.shape))
        if address not in self._copies:
            whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
            self._copies[address] = whole, whole.to("cpu", copy=True).numpy()
        host = self._copies[address][1].ctypes.data
        return Segment(name, address, storage.nbytes(), dtype, tuple(tensor.shape), host)

    @property
    def addresses(self) -> set[int]:
        """Where the copied storages lie on the device."""
        return set(self._copies)

    def refresh(self) -> None:
        """Copy again, into the same host memory."""
        for whole, copy in self._copies.values():
            copy[:] = whole.to("cpu", copy=True).numpy()


class _Utilities:
    """The driver's utilities, remembering the cubin behind each function."""

    def __init__(self, real: Any):
        self._real = real
        self.images: dict[Any, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def load_binary(self, name: str, image: bytes, shared: int, device: int) -> Any:
        """Load a cubin as the driver does."""
        loaded = self._real.load_binary(name, image, shared, device)
        self.images[loaded[1]] = image
        return loaded


class CapturingDriver:
    """A Triton driver that does what the real one does and records its launches.

    Args:
        real: the driver of the GPU.
        recorder: where the launches go.
    """

    def __init__(self, real: Any, recorder: LaunchRecorder):
        self._real, self.recorder = real, recorder
        self.utils = _Utilities(real.utils)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def launcher_cls(self, src: Any, metadata: Any) -> "_Launcher":
        """The launcher of one compiled kernel."""
        return _Launcher(self, self._real.launcher_cls(src, metadata), src, metadata)

    @property
    def sm_count(self) -> int:
        """SMs of the GPU in use."""
        return self._real.utils.get_device_properties(self._real.get_current_device())["multiprocessor_count"]

    def synchronize(self) -> None:
        """Wait until the GPU has done everything it was given."""
        self._real.get_device_interface().synchronize()


class _Launcher:
    def __init__(self, driver: CapturingDriver, real: Any, src: Any, metadata: Any):
        self._driver, self._real, self._src, self._metadata = driver, real, src, metadata

    def __call__(self, grid_x: int, grid_y: int, grid_z: int, stream: int, function: Any, kernel_metadata: Any,
                 launch_metadata: Any, enter_hook: Any, exit_hook: Any, *arguments: Any) -> None:  # fmt: skip
        """Launch on the GPU, recorded if it can be."""

        def run() -> None:
            self._real(grid_x, grid_y, grid_z, stream, function, kernel_metadata, launch_metadata, enter_hook,
                       exit_hook, *arguments)  # fmt: skip

        driver, recorder = self._driver, self._driver.recorder
        if not recorder.wants(self._metadata.name):
            run()
            return
        driver.synchronize()
        copies = _HostCopies()
        try:
            builder = LaunchBuilder(self._src, self._metadata, driver.sm_count, copies.place)
            launch = builder((grid_x, grid_y, grid_z), decode(driver.utils.images[function]), arguments)
        except GpuError as error:
            recorder.skip(self._metadata.name, str(error))
            run()
            return

        def refresh() -> None:
            driver.synchronize()
            copies.refresh()

        # Scratch memory of the real launch is the driver's own: what the kernel leaves there is not seen.
        with recorder.recording(launch, refresh=refresh, known=copies.addresses - builder.scratch):
            run()


@contextmanager
def capturing(real: Any, recorder: LaunchRecorder) -> Iterator[None]:
    """Record the launches that Triton makes on a driver, for the time of a context."""
    from triton.runtime import driver

    before = driver._active
    driver.set_active(CapturingDriver(real, recorder))  # type: ignore[arg-type]
    try:
        yield
    finally:
        driver._active = before


def nvidia_gpu() -> tuple[Any, Origin]:
    """Triton's driver of the NVIDIA GPU in this machine, and what its outputs are labelled with.

    Raises:
        CaptureError: no GPU, no driver, or a torch without CUDA.
    """
    from triton.backends.nvidia.driver import CudaDriver

    instead = "without a GPU, `warptree run --save-launches DIR SCRIPT` saves simulated launches"
    if not CudaDriver.is_active():
        raise CaptureError(f"no NVIDIA driver: libcuda.so.1 is missing or finds no GPU; {instead}")
    if not torch.cuda.is_available():
        raise CaptureError(
            f"no NVIDIA driver: torch {torch.__version__} does not see the GPU; install torch with CUDA; {instead}"
        )
    return CudaDriver(), Origin(kind="measured", gpu=torch.cuda.get_device_name(), driver=_driver_version())


def _driver_version() -> str:
    """What the NVIDIA kernel module says of itself."""
    try:
        return Path("/sys/module/nvidia/version").read_text().strip()
    except OSError:
        return "unknown driver version"
