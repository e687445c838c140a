"""`triton.autotune` and `triton.testing.do_bench` on a GPU whose every run takes the same simulated time.

With timing, each configuration runs once and the fastest is taken. Without, nothing tells them apart: the first that
compiles and fits the GPU is taken, and none is run to find out. Either choice is the same on every run.
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import triton.testing
from triton.compiler.errors import CompileTimeAssertionFailure
from triton.runtime import driver
from triton.runtime.autotuner import Autotuner, Config
from triton.runtime.errors import OutOfResources, PTXASError
from triton.runtime.jit import JITFunction


@dataclass
class _Choices:
    """What one autotuner chose, by number of the virtual GPU; None is whatever device the program has besides."""

    gpu: int | None
    caches: dict[int | None, dict]


_choices: WeakKeyDictionary[Autotuner, _Choices] = WeakKeyDictionary()


def _active_gpu() -> Any:
    return getattr(driver.active, "gpu", None)


def _milliseconds(gpu: Any, work: Callable[[], Any]) -> float:
    gpu.require_timing("benchmarking")
    seconds = gpu.seconds
    work()
    if gpu.seconds == seconds:
        warnings.warn(
            "a benchmarked function launched no Triton kernel; only kernels take simulated time, so it reads NaN",
            stacklevel=3,
        )
        return math.nan
    return (gpu.seconds - seconds) * 1e3


def run_once(work: Callable[[], Any], quantiles: Sequence[float]) -> list[float]:
    """Measure a configuration as Triton's autotuner asks: milliseconds of simulated time, for each quantile the same.

    Raises:
        LaunchError: the virtual GPU was made without timing.
    """
    return [_milliseconds(_active_gpu(), work)] * len(quantiles)


def _measured(work: Callable[[], Any], grad_to_none: Sequence[Any] | None, quantiles: Sequence[float] | None,
              return_mode: str) -> Any:  # fmt: skip
    """One run to compile and tune, and one that is measured: more would take the same simulated time."""
    gpu = _active_gpu()
    gpu.require_timing("benchmarking")
    work()
    for tensor in grad_to_none or ():
        tensor.grad = None
    return triton.testing._summarize_statistics([_milliseconds(gpu, work)], quantiles, return_mode)


def _is_kernel(function: Any) -> bool:
    """Whether an autotuner's function compiles, or is something else that only looks like a kernel."""
    while not isinstance(function, JITFunction) and hasattr(function, "fn"):
        function = function.fn
    return isinstance(function, JITFunction)


def _first_that_fits(tuner: Autotuner, configs: list[Config], keywords: dict[str, Any]) -> list[Config]:
    """The first configuration that compiles and fits, alone; hooks are called as if each had been run."""
    failure: Exception | None = None
    arguments: dict[str, Any] = tuner.nargs or {}
    for config in configs:
        chosen = {**keywords, **config.all_kwargs()}
        everything = {**arguments, **chosen}
        if config.pre_hook is not None:
            config.pre_hook(everything)
        tuner.pre_hook(everything)
        try:
            kernel: Any = tuner.fn.run(*arguments.values(), **{**chosen, "warmup": True})
            kernel._init_handles()
        except Exception as error:
            tuner.post_hook(everything, exception=error)
            if not isinstance(error, OutOfResources | CompileTimeAssertionFailure | PTXASError):
                raise
            failure = error
        else:
            tuner.post_hook(everything, exception=None)
            return [config]
    assert failure is not None
    raise failure


def _run(run: Callable) -> Callable:
    @functools.wraps(run)
    def run_for_active_gpu(tuner: Autotuner, *args: Any, **keywords: Any) -> Any:
        gpu = _active_gpu()
        number = None if gpu is None else gpu.number
        choices = _choices.setdefault(tuner, _Choices(None, {}))
        if number != choices.gpu:
            choices.caches[choices.gpu] = tuner.cache
            choices.gpu, tuner.cache = number, choices.caches.setdefault(number, {})
            vars(tuner).pop("do_bench", None)
        stored = tuner.cache_results
        # Triton stores choices by architecture alone; virtual GPUs of one architecture may differ in anything.
        tuner.cache_results = stored and gpu is None
        try:
            return run(tuner, *args, **keywords)
        finally:
            tuner.cache_results = stored

    return run_for_active_gpu


def _prune_configs(prune: Callable) -> Callable:
    @functools.wraps(prune)
    def prune_for_active_gpu(tuner: Autotuner, keywords: dict[str, Any]) -> list[Config]:
        configs, gpu = prune(tuner, keywords), _active_gpu()
        if gpu is None or gpu.timing or len(configs) == 1 or not _is_kernel(tuner.fn):
            return configs
        return _first_that_fits(tuner, configs, keywords)

    return prune_for_active_gpu


def _do_bench(otherwise: Callable) -> Callable:
    @functools.wraps(otherwise)
    def do_bench(fn: Callable[[], Any], warmup: float = 25, rep: float = 100, grad_to_none: Any = None,
                 quantiles: Any = None, return_mode: str = "mean") -> Any:  # fmt: skip
        if _active_gpu() is None:
            return otherwise(fn, warmup, rep, grad_to_none, quantiles, return_mode)
        return _measured(fn, grad_to_none, quantiles, return_mode)

    return do_bench


def _do_bench_cudagraph(otherwise: Callable) -> Callable:
    @functools.wraps(otherwise)
    def do_bench_cudagraph(fn: Callable[[], Any], rep: float = 20, grad_to_none: Any = None, quantiles: Any = None,
                           return_mode: str = "mean") -> Any:  # fmt: skip
        if _active_gpu() is None:
            return otherwise(fn, rep, grad_to_none, quantiles, return_mode)
        return _measured(fn, grad_to_none, quantiles, return_mode)

    return do_bench_cudagraph


@functools.cache
def install() -> None:
    """Make Triton's autotuner and benchmarks right for virtual GPUs; on other devices they do what they did."""
    Autotuner.run = _run(Autotuner.run)
    Autotuner.prune_configs = _prune_configs(Autotuner.prune_configs)
    triton.testing.do_bench = _do_bench(triton.testing.do_bench)
    triton.testing.do_bench_cudagraph = _do_bench_cudagraph(triton.testing.do_bench_cudagraph)
