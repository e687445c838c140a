"""The virtual GPU as Triton sees it."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import driver

from gpu_model import VirtualGPU
from gpu_model.errors import LaunchError, UnsupportedInstruction
from hw.gpu_spec import GpuSpecError, load_gpu


@triton.jit
def mixed(x_ptr, out_ptr, i8: tl.int8, i64, half: tl.float16, single, flag, pair, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    value = tl.load(x_ptr + index).to(tl.float64) + i8 + i64 + half + single + pair[0] * pair[1]
    tl.store(out_ptr + index, tl.where(flag, value, -value))


@triton.jit
def programs(out_ptr):
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    nx, ny = tl.num_programs(0), tl.num_programs(1)
    tl.store(out_ptr + x + nx * (y + ny * z), x + 100 * y + 10000 * z)


@triton.jit
def asks_where_it_runs(out_ptr):
    sm = tl.inline_asm_elementwise("mov.u32 $0, %smid;", "=r", [], dtype=tl.int32, is_pure=True, pack=1)
    sms = tl.inline_asm_elementwise("mov.u32 $0, %nsmid;", "=r", [], dtype=tl.int32, is_pure=True, pack=1)
    tl.store(out_ptr + 2 * tl.program_id(0), sm)
    tl.store(out_ptr + 2 * tl.program_id(0) + 1, sms)


@triton.jit
def asks_for_shared_memory(x_ptr):
    tl.store(x_ptr, 1.0)
    size = tl.inline_asm_elementwise("mov.u32 $0, %total_smem_size;", "=r", [], dtype=tl.int32, is_pure=True, pack=1)
    tl.store(x_ptr + 1, size)


def test_arguments_of_every_kind():
    x, out = torch.arange(128, dtype=torch.float32), torch.zeros(128, dtype=torch.float64)
    with VirtualGPU("rtx_a6000"):
        mixed[(1,)](x, out, -3, 1 << 40, 0.5, 0.25, False, (2, 3.0), BLOCK=128)
    assert torch.equal(out, -(x.double() - 3 + (1 << 40) + 0.5 + 0.25 + 6))


def test_a_record_prints_in_a_few_words_and_knows_what_it_was_compiled_for():
    x, out = torch.arange(128, dtype=torch.float32), torch.zeros(128, dtype=torch.float64)
    with VirtualGPU("rtx_a6000", timing=True) as gpu:
        mixed[(1,)](x, out, 1, 1 << 40, 0.5, 0.25, False, (2, 3.0), BLOCK=128, num_warps=2, num_stages=5)
    record = gpu.launches[0]
    assert record.launch.compiled_for == (("BLOCK", "128"), ("num_warps", "2"), ("num_stages", "5"))
    assert "array" not in repr(record)
    assert f"cycles={record.timing.cycles}" in repr(record)
    assert len(repr(record)) < 1000


def test_grid_coordinates():
    out = torch.zeros(2 * 3 * 4, dtype=torch.int32)
    with VirtualGPU("rtx_a6000") as gpu:
        programs[(2, 3, 4)](out)
    want = [x + 100 * y + 10000 * z for z in range(4) for y in range(3) for x in range(2)]
    assert out.tolist() == want
    assert (gpu.launches[0].grid, gpu.launches[0].kernel) == ((2, 3, 4), "programs")


@pytest.mark.parametrize("kept", [None, 0, 2])
def test_as_many_records_are_kept_as_asked(kept):
    out = torch.zeros(3, dtype=torch.int32)
    with VirtualGPU("rtx_a6000", kept=kept) as gpu:
        for blocks in (1, 2, 3):
            programs[(blocks, 1, 1)](out)
    assert [record.grid[0] for record in gpu.launches] == {None: [1, 2, 3], 0: [], 2: [2, 3]}[kept]


def test_empty_grid_runs_nothing():
    out = torch.zeros(1, dtype=torch.int32)
    with VirtualGPU("rtx_a6000") as gpu:
        programs[(0, 1, 1)](out)
    assert sum(record.instructions for record in gpu.launches) == 0


def test_views_and_offsets():
    base = torch.zeros(64)
    out = torch.zeros(16, dtype=torch.float64)
    base[16:32] = 1.0
    with VirtualGPU("rtx_a6000"):
        mixed[(1,)](base[16:], out, 0, 0, 0.0, 0.0, True, (0, 0.0), BLOCK=16)
    assert out.tolist() == [1.0] * 16


def test_the_driver_before_comes_back():
    before = driver._active
    with VirtualGPU("rtx_a6000"):
        assert driver.active.get_active_torch_device() == torch.device("cpu")
        target = driver.active.get_current_target()
        assert (target.backend, target.arch, target.warp_size) == ("cuda", 86, 32)
    assert driver._active is before


def test_tensors_elsewhere_are_refused():
    with VirtualGPU("rtx_a6000"), pytest.raises(LaunchError, match=r"argument out_ptr is a tensor on meta, .* CPU"):
        programs[(1,)](torch.zeros(4, dtype=torch.int32, device="meta"))


def test_grid_limits_are_named():
    with VirtualGPU("rtx_a6000"), pytest.raises(LaunchError, match="grid y is 70000, legal 0 to 65535"):
        programs[(1, 70000)](torch.zeros(4, dtype=torch.int32))


def test_unsupported_opcode_is_named_before_anything_runs():
    x = torch.zeros(2)
    with VirtualGPU("rtx_a6000"), pytest.raises(UnsupportedInstruction) as caught:
        asks_for_shared_memory[(1,)](x)
    message = str(caught.value)
    for word in ("kernel asks_for_shared_memory", "PC 0x", "test_device.py:", "sm_86", "SR_SMEMSZ"):
        assert word in message, message
    assert x.tolist() == [0, 0]


@pytest.mark.parametrize("gpu", ["rtx_a6000", "h100_sxm", "rtx_5090"])
def test_blocks_know_their_sm(gpu):
    sms, blocks = load_gpu(gpu).sm_count, 200
    out = torch.zeros(blocks, 2, dtype=torch.int32)
    with VirtualGPU(gpu):
        asks_where_it_runs[(blocks,)](out)
    assert out[:, 0].tolist() == [block % sms for block in range(blocks)]
    assert out[:, 1].tolist() == [sms] * blocks


def test_timing_is_deterministic_and_advances_the_clock():
    out = torch.zeros(24, dtype=torch.int32)
    cycles = []
    for _ in range(2):
        with VirtualGPU("rtx_a6000", timing=True) as gpu:
            programs[(2, 3, 4)](out)
        timing = gpu.launches[0].timing
        cycles.append(timing.cycles)
        assert gpu.seconds == pytest.approx(timing.cycles / timing.clock_mhz * 1e-6)
    assert cycles[0] == cycles[1] > 0


def test_events_need_timing():
    with VirtualGPU("rtx_a6000"), pytest.raises(LaunchError, match="timing=True"):
        driver.active.get_device_interface().Event(enable_timing=True)


def test_unknown_gpu_is_named():
    with pytest.raises(GpuSpecError, match="rtx_a6000"):
        VirtualGPU("rtx_nothing")


SCRIPT = """
import torch, triton, triton.language as tl
@triton.jit
def double(x_ptr, n, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + index, 2 * tl.load(x_ptr + index, mask=index < n), mask=index < n)
DEVICE = triton.runtime.driver.active.get_active_torch_device()
x = torch.arange(1000, device=DEVICE)
double[(8,)](x, 1000, BLOCK=128)
print(int(x.sum()), DEVICE)
"""


def test_an_untouched_script_by_environment(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    environment = {**os.environ, "TRITON_DEFAULT_BACKEND": "warptree"}
    done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(999 * 1000), "cpu"], done.stderr
    assert done.stderr == ""


def test_results_do_not_depend_on_timing():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=128).astype(np.float32))
    results = []
    for timing in (False, True):
        out = torch.zeros(128, dtype=torch.float64)
        with VirtualGPU("rtx_a6000", timing=timing):
            mixed[(1,)](x, out, 1, 2, 3.0, 4.0, True, (5, 6.0), BLOCK=128)
        results.append(out)
    assert torch.equal(*results)


@triton.jit
def _double_kernel(x_ptr):
    at = tl.arange(0, 32)
    tl.store(x_ptr + at, 2 * tl.load(x_ptr + at))


def test_a_kernel_runs_on_one_gpu_after_another():
    x = torch.ones(32)
    for count, name in enumerate(("rtx_a6000", "h100_sxm", "rtx_5090", "rtx_a6000"), 1):
        with VirtualGPU(name) as gpu:
            _double_kernel[(1,)](x)
        assert (x == 2.0**count).all()
        assert [record.launch.program.arch for record in gpu.launches] == [gpu.spec.arch]


@triton.jit
def through_shared(x_ptr, out_ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row, column = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    x = tl.load(x_ptr + row[:, None] * COLUMNS + column[None, :])
    tl.store(out_ptr + column[:, None] * ROWS + row[None, :], tl.trans(x))


@pytest.mark.parametrize("name", ["rtx_a6000", "h100_sxm", "rtx_5090"])
def test_a_block_may_have_all_the_shared_memory_there_is(name):
    """The 1024 bytes of each block that the system takes are not the block's: ptxas counts them from sm_90 on."""
    x, out = torch.arange(64 * 64.0).reshape(64, 64), torch.empty(64, 64)
    with VirtualGPU(name) as gpu:
        kernel = through_shared[(1,)](x, out, 64, 64)
    shared, limits = kernel.metadata.shared, gpu.spec.limits
    assert gpu.launches[-1].shared_bytes == shared > 0
    tight = gpu.spec.model_copy(update={"limits": limits.model_copy(update={"shared_bytes_per_block": shared})})
    with VirtualGPU(tight):
        through_shared[(1,)](x, out, 64, 64)
    assert torch.equal(out, x.T)


_MODULE = """
import triton
import triton.language as tl


@triton.jit
def store_one(out_ptr):
    tl.store(out_ptr, 1.0)
"""


def test_lines_are_in_the_file_that_runs_whoever_compiled_it_first(tmp_path):
    """Triton's cache is by content: the second folder gets the first one's cubin, with the first one's paths."""
    with triton.knobs.cache.scope():
        triton.knobs.cache.dir = str(tmp_path / "cache")
        for folder in ("first", "second"):
            path = tmp_path / folder / "kernels_of_a_test.py"
            path.parent.mkdir()
            path.write_text(_MODULE)
            spec = importlib.util.spec_from_file_location(f"kernels_{folder}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            with VirtualGPU() as gpu:
                module.store_one[(1,)](torch.zeros(1))
            program = gpu.launches[-1].launch.program
            store = program.text.index(next(text for text in program.text if "STG" in text))
            assert program.where(store).endswith(f"{path}:8")
    assert len(list((tmp_path / "cache").glob("*/store_one.cubin"))) == 1
