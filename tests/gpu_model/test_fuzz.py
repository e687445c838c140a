"""Damaged files and damaged kernels: an error of ours or a result, never a crash or a hang.

11,000 files are read in the quick run; those whose code is touched are disassembled and, like launches with damaged
parameters, executed under a limit.
"""

import contextvars
import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from gpu_model import VirtualGPU
from gpu_model.cubin import read_cubin
from gpu_model.decode import decode
from gpu_model.errors import CubinError, GpuError, LaunchFileError
from gpu_model.execute import Machine, execute
from gpu_model.launch_file import Origin, StoredLaunch, read_launch
from gpu_model.recorder import LaunchRecorder
from tests.gpu_model.forge import Forged
from tests.gpu_model.mutate import code_edited, damaged, json_edited, section_edited, spliced

GPUS = ("a100_sxm", "rtx_a6000", "h100_sxm", "rtx_5090")
CALL_HOST = ("a100_sxm", "rtx_a6000")  # whose calls of vprintf and __assertfail the machine models
MOST_INSTRUCTIONS = 20_000


@triton.jit
def tile(a_ptr, b_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Shared memory, tensor cores, a loop, a reduction."""
    row, column = tl.arange(0, BLOCK)[:, None], tl.arange(0, BLOCK)[None, :]
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for k in range(0, n, BLOCK):
        a = tl.load(a_ptr + row * n + k + column)
        total += tl.dot(a, tl.load(b_ptr + (k + row) * BLOCK + column))
    total -= tl.max(total, axis=1)[:, None]
    tl.store(out_ptr + row * BLOCK + column, tl.exp(total))


@triton.jit
def chatty(x_ptr, count_ptr, BLOCK: tl.constexpr):
    """Atomics, strings in the kernel's own data, calls of the host."""
    index = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + index)
    tl.store(x_ptr + index, tl.atomic_add(count_ptr + x % 4, 1, sem="relaxed"))
    tl.device_assert(x >= 0, "negative")
    tl.device_print("sum", tl.sum(x, 0))


@triton.jit
def boxes(source, out_ptr, n, BLOCK: tl.constexpr):
    """Tensor maps and mbarriers, where the GPU has them."""
    rows = tl.make_tensor_descriptor(source, [n, BLOCK], [BLOCK, 1], [16, BLOCK])
    index = tl.arange(0, 16)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    tl.store(out_ptr + index, rows.load([tl.program_id(0) * 16, 0]) + 1)


def _work(gpu: str) -> None:
    a, b, out = torch.ones(32, 64, dtype=torch.float16), torch.ones(64, 32, dtype=torch.float16), torch.zeros(32, 32)
    tile[(1,)](a, b, out, 64, BLOCK=32, num_warps=2)
    if gpu in CALL_HOST:
        chatty[(1,)](torch.arange(64, dtype=torch.int32), torch.zeros(4, dtype=torch.int32), BLOCK=64, debug=True)
    triton.set_allocator(lambda size, align, stream: torch.empty(size, dtype=torch.int8))
    boxes[(2,)](torch.arange(32 * 64, dtype=torch.float32).reshape(32, 64), torch.zeros(16, 64), 32, BLOCK=64)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Launch files of three kernels on four architectures."""
    folder = tmp_path_factory.mktemp("seeds")
    for gpu in GPUS:
        recorder = LaunchRecorder(folder, Origin(kind="simulated", gpu=gpu))
        with VirtualGPU(gpu, recorder=recorder):
            contextvars.copy_context().run(_work, gpu)  # Triton's allocator is set in there only
        assert not recorder.skipped
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def launches(files) -> list[StoredLaunch]:
    return [read_launch(path) for path in files]


def outcome(work: Callable[[], object], *errors: type[GpuError]) -> str:
    """ "read", or the name of the error among those allowed; anything else escapes."""
    try:
        work()
    except errors as error:
        return type(error).__name__
    return "read"


@pytest.mark.parametrize("seed", range(3))
def test_damaged_cubins(seed, launches):
    rng, images, seen = np.random.default_rng(seed), [launch.cubin for launch in launches], Counter()
    for case in range(2000):
        image = images[rng.integers(len(images))]
        if case % 3 == 0:
            image = damaged(rng, image)
        elif case % 3 == 1:
            image = spliced(rng, image, images)
        else:
            image = section_edited(rng, image)
        seen[outcome(lambda image=image: read_cubin(image), CubinError)] += 1
    assert seen["read"] > 100
    assert seen["CubinError"] > 500


@pytest.mark.parametrize("seed", range(2))
def test_damaged_launch_files(seed, files, tmp_path):
    """Any bytes; headers with right checksums and wrong values; sections with right checksums and wrong contents."""
    rng, images, seen = np.random.default_rng(seed), [path.read_bytes() for path in files], Counter()
    path = tmp_path / "damaged.launch"
    for case in range(2500):
        image = images[rng.integers(len(images))]
        forged = Forged.take_apart(image)
        if case % 5 == 0:
            image = damaged(rng, image)
        elif case % 5 == 1:
            number = int(rng.integers(len(forged.stored)))
            forged.store(number, damaged(rng, forged.stored[number]))
            image = forged.join()
        else:
            forged.header = json_edited(rng, forged.header)
            image = forged.join()
        path.write_bytes(image)
        seen[outcome(lambda: read_launch(path), LaunchFileError)] += 1
    assert seen["read"] > 100
    assert seen["LaunchFileError"] > 500


def attempt(stored: StoredLaunch, image: bytes) -> None:
    """Execute a stored launch with other code, on two threads, for a while."""
    program, _ = decode(image)
    launch = dataclasses.replace(stored.launch(), program=program, cubin=image)
    execute(Machine(launch, threads=2, max_instructions=MOST_INSTRUCTIONS))


@pytest.mark.parametrize("seed", range(2))
def test_damaged_code_executes_or_is_refused(seed, launches, capsys):
    rng, seen = np.random.default_rng(seed), Counter()
    for _ in range(50):
        stored = launches[rng.integers(len(launches))]
        image = code_edited(rng, stored.cubin, stored.resources.code)
        seen[outcome(lambda stored=stored, image=image: attempt(stored, image), GpuError)] += 1
    assert seen["read"] > 5
    assert len(seen) > 2


def test_damaged_launches_execute_or_are_refused(launches, capsys):
    """Wild pointers, counts and tensor maps, memory that moved, and grids and blocks of other sizes."""
    rng, seen = np.random.default_rng(0), Counter()
    for case in range(600):
        stored = launches[rng.integers(len(launches))]
        if case % 3 == 0:
            parameters = damaged(rng, stored.parameters)[: len(stored.parameters)]
            stored = dataclasses.replace(stored, parameters=parameters.ljust(len(stored.parameters), b"\xff"))
        elif case % 3 == 1:
            before = [
                np.frombuffer(damaged(rng, content.tobytes()).ljust(len(content), b"\x7f")[: len(content)], np.uint8)
                for content in stored.before
            ]
            stored = dataclasses.replace(stored, before=tuple(before))
        else:
            grid = tuple(int(size) for size in rng.choice([0, 1, 2, 7, 65535, 1 << 31], 3))
            stored = dataclasses.replace(
                stored, grid=grid, threads=int(rng.choice([0, 1, 31, 33, 64, 1024, 1025])),
                shared_bytes=int(rng.choice([0, 16, 1000, stored.shared_bytes])),
            )  # fmt: skip
        seen[outcome(lambda stored=stored: attempt(stored, stored.cubin), GpuError)] += 1
    assert seen["read"] > 20
    assert {"MemoryFault", "LaunchError", "ExecutionError"} <= set(seen)
