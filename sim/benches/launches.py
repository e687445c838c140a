"""Launches to measure with: a workload's kernel, caught on its way to the virtual GPU."""

from collections.abc import Callable

import torch

from gpu_model import VirtualGPU
from gpu_model.launch import Launch
from hw.gpu_spec import GpuSpec


def catch(work: Callable[[], object], gpu: GpuSpec) -> Launch:
    """The last launch of `work`, which runs once; executing it again gives the same results."""
    caught: list[Launch] = []
    with VirtualGPU(gpu, on_launch=lambda record: caught.append(record.launch)):
        work()
    return caught[-1]


def half(*shape: int) -> torch.Tensor:
    """A seeded float16 tensor."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).half()
