"""The virtual GPUs that workload tests run on."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def gpu() -> Iterator[object]:
    """Make a virtual RTX A6000 (sm_86) Triton's active device."""
    from gpu_model import VirtualGPU

    with pytest.MonkeyPatch.context() as patch, VirtualGPU("rtx_a6000") as device:
        patch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # exact results depend on it, and its default is about to change
        yield device


@pytest.fixture(scope="module", params=["a100_sxm", "rtx_a6000", "rtx_4090", "h100_sxm", "rtx_5090"])
def checked_gpu(request) -> Iterator[object]:
    """Make a virtual GPU of each architecture (sm_80, sm_86, sm_89, sm_90, sm_120) Triton's device, with checks on."""
    from gpu_model import VirtualGPU

    with pytest.MonkeyPatch.context() as patch, VirtualGPU(request.param, check=True) as device:
        patch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
        yield device
