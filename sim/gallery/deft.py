"""DeFT: branches of a tree that share a prompt read its keys and values once a step."""

from collections.abc import Iterator

from gpu_model import VirtualGPU
from sim.gallery.claim import Check, Curve, Entry, direction, within
from sim.gallery.hydragen import kv_bytes
from workloads.shared_prefix_attention import sample, shared_prefix_attention

_STEPS, _D = 400, 64
_PUBLISHED = {  # (branches, prompt): KV bytes saved over all steps, %
    (20, 1000): 79.2, (20, 4000): 90.5, (20, 20000): 94.1, (30, 1000): 80.6, (30, 4000): 92.1, (30, 20000): 95.7,
    (50, 1000): 81.7, (50, 4000): 93.3, (50, 20000): 97.0,
}  # fmt: skip
_BRANCHES, _TIMES = (
    20,
    {1000: 0.89, 4000: 1.58, 20000: 3.03},
)  # prompt: attention's time, one sequence at a time over flattened


def _checks() -> Iterator[Check | Curve]:
    for (branches, prompt), published in _PUBLISHED.items():
        yield within(f"{branches} branches, prompt {prompt}: KV bytes saved, counted", published,
                     _saved(branches, prompt), 0.3, "%")  # fmt: skip
    times = {}
    for prompt, published in _TIMES.items():
        saved, times[prompt] = _simulated(_BRANCHES, prompt)
        where = f"{_BRANCHES} branches, prompt {prompt}, the middle step simulated"
        yield within(f"{where}: KV bytes saved", _PUBLISHED[_BRANCHES, prompt], saved, 0.3, "%")
        yield direction(f"{where}: cycles of attention, apart over together", f"{published} times, every head",
                        f"{times[prompt]:.2f} times, one head", (times[prompt] > 1) == (published > 1))  # fmt: skip
    yield Curve(f"time of attention, apart over together, {_BRANCHES} branches", "tokens of the prompt", "times",
                {"published, every head": list(_TIMES.items()), "one head, simulated": list(times.items())},
                log_x=True)  # fmt: skip
    lengths = (250, 500, 1000, 2000, 4000, 8000, 20000)
    yield Curve("KV bytes saved over all steps", "tokens of the prompt", "%", {
        **{f"published, {width} branches": [(n, _PUBLISHED[width, n]) for w, n in _PUBLISHED if w == width]
           for width in (20, 50)},
        **{f"counted, {width} branches": [(n, _saved(width, n)) for n in lengths] for width in (20, 50)},
    }, log_x=True)  # fmt: skip


def _saved(branches: int, prompt: int) -> float:
    """Percentage of keys and values that branches need not read over all steps, the prompt once instead of each."""
    shared = sum(prompt + branches * step for step in range(1, _STEPS + 1))
    apart = sum(branches * (prompt + step) for step in range(1, _STEPS + 1))
    return 100 * (1 - shared / apart)


def _simulated(branches: int, prompt: int) -> tuple[float, float]:
    """Percentage of KV bytes saved at the middle step, and cycles of attention, apart over together."""
    q, prefix, suffix = sample(branches, prompt, _STEPS // 2, _D, "cpu")
    read, cycles = {}, {}
    for together in (True, False):
        with VirtualGPU("a100_sxm", timing=True) as gpu:
            shared_prefix_attention(q, prefix, suffix, together)
        read[together] = kv_bytes(gpu, branches, _D)
        cycles[together] = sum(launch.timing.cycles for launch in gpu.launches)
    return 100 * (1 - read[True] / read[False]), cycles[False] / cycles[True]


ENTRY = Entry(
    "deft",
    "a tree of generated branches reads the keys and values of their common prompt once a step",
    "Yao et al., DeFT, arXiv 2404.00242: reference runs of github.com/LINs-lab/DeFT, few-shot trees of 400 steps, "
    "Llama-3.1-8B, flattened against one sequence at a time",
    f"tokens counted, and workloads/shared_prefix_attention.py on a virtual A100, one head of {_D}",
    simulated=True,
    checks=_checks,
)
