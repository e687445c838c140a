"""The driver half of the backend: what Triton asks of a GPU, answered by the virtual one."""

import os
from typing import Any

import triton.backends.driver as triton_driver

BACKEND = "warptree"
GPU_VARIABLE = "WARPTREE_GPU"
DEFAULT_GPU = "rtx_a6000"


class VirtualDriver(triton_driver.DriverBase):
    """A Triton driver whose GPU is `gpu_model.device.VirtualGPU`.

    Triton makes one with no arguments when `TRITON_DEFAULT_BACKEND=warptree`; `WARPTREE_GPU` then names
    the GPU.
    """

    def __init__(self, gpu: Any = None):
        from gpu_model.device import VirtualGPU
        from gpu_model.triton_backend import source_lines, tuning
        from gpu_model.triton_backend.launcher import make_launcher
        from gpu_model.triton_backend.utilities import Utilities

        # Triton 3.9 fuses multiply and add unless told otherwise and warns that this will change; keep its choice.
        os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
        tuning.install()
        if gpu is None:
            source_lines.install()
        self.gpu = gpu if gpu is not None else VirtualGPU(os.environ.get(GPU_VARIABLE, DEFAULT_GPU), kept=0)
        self.utils = Utilities(self.gpu)
        self.launcher_cls = make_launcher(self.gpu)

    @classmethod
    def is_active(cls) -> bool:
        """Active only when asked for by name, so that a machine with a GPU keeps its own driver."""
        return os.environ.get("TRITON_DEFAULT_BACKEND") == BACKEND

    def map_python_to_cpp_type(self, ty: str) -> str:
        """C++ type of a Triton type, as Triton's NVIDIA driver names it."""
        import triton.backends.nvidia.driver as nvidia

        return nvidia.ty_to_cpp(ty)

    def get_current_target(self) -> Any:
        """The compilation target: CUDA at the virtual GPU's compute capability."""
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.gpu.spec.arch, 32)

    def get_active_torch_device(self) -> Any:
        """Where kernels' tensors live: the CPU, which CUDA's names call cuda:0."""
        import torch

        return torch.device("cuda", 0) if self.gpu.cuda else torch.device("cpu")

    def get_device_interface(self) -> Any:
        """What `triton.testing` uses to wait and to take time: simulated time."""
        from gpu_model.triton_backend.utilities import DeviceInterface

        return DeviceInterface(self.gpu)

    def get_benchmarker(self) -> Any:
        """What the autotuner measures with: one run, in simulated time."""
        from gpu_model.triton_backend.tuning import run_once

        return run_once

    def get_empty_cache_for_benchmark(self) -> Any:
        """Nothing to flush: each launch starts with the caches its own configuration says."""
        import torch

        return torch.empty(1, dtype=torch.int32)

    def clear_cache(self, cache: Any) -> None:
        """Do nothing; see `get_empty_cache_for_benchmark`."""

    def get_current_device(self) -> int:
        """Number of the one device there is, different for each virtual GPU of a process."""
        return self.gpu.number

    def set_current_device(self, device: int) -> None:
        """Accept the one device there is.

        Raises:
            ValueError: any other device.
        """
        if device != self.gpu.number:
            raise ValueError(f"device {device}: the virtual GPU is device {self.gpu.number}")

    def get_current_stream(self, device: int | None = None) -> int:
        """The default stream; launches run in order."""
        return 0

    def get_device_capability(self, device: int = 0) -> tuple[int, int]:
        """Compute capability, for example (8, 6)."""
        return divmod(self.gpu.spec.arch, 10)
