"""The virtual GPU that every workload test runs on."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def gpu() -> Iterator[object]:
    """Make a virtual RTX A6000 (sm_86) Triton's active device."""
    from gpu_model import VirtualGPU

    with pytest.MonkeyPatch.context() as patch, VirtualGPU("rtx_a6000") as device:
        patch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # exact results depend on it, and its default is about to change
        yield device
