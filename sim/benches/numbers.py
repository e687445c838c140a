"""How fast tensors go to block formats and back, against the memory they stream through and against other libraries."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from mx_formats.block import MXFP4, MXFP6_E2M3, MXFP6_E3M2, MXFP8_E4M3, MXFP8_E5M2, MXINT8, NVFP4, BlockFormat
from mx_formats.conversion import OCP, Conversion, Rounding, ScaleRule
from mx_formats.quantize import dequantize, quantize, round_trip
from sim.measure import Measurement, best_seconds

COPY = "copy of the same array"
SIDE = 4096
FORMATS = (MXFP8_E4M3, MXFP8_E5M2, MXFP6_E3M2, MXFP6_E2M3, MXFP4, MXINT8)
STEPS = 5  # measurements a format
# Everything that the kernels for the standard's own conversion do not do: name, format, axis, conversion.
OTHERS = (
    ("NVFP4", NVFP4, -1, OCP),
    ("MXFP4, EVEN scales, rounded at random", MXFP4, -1, Conversion(ScaleRule.EVEN, Rounding.STOCHASTIC)),
    ("MXINT8 rounded up", MXINT8, -1, Conversion(rounding=Rounding.UP)),
    ("MXFP8_E4M3 in blocks of 256", replace(MXFP8_E4M3, block_size=256), -1, OCP),
    ("MXFP8_E4M3 down the columns", MXFP8_E4M3, 0, OCP),
    ("MXFP8_E4M3 in 8 x 8 tiles", replace(MXFP8_E4M3, block_size=64, rows=8), -1, OCP),
)

# Names that torchao gives to element formats.
_TORCHAO = {
    MXFP8_E4M3: "float8_e4m3fn",
    MXFP8_E5M2: "float8_e5m2",
    MXFP6_E3M2: "fp6_e3m2",
    MXFP6_E2M3: "fp6_e2m3",
    MXFP4: "float4_e2m1fn_x2",
}


def measure(budget_seconds: float) -> Iterator[Measurement]:
    """Yield GB of float32 input a second on one core, results written in place; first of all a plain copy's.

    `there and back` is quantise and dequantise in turn; `in one pass` is `round_trip`, which keeps no codes.
    """
    values = np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32)
    out = np.empty_like(values)
    budget = budget_seconds / STEPS
    gigabytes = values.nbytes / 1e9

    def row(metric: str, work: Callable[[], object], copy: float | None = None, share: float = 1) -> Measurement:
        speed = gigabytes * share / best_seconds(work, budget)
        return Measurement("numbers", metric, speed, "GB/s", COPY if copy else "", copy)

    yield (first := row(COPY, lambda: np.copyto(out, values)))
    copy = first.value
    for block in FORMATS:
        q = quantize(values, block)
        to = row(f"float32 to {block.name}", lambda block=block, q=q: quantize(values, block, out=q), copy)
        back = row(f"{block.name} to float32", lambda q=q: dequantize(q, out), copy)
        both = 1 / (1 / to.value + 1 / back.value)
        yield to
        yield back
        yield Measurement("numbers", f"{block.name} there and back", both, "GB/s", COPY, copy)
        yield row(f"{block.name} in one pass", lambda block=block: round_trip(values, block, out=out), copy)
        part = values[: SIDE // 8]
        if (peer := _torchao(part, block)) is not None:
            yield row(f"torchao, {block.name} there and back", peer, copy, 1 / 8)
    part = values[: SIDE // 8]
    for name, block, axis, conversion in OTHERS:
        q = quantize(values, block, axis, conversion)

        def both_ways(q=q, conversion=conversion) -> None:
            dequantize(quantize(values, q.format, q.axis, conversion, out=q), out)

        yield row(f"{name} there and back", both_ways, copy)
    if (cast := _ml_dtypes(part)) is not None:
        yield row("ml_dtypes, cast to E4M3 and back, no scales", cast, copy, 1 / 8)


def _torchao(values: np.ndarray, block: BlockFormat) -> Callable[[], Any] | None:
    """torchao's conversion there and back on one thread; None where it is not installed or has no such format."""
    if find_spec("torchao") is None or block not in _TORCHAO:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from torchao.prototype.mx_formats import mx_tensor
    torch.set_num_threads(1)
    name = _TORCHAO[block]
    element = getattr(torch, name, name)
    tensor = torch.from_numpy(values)

    def there_and_back() -> object:
        scales, codes = mx_tensor.to_mx(tensor, element, block.block_size)
        return mx_tensor.to_dtype(codes, scales, element, block.block_size, torch.float32)

    return there_and_back


def _ml_dtypes(values: np.ndarray) -> Callable[[], Any] | None:
    if find_spec("ml_dtypes") is None:
        return None
    import ml_dtypes

    return lambda: values.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
