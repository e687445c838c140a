"""Hydragen: sequences with a common prefix read its keys and values once, and get the same attention."""

from collections.abc import Iterator

import torch

from gpu_model import VirtualGPU
from sim.gallery.claim import Check, Entry, counted, direction, exactly
from workloads.shared_prefix_attention import error_ratio, sample, shared_prefix_attention

_SEQUENCES, _PREFIX, _SUFFIX, _D = 32, 4096, 128, 64


def _checks() -> Iterator[Check]:
    q, prefix, suffix = sample(_SEQUENCES, _PREFIX, _SUFFIX, _D, "cpu")
    outputs, bytes_read, cycles = {}, {}, {}
    for together in (True, False):
        with VirtualGPU("a100_sxm", timing=True) as gpu:
            outputs[together] = shared_prefix_attention(q, prefix, suffix, together)
        bytes_read[together] = kv_bytes(gpu, _SEQUENCES, _D)
        cycles[together] = sum(launch.timing.cycles for launch in gpu.launches)
    row = 2 * 2 * _D  # a key and a value in float16
    for together, tokens in ((True, _PREFIX + _SEQUENCES * _SUFFIX), (False, _SEQUENCES * (_PREFIX + _SUFFIX))):
        what = "prefix once" if together else "prefix by each"
        yield counted(f"{what}, keys and values read beyond L1", tokens * row, bytes_read[together], "B")
    fewer = bytes_read[False] / bytes_read[True]
    yield counted("fewer bytes of keys and values", 16.5, fewer, "times")
    differing = int((outputs[True].view(torch.int16) != outputs[False].view(torch.int16)).sum())
    yield exactly("elements of the output that differ", 0, differing)
    _, error = error_ratio(q, prefix, suffix, outputs[True])
    yield direction("largest error over what float16 operands may cost", "attention is exact", f"{error:.3f}",
                    error <= 1)  # fmt: skip
    faster = cycles[False] / cycles[True]
    yield direction(
        "cycles, one head", "up to 32 times fewer, end to end", f"{faster:.2f} times fewer", 1 < faster < fewer
    )


def kv_bytes(gpu: VirtualGPU, sequences: int, d: int) -> int:
    """Bytes of keys and values that the attention launches of `shared_prefix_attention` read beyond L1."""
    read = 0
    for launch in gpu.launches:
        if launch.kernel == "partial_attention_kernel":
            queries = launch.grid[0] * sequences * 2 * d  # each query once a part
            read += launch.timing.traffic_bytes["l2_read"] - queries
    return read


ENTRY = Entry(
    "hydragen",
    "attention to a prefix that sequences share is one matrix product: its keys and values are read once, exactly",
    "Juravsky et al., Hydragen, arXiv 2402.05099; the ratio of bytes is B (P + s) / (P + B s)",
    f"workloads/shared_prefix_attention.py, B {_SEQUENCES}, prefix P {_PREFIX}, suffix s {_SUFFIX}, one head of {_D}, "
    "on a virtual A100",
    simulated=True,
    checks=_checks,
)
