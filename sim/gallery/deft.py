"""DeFT: branches of a tree that share a prompt read its keys and values once a step."""

from collections.abc import Iterator

from gpu_model import VirtualGPU
from sim.gallery.claim import Check, Entry, within
from sim.gallery.hydragen import kv_bytes
from workloads.shared_prefix_attention import sample, shared_prefix_attention

_STEPS, _D = 400, 64
_PUBLISHED = {  # (branches, prompt): KV bytes saved over all steps, %
    (20, 1000): 79.2, (20, 4000): 90.5, (20, 20000): 94.1, (30, 1000): 80.6, (30, 4000): 92.1, (30, 20000): 95.7,
    (50, 1000): 81.7, (50, 4000): 93.3, (50, 20000): 97.0,
}  # fmt: skip
_SIMULATED = (20, 4000)


def _checks() -> Iterator[Check]:
    for (branches, prompt), published in _PUBLISHED.items():
        shared = sum(prompt + branches * step for step in range(1, _STEPS + 1))
        apart = sum(branches * (prompt + step) for step in range(1, _STEPS + 1))
        saved = 100 * (1 - shared / apart)
        yield within(f"{branches} branches, prompt {prompt}: KV bytes saved, counted", published, saved, 0.3, "%")
    branches, prompt = _SIMULATED
    q, prefix, suffix = sample(branches, prompt, _STEPS // 2, _D, "cpu")
    read = {}
    for together in (True, False):
        with VirtualGPU("a100_sxm", timing=True) as gpu:
            shared_prefix_attention(q, prefix, suffix, together)
        read[together] = kv_bytes(gpu, branches, _D)
    saved = 100 * (1 - read[True] / read[False])
    yield within(f"{branches} branches, prompt {prompt}: KV bytes saved, simulated, at the middle step",
                 _PUBLISHED[_SIMULATED], saved, 0.3, "%")  # fmt: skip


ENTRY = Entry(
    "deft",
    "a tree of generated branches reads the keys and values of their common prompt once a step",
    "Yao et al., DeFT, arXiv 2404.00242, few-shot trees of 400 steps, traffic of Llama-3.1-8B",
    f"tokens counted, and workloads/shared_prefix_attention.py on a virtual A100, one head of {_D}",
    simulated=True,
    checks=_checks,
)
