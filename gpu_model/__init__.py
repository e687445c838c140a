"""The GPU: decode a cubin, execute its SASS, time it on a cycle-level core."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpu_model.device import VirtualGPU

__all__ = ("VirtualGPU",)


def __getattr__(name: str) -> Any:
    # Triton imports this package when it looks for backends, before anything heavy should load.
    if name == "VirtualGPU":
        from gpu_model.device import VirtualGPU

        return VirtualGPU
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
