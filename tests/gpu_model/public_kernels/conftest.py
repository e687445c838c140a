"""Kernels from PyPI, `pip install -e '.[public-kernels]'`, on a virtual GPU under CUDA's names.

`pytest -m slow tests/gpu_model/public_kernels` runs them on an RTX A6000 (sm_86); with
`-p gpu_model.pytest_plugin --virtual-gpu h100_sxm` they run on that GPU.
"""

import importlib.util
import random

import pytest
import torch

from gpu_model import VirtualGPU

PLUGIN = "gpu_model.pytest_plugin"
PACKAGES = {"fla": "fla-core", "liger_kernel": "liger-kernel", "einops": "einops"}


@pytest.fixture(scope="session")
def gpu(pytestconfig):
    """The virtual GPU of the whole run: the packages ask for their GPU once, when imported."""
    missing = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; pip install -e '.[public-kernels]'")
    if pytestconfig.pluginmanager.hasplugin(PLUGIN):
        yield None
    else:
        with VirtualGPU("rtx_a6000", cuda=True, host_tensors=False) as device:
            yield device


@pytest.fixture(autouse=True)
def _same_numbers(gpu):
    torch.manual_seed(0)
    random.seed(0)
