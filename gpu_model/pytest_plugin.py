"""Run a test-suite written for a CUDA GPU without one: `pytest -p gpu_model.pytest_plugin --virtual-gpu rtx_a6000`.

The virtual GPU is there from before collection to the end of the run, under CUDA's names, and kernels take no CPU
tensors. Python processes that tests start find it too.

A suite's own fixtures go before the ones given here, which are those that Triton's tests expect.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gpu_model.child_processes import disinherit, inherited_by_children
from gpu_model.device import VirtualGPU
from hw.gpu_spec import GpuSpecError

_GPU = pytest.StashKey[VirtualGPU]()
_OPEN = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--virtual-gpu`."""
    group = parser.getgroup("warptree", "run CUDA tests on a virtual GPU")
    group.addoption("--virtual-gpu", metavar="GPU", default="rtx_a6000", help="name of a GPU, or a TOML file")
    group.addoption("--virtual-gpu-timing", action="store_true", help="time launches: CUDA events tell simulated time")


def pytest_configure(config: pytest.Config) -> None:
    """Put the virtual GPU to use before test modules ask what device there is."""
    name, timing = config.option.virtual_gpu, config.option.virtual_gpu_timing
    try:
        gpu = VirtualGPU(name, timing=timing, cuda=True, host_tensors=False)
    except GpuSpecError as error:
        raise pytest.UsageError(f"--virtual-gpu: {error}") from error
    disinherit()  # a worker of pytest-xdist is a child
    with ExitStack() as stack:
        config.stash[_GPU] = stack.enter_context(gpu)
        stack.enter_context(inherited_by_children(name, timing))
        config.stash[_OPEN] = stack.pop_all()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take it away again."""
    if _OPEN in config.stash:
        config.stash[_OPEN].close()


def pytest_report_header(config: pytest.Config) -> str:
    """Say which GPU."""
    spec = config.stash[_GPU].spec
    return f"virtual GPU: {spec.product} (sm_{spec.arch}), no hardware"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget the launches of the test before; this one's are remembered if it asks for `virtual_gpu`."""
    gpu = item.config.stash[_GPU]
    gpu.launches.clear()
    gpu.kept = 0


@pytest.fixture
def virtual_gpu(pytestconfig: pytest.Config) -> VirtualGPU:
    """The virtual GPU; its `launches` are this test's."""
    gpu = pytestconfig.stash[_GPU]
    gpu.kept = None
    return gpu


@pytest.fixture
def device() -> str:
    """Name of the device to test on."""
    return "cuda"


@pytest.fixture
def fresh_triton_cache() -> Iterator[str]:
    """An empty Triton cache for one test; its folder."""
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder, knobs.cache.scope(), knobs.runtime.scope():
        knobs.cache.dir = folder
        yield folder


def _knobs(**kept: Any) -> Iterator[Any]:
    from triton._internal_testing import _fresh_knobs_impl

    fresh, restore = _fresh_knobs_impl(**kept)
    try:
        yield fresh()
    finally:
        restore()


@pytest.fixture
def fresh_knobs() -> Iterator[Any]:
    """Triton's knobs at their defaults, but for those that find the compilers."""
    yield from _knobs(skipped_attr={"build", "nvidia", "amd"})


@pytest.fixture
def fresh_knobs_including_libraries() -> Iterator[Any]:
    """All of Triton's knobs at their defaults."""
    yield from _knobs()


@pytest.fixture
def with_allocator() -> Iterator[None]:
    """Memory for kernels that ask for scratch, from torch."""
    import torch
    import triton
    from triton.runtime._allocation import NullAllocator

    triton.set_allocator(lambda size, alignment, stream: torch.empty(size, dtype=torch.int8, device="cuda"))
    try:
        yield
    finally:
        triton.set_allocator(NullAllocator())
