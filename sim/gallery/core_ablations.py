"""Parts of an NVIDIA core switched off: which way cycles go, and how far."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from gpu_model.execute import Machine, execute_traced
from gpu_model.launch import Launch
from gpu_model.timing import time_launch
from gpu_model.trace import BlockTrace
from hw.gpu_spec import load_gpu
from sim.benches.launches import catch
from sim.console import plural
from sim.gallery.claim import Check, Curve, Entry, direction
from workloads.flash_attention import flash_attention
from workloads.matmul import matmul
from workloads.matmul_float32 import matmul_float32
from workloads.softmax import softmax

_GPU, _FEW = "rtx_a6000", {"sm_count": 8}  # so that small launches fill the SMs
_LINES, _REUSE, _PORTS = "core.icache.prefetch_lines", "core.rf.reuse_cache", "core.rf.read_ports"
_PERFECT = "core.icache.perfect"
_PREFETCHED = {1: 1.08, 2: 1.19, 4: 1.29, 8: 1.37, 16: 1.40, 32: 1.40}  # lines, and speed-up over none
_SGEMM = "matmul_float32"
Changes = Mapping[str, int | bool | str]


@dataclass(frozen=True)
class _Executed:
    """A kernel that ran once and is timed on many cores."""

    launch: Launch
    traces: list[BlockTrace]

    def cycles(self, changes: Changes) -> int:
        """On the GPU with some fields changed."""
        launch = self.launch
        return time_launch(
            launch.program, self.traces, load_gpu(_GPU, {**_FEW, **changes}), grid=launch.grid,
            block_threads=launch.threads, shared_bytes=launch.shared_bytes, regions=launch.regions,
        ).cycles  # fmt: skip


def _checks() -> Iterator[Check | Curve]:
    kernels = {work.__name__.strip("_"): _executed(work) for work in (_softmax, _matmul, _attention, _matmul_float32)}

    def cycles(changes: Changes) -> dict[str, int]:
        return {name: kernel.cycles(changes) for name, kernel in kernels.items()}

    usual, fetched = cycles({}), cycles({_LINES: 0})
    prefetch = {lines: _speed(fetched, cycles({_LINES: lines})) for lines in _PREFETCHED}
    yield from _prefetch(prefetch, _speed(fetched, cycles({_PERFECT: True})))
    yield Curve("instruction prefetch: speed-up over none", "lines", "times",
                {"published, mean of 128 programs": list(_PREFETCHED.items()),
                 "ours, mean of four kernels": list(prefetch.items())}, log_x=True)  # fmt: skip
    ports = {"one read port a bank, no reuse cache": cycles({_REUSE: False}),
             "two read ports, no reuse cache": cycles({_REUSE: False, _PORTS: 2}),
             "any number of read ports": cycles({_PORTS: "ideal"})}  # fmt: skip
    yield from _register_file(usual, ports)
    for consumers, published in ((1, 0.95), (3, 0.98), (63, 0.98), ("unlimited", 0.98)):
        scoreboard = {"core.dependence.mechanism": "scoreboard", "core.dependence.consumers": consumers}
        speed = _speed(usual, cycles(scoreboard))
        yield direction(f"a scoreboard, most consumers it can count {consumers}: speed over control bits",
                        f"{published} times", f"{speed:.3f} times", 0.93 < speed < 1.01)  # fmt: skip


def _prefetch(faster: Mapping[int, float], perfect: float) -> Iterator[Check]:
    for lines, published in _PREFETCHED.items():
        if lines <= 8:
            less = max([1.0, *(faster[fewer] for fewer in faster if fewer < lines)])
            yield direction(f"prefetch of {plural(lines, 'line')}: speed over none", f"{published:.2f} times",
                            f"{faster[lines]:.2f} times", faster[lines] > less)  # fmt: skip
    gain = faster[32] / faster[8]
    yield direction("32 lines: speed over 8", "1.02 times", f"{gain:.2f} times", abs(gain - 1) < 0.03)
    yield direction("an instruction cache that never misses: speed over no prefetch", "1.50 times",
                    f"{perfect:.2f} times", perfect > faster[4])  # fmt: skip


def _register_file(usual: Mapping[str, int], ports: Mapping[str, Mapping[str, int]]) -> Iterator[Check]:
    """Read ports of a register bank, beside one port with the reuse cache."""
    mean = {name: _speed(usual, cycles) for name, cycles in ports.items()}
    sgemm = {name: usual[_SGEMM] / cycles[_SGEMM] for name, cycles in ports.items()}
    for what, speed, published in (("", mean, (0.974, 1.006, 1.008)),
                                   (", float32 product alone", sgemm, (0.69, 1.02, 1.02))):  # fmt: skip
        for (name, ours), theirs in zip(speed.items(), published, strict=True):
            holds = (ours < 1) == (theirs < 1)
            yield direction(
                f"{name}{what}: speed over one port with it", f"{theirs:g} times", f"{ours:.3f} times", holds
            )


def _executed(work: Callable[[], object]) -> _Executed:
    launch = catch(work, load_gpu(_GPU))
    return _Executed(launch, list(execute_traced(Machine(launch, trace=True))))


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _softmax() -> None:
    softmax(_normal(1024, 1000), programs=48)


def _matmul() -> None:
    a, b = _normal(2, 512, 512).half()
    matmul(a, b)


def _attention() -> None:
    q, k, v = _normal(3, 1, 8, 512, 64).half()
    flash_attention(q, k, v)


def _matmul_float32() -> None:
    a, b = _normal(2, 256, 256)
    matmul_float32(a, b)


def _speed(before: Mapping[str, int], after: Mapping[str, int]) -> float:
    """Geometric mean of the kernels' speed-ups."""
    return math.exp(sum(math.log(before[name] / after[name]) for name in before) / len(before))


ENTRY = Entry(
    "core-ablations",
    "instructions must be prefetched, 8 lines are enough; a scoreboard is no faster than control bits; a reuse cache "
    "saves a register bank its second read port",
    "Huerta et al., Dissecting and Modeling the Architecture of Modern GPU Cores, MICRO 2025, ablations on the RTX "
    "A6000: mean of 128 programs, and Cutlass's SGEMM (CUDA 12.8)",
    "workloads' softmax, float16 and float32 product, and flash attention on a virtual RTX A6000 of 8 SMs",
    simulated=True,
    checks=_checks,
)
