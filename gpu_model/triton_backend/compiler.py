"""The compiler half of the backend: Triton's own NVIDIA compiler does all the work.

Kernels target `cuda`, so that scripts which ask for the backend see what they would see on a GPU.
"""

import triton.backends.nvidia.compiler as nvidia


class VirtualCompiler(nvidia.CUDABackend):
    """Claims no target of its own."""

    @staticmethod
    def supports_target(target) -> bool:  # noqa: ANN001 - Triton's GPUTarget
        """Leave every target to Triton's NVIDIA backend."""
        return False
