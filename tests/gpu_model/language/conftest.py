import pytest

from gpu_model import VirtualGPU


@pytest.fixture(params=["rtx_a6000"])
def gpu(request):
    """A virtual GPU that Triton launches on."""
    with VirtualGPU(request.param) as device:
        yield device
