"""LeanAttention: a decoding step's work cut by the GPU's size, so that no SM waits for a head to end."""

from collections.abc import Iterator

from gpu_model import VirtualGPU
from gpu_model.timing import Timing
from hw.gpu_spec import load_gpu
from sim.gallery.claim import Check, Curve, Entry, counted, direction
from workloads.lean_attention import ROWS, error_ratio, lean_attention, sample, shares

_GPU, _D, _TILE = "a100_sxm", 64, 128
_SMS = load_gpu(_GPU).sm_count
_HEADS, _LENGTHS = 12, (2304, 9216, 36864)
_LONGEST, _BEST = 512 * 1024, 8.33  # keys and speed-up of the published maximum
# Heads, keys, and splits of a head: the fewest whose last wave leaves under 15 % of the SMs idle; none where the heads
# alone fill 80 % of them.
_SPLIT = ((56, 3200, 5), (120, 2304, 1))


def _checks() -> Iterator[Check | Curve]:
    bound = _busiest(_HEADS, _LONGEST, _HEADS) / _busiest(_HEADS, _LONGEST, _SMS)
    yield direction(f"{_HEADS} heads of 512k keys: most tiles of an SM, a head each over even shares, counted",
                    f"{_BEST} times in time, at most", f"{bound:.2f} times", bound > _BEST)  # fmt: skip
    runs = {(length, programs): _run(_HEADS, length, programs) for length in _LENGTHS for programs in (_HEADS, _SMS)}
    faster = {n: runs[n, _HEADS][0].cycles / runs[n, _SMS][0].cycles for n in _LENGTHS}
    slower = 1.0
    for length, times in faster.items():
        yield direction(f"{_HEADS} heads of {length:,} keys: cycles, a head a program over even shares",
                        "2.6 times over FlashAttention-2 on average, more for longer", f"{times:.2f} times",
                        slower < times < bound)  # fmt: skip
        slower = times
    even = {n: _busiest(_HEADS, n, _HEADS) / _busiest(_HEADS, n, _SMS) for n in _LENGTHS}
    yield Curve("speed-up of even shares over a head a program", "keys", "times",
                {"cycles, simulated": list(faster.items()), "tiles of the busiest SM, counted": list(even.items())},
                log_x=True)  # fmt: skip
    # Here every share lies in one head, whose parts are ROWS outputs and log-sum-exps, counted in a 32-byte sector.
    for what, programs, part in (("a head a program", _HEADS, 0), ("even shares", _SMS, 4 * ROWS * (_D + 1) + 32)):
        expected = 2 * 2 * _D * _HEADS * _LENGTHS[0] + programs * (2 * _D + part)
        read = runs[_LENGTHS[0], programs][0].traffic_bytes["l2_read"]
        yield counted(f"{_HEADS} heads of {_LENGTHS[0]:,} keys, {what}: bytes read beyond L1, each key and value once, "
                      "a query and a part a program", expected, read, "B")  # fmt: skip
    worst = max(error for _, error in runs.values())
    yield direction("largest error over what float16 operands may cost", "attention is exact", f"{worst:.3f}",
                    worst <= 1)  # fmt: skip
    for heads, length, splits in _SPLIT:
        times = _run(heads, length, heads * splits)[0].cycles / _run(heads, length, _SMS)[0].cycles
        how = f"{splits} even splits a head" if splits > 1 else "unsplit"
        yield direction(f"{heads} heads of {length:,} keys: cycles, {how}, over even shares",
                        "1.73 times over FlashDecoding on average, 2.18 at most", f"{times:.2f} times",
                        1 < times < 2.18)  # fmt: skip


def _busiest(heads: int, length: int, programs: int) -> int:
    """Tiles of the program that walks most."""
    least, longer, _ = shares(heads, length, programs, _TILE)
    return least + (longer > 0)


def _run(heads: int, length: int, programs: int) -> tuple[Timing, float]:
    """Timing, and the largest error over its bound."""
    q, k, v = sample(heads, 1, length, _D, "cpu")
    with VirtualGPU(_GPU, timing=True) as gpu:
        out = lean_attention(q, k, v, programs, _TILE)
    return gpu.launches[-1].timing, error_ratio(q, k, v, out)[1]


ENTRY = Entry(
    "lean-attention",
    "a decoding step is faster when every SM gets as many tiles of keys as any other, wherever heads end",
    "Sanovar et al., LeanAttention, arXiv 2405.10480: abstract of v1 over FlashAttention-2, of v2 over FlashDecoding; "
    "on an A100",
    f"workloads/lean_attention.py, one query a head of {_D}, tiles of {_TILE} keys, on a virtual A100; the rivals are "
    "the same kernel on whole or evenly split heads, without the second launch that joins splits",
    simulated=True,
    checks=_checks,
)
