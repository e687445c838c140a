import pytest

from gpu_model import VirtualGPU


@pytest.fixture(params=["rtx_a6000"])
def gpu(request):
    """A virtual GPU that Triton launches on, under CUDA's names."""
    with VirtualGPU(request.param, cuda=True, host_tensors=False) as device:
        yield device
