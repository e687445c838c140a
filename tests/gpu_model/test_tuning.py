"""`triton.autotune` and `do_bench` on virtual GPUs."""

import math
import re

import pytest
import torch
import triton
import triton.language as tl
import triton.testing
from triton.runtime.autotuner import Autotuner
from triton.runtime.errors import OutOfResources

from gpu_model import VirtualGPU
from gpu_model.errors import LaunchError

N = 4096


def _square(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + index, mask=index < n)
    tl.store(out_ptr + index, x * x, mask=index < n)


def _product(x_ptr, out_ptr, K: tl.constexpr):
    """A loop whose loads the compiler keeps in flight: 8 KiB of shared memory a stage."""
    i, j, k = tl.arange(0, 64)[:, None], tl.arange(0, 64)[None, :], tl.arange(0, 32)
    total = tl.zeros((64, 64), tl.float32)
    for start in range(0, K, 32):
        x = tl.load(x_ptr + i * K + start + k[None, :])
        total = tl.dot(x, tl.load(x_ptr + (start + k[:, None]) * 64 + j), total)
    tl.store(out_ptr + i * 64 + j, total)


def _staged(*stages):
    return triton.autotune([triton.Config({}, num_stages=count) for count in stages], key=[])(triton.jit(_product))


def _tuned(function, sizes, **options):
    configs = [triton.Config({"BLOCK": size}, num_warps=warps) for size, warps in sizes]
    return triton.autotune(configs, key=["n"], **options)(triton.jit(function))


def _launch(kernel):
    x, out = torch.arange(N, dtype=torch.float32), torch.empty(N)
    kernel[lambda meta: (triton.cdiv(N, meta["BLOCK"]),)](x, out, N)
    assert torch.equal(out, x * x)
    return kernel.best_config


def _cycles(size, warps):
    with VirtualGPU("rtx_a6000", timing=True) as gpu:
        x, out = torch.arange(N, dtype=torch.float32), torch.empty(N)
        triton.jit(_square)[(triton.cdiv(N, size),)](x, out, N, BLOCK=size, num_warps=warps)
        return gpu.launches[-1].timing.cycles


SIZES = [(4096, 1), (128, 4), (512, 4)]


def test_the_fastest_is_taken_and_each_runs_once():
    kernel = _tuned(_square, SIZES)
    with VirtualGPU("rtx_a6000", timing=True) as gpu:
        best = _launch(kernel)
        assert len(gpu.launches) == len(SIZES) + 1
    times = {size: _cycles(*size) for size in SIZES}
    assert times[best.kwargs["BLOCK"], best.num_warps] == min(times.values())
    assert len(set(times.values())) > 1


def test_without_timing_the_first_is_taken_and_nothing_runs_twice():
    kernel = _tuned(_square, SIZES)
    with VirtualGPU("rtx_a6000") as gpu:
        best = _launch(kernel)
        assert (best.kwargs["BLOCK"], best.num_warps) == SIZES[0]
        assert len(gpu.launches) == 1


@pytest.mark.parametrize("timing", [False, True])
def test_configurations_too_large_for_the_gpu_are_passed_over(timing):
    kernel = _staged(16, 2)
    x, out = torch.ones(64 * 512, dtype=torch.float16), torch.zeros(64 * 64)
    with VirtualGPU("rtx_a6000", timing=timing):
        kernel[(1,)](x, out, 512)
    assert kernel.best_config.num_stages == 2
    assert (out == 512).all()


def test_if_none_fits_the_last_failure_is_raised():
    x, out = torch.ones(64 * 512, dtype=torch.float16), torch.zeros(64 * 64)
    with VirtualGPU("rtx_a6000"), pytest.raises(triton.runtime.errors.OutOfResources, match="shared memory"):
        _staged(16, 15)[(1,)](x, out, 512)


def test_every_gpu_tunes_for_itself():
    kernel = _tuned(_square, SIZES, cache_results=True)
    with VirtualGPU("rtx_a6000", timing=True) as first:
        _launch(kernel)
        with VirtualGPU("rtx_a6000", timing=True, overrides={"sm_count": 1}) as second:
            _launch(kernel)
            _launch(kernel)
            assert len(second.launches) == len(SIZES) + 2
        _launch(kernel)
        assert len(first.launches) == len(SIZES) + 2


