"""Capturing launches from Triton's real driver, with a stand-in whose GPU is ours.

The stand-in is all that a GPU adds: functions are numbers, as CUDA's handles are, and the launcher takes what
`CudaLauncher` takes. Everything from the wrapped driver to the file is the code that runs on a GPU.
"""

import itertools

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import driver
from triton.tools.tensor_descriptor import TensorDescriptor

from gpu_model import VirtualGPU
from gpu_model.capture import CapturingDriver, capturing, nvidia_gpu
from gpu_model.errors import CaptureError
from gpu_model.execute import Machine, execute
from gpu_model.launch_file import Origin, read_launch
from gpu_model.recorder import LaunchRecorder
from gpu_model.triton_backend.driver import VirtualDriver

MEASURED = Origin(kind="measured", gpu="Stand-in 1000", driver="1.2.3")


class StandIn(VirtualDriver):
    """Triton's driver of a GPU, as far as a launch can tell."""

    def __init__(self, gpu: VirtualGPU):
        super().__init__(gpu)
        self.waits = 0
        load, launcher = self.utils.load_binary, self.launcher_cls
        handles, functions = itertools.count(0x5000), {}

        def load_binary(name, image, shared, device):
            module, function, *rest = load(name, image, shared, device)
            functions[handle := next(handles)] = function
            return module, handle, *rest

        class Launcher(launcher):
            def __call__(self, x, y, z, stream, function, *rest):
                super().__call__(x, y, z, stream, functions[function], *rest)

        self.utils.load_binary, self.launcher_cls = load_binary, Launcher

    def get_device_interface(self):
        self.waits += 1
        return super().get_device_interface()


@triton.jit
def scale(x_ptr, out_ptr, missing_ptr, factor, n, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + index, tl.load(x_ptr + index, mask=index < n) * factor, mask=index < n)
    if missing_ptr is not None:
        tl.store(missing_ptr + index, 1, mask=index < n)


@triton.jit
def copy_tile(source, target, BLOCK: tl.constexpr):
    target.store([0, 0], source.load([0, 0]))


@pytest.fixture
def capture(tmp_path):
    """Run `work` under capture on the stand-in of a GPU; returns the recorder."""

    def run(work, gpu="rtx_a6000", **options):
        recorder = LaunchRecorder(tmp_path, MEASURED, **options)
        real = StandIn(VirtualGPU(gpu))
        before = driver._active
        with capturing(real, recorder):
            assert isinstance(driver.active, CapturingDriver)
            assert driver.active.get_current_target().arch == real.gpu.spec.arch
            work()
        assert driver._active is before
        assert real.waits >= 2 * len(recorder.files)
        return recorder

    return run


def replays(path) -> dict[str, np.ndarray]:
    """Replay a file; its compared tensors, after checking them."""
    stored = read_launch(path)
    launch = stored.launch()
    execute(Machine(launch))
    compared = {}
    for segment, got, expected in zip(stored.segments, launch.memory(), stored.after, strict=True):
        if expected is not None:
            assert np.array_equal(got, expected), segment.name
            compared[segment.name] = expected
    return compared


def test_outputs_of_the_gpu_are_what_replays_give(capture):
    x, out = torch.arange(100.0), torch.zeros(200)
    recorder = capture(lambda: scale[(2,)](x, out[100:], None, 3.0, 100, BLOCK=64))
    assert torch.equal(out[100:], 3 * x)
    (path,) = recorder.files
    stored = read_launch(path)
    assert stored.origin == MEASURED
    before = {s.name: content for s, content in zip(stored.segments, stored.before, strict=True)}
    assert not before["out_ptr"].any()
    compared = replays(path)
    assert set(compared) == {"x_ptr", "out_ptr"}
    assert np.array_equal(compared["out_ptr"].view(np.float32), out.numpy())
    assert {s.name: s.address for s in stored.segments}["out_ptr"] == out.data_ptr()


def test_only_what_is_wanted_is_copied(capture):
    x, out = torch.arange(100.0), torch.zeros(100)

    def work():
        for _ in range(3):
            scale[(2,)](x, out, None, 3.0, 100, BLOCK=64)

    assert len(capture(work, limit=2).files) == 2
    assert capture(work, kernel="other*").files == []
    assert torch.equal(out, 3 * x)


def test_tensor_maps_are_captured(capture):
    source, target = (
        torch.arange(32 * 64, dtype=torch.float16).reshape(32, 64),
        torch.zeros(32, 64, dtype=torch.float16),
    )

    def work():
        pieces = [TensorDescriptor(t, [32, 64], [64, 1], [32, 64]) for t in (source, target)]
        copy_tile[(1,)](*pieces, BLOCK=32)

    recorder = capture(work, gpu="h100_sxm")
    assert torch.equal(source, target)
    stored = read_launch(recorder.files[0])
    assert [a.kind for a in stored.arguments].count("nvTmaDesc") == 2
    assert np.array_equal(replays(recorder.files[0])["target"], target.numpy().view(np.uint8).reshape(-1))


class Opaque:
    """An argument with an address and no memory that could be copied."""

    dtype = torch.int32

    def data_ptr(self) -> int:
        return 0x1230


def test_launches_that_cannot_be_captured_run_and_are_named(capture):
    x, out = torch.arange(10.0), torch.zeros(10)

    def work():
        scale[(1,)](x, out, Opaque(), 1.0, 0, BLOCK=64)
        scale[(1,)](x, out, None, 2.0, 10, BLOCK=64)

    recorder = capture(work)
    assert recorder.skipped == [
        "scale: launch of scale cannot be saved: argument missing_ptr points to 0x1230, which belongs to no tensor of "
        "the launch"
    ]
    assert len(recorder.files) == 1
    assert torch.equal(out, 2 * x)


def test_no_gpu_is_a_plain_error():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(CaptureError, match="no NVIDIA driver: .*`warptree run --save-launches DIR SCRIPT`"):
        nvidia_gpu()