def test_what_a_kernel_adds_to_is_reset_between_configurations():
    def accumulate(out_ptr, n, BLOCK: tl.constexpr):
        tl.atomic_add(out_ptr + tl.arange(0, BLOCK), 1.0)

    kernel = _tuned(accumulate, [(64, 1), (128, 1), (256, 1)], reset_to_zero=["out_ptr"])
    for timing in (False, True):
        out = torch.zeros(N)
        with VirtualGPU("rtx_a6000", timing=timing):
            kernel[(1,)](out, N)
        assert out.sum() == kernel.best_config.kwargs["BLOCK"]


@pytest.mark.parametrize("timing", [False, True])
def test_hooks_see_the_configurations_that_do_not_fit(timing):
    seen, failures = [], []

    def before(arguments, reset_only=False):
        if not reset_only:
            seen.append(arguments["BLOCK"])

    def after(arguments, exception):
        failures.append((arguments["BLOCK"], type(exception)))

    kernel = _tuned(_square, [(512, 64), (1024, 4)], pre_hook=before, post_hook=after)
    with VirtualGPU("rtx_a6000", timing=timing):
        assert _launch(kernel).kwargs == {"BLOCK": 1024}
    assert seen[:2] == [512, 1024]
    assert failures == [(512, OutOfResources), (1024, type(None))]


def test_what_is_no_kernel_is_measured_as_it_asks():
    class Counter:
        fn = staticmethod(lambda: None)  # what an autotuner takes the name from
        ran: tuple[int, ...] = ()

        def run(self, SIZE, **_):
            self.ran += (SIZE,)

    def bench(call, quantiles):
        call()
        return [-counter.ran[-1]] * len(quantiles)

    counter = Counter()
    configs = [triton.Config({"SIZE": size}) for size in (1, 2, 3)]
    tuner = Autotuner(counter, [], configs, [], None, None, do_bench=bench)
    with VirtualGPU("rtx_a6000"):
        tuner.run()
    assert counter.ran == (1, 2, 3, 3)


@pytest.mark.parametrize("bench", ["do_bench", "do_bench_cudagraph"])
def test_do_bench_tells_simulated_milliseconds(bench):
    x, out = torch.arange(N, dtype=torch.float32), torch.empty(N)
    kernel = triton.jit(_square)
    with VirtualGPU("rtx_a6000", timing=True) as gpu:
        low, high = getattr(triton.testing, bench)(lambda: kernel[(8,)](x, out, N, BLOCK=512), quantiles=[0.2, 0.8])
        assert low == high == pytest.approx(gpu.launches[-1].timing.microseconds * 1e-3)
        assert len(gpu.launches) == 2


def test_do_bench_of_no_kernel_is_not_a_number():
    with VirtualGPU("rtx_a6000", timing=True), pytest.warns(UserWarning, match="launched no Triton kernel"):
        assert math.isnan(triton.testing.do_bench(lambda: torch.ones(4) + 1))


def test_do_bench_needs_simulated_time():
    with VirtualGPU("rtx_a6000"), pytest.raises(LaunchError, match="timing=True"):
        triton.testing.do_bench(lambda: None)


def test_ptx_in_place_of_tritons_may_declare_no_scratch_memory(tmp_path):
    """CUDA reads as many arguments as a kernel declares; Triton always passes two scratch pointers at the end."""
    x, out = torch.arange(N, dtype=torch.float32), torch.empty(N)
    path = tmp_path / "doubled.ptx"
    with VirtualGPU():
        ptx = triton.jit(_square)[(1,)](x, out, N, BLOCK=N).asm["ptx"]
        head, parameters, body = re.fullmatch(r"(.*?\.entry.*?\()(.*?)(\).*)", ptx, re.S).groups()
        kept = parameters.split(",")[:-2]
        assert len(kept) == 3
        path.write_text(head + ",".join(kept) + re.sub(r"mul(\.rn)?\.f32", "add.rn.f32", body))
        triton.autotune([triton.Config({"BLOCK": N}, ir_override=str(path))], key=[])(triton.jit(_square))[(1,)](
            x, out, N
        )
    assert torch.equal(out, x + x)
