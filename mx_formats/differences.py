"""Where implementations of the formats differ, each with the input that shows it.

`python -m mx_formats.differences > docs/differences.md` writes the page. Every figure in it is computed when it is
written: by the libraries themselves, or, for microxcaling, which is not on PyPI, by torch following the rule named.
"""

import logging
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from mx_formats.block import MXFP4, MXFP8_E4M3, NVFP4
from mx_formats.conversion import OCP, Conversion, Overflow, ScaleRule
from mx_formats.element import E4M3, E5M2, decode_to_float
from mx_formats.encode import encode
from mx_formats.quantize import dequantize, quantize

LIBRARIES = ("torch", "torchao", "ml_dtypes")
_HEAD = """# Where implementations differ

Outside these cases warptree, torchao, ml_dtypes, torch and gfloat agree bit for bit on every format and rule they share
(`tests/mx_formats/test_peers.py`, 2^20 values of three distributions). A block is 32 equal values unless it says
otherwise. Written by `python -m mx_formats.differences` with {versions}.
microxcaling's answer is the rule of its source (commit 7bc41952), applied in torch.
"""


class Case(NamedTuple):
    """A row: what differs, the input, the definition's answer, and who says what."""

    title: str
    given: str
    definition: str
    answers: dict[str, str]


def cases() -> Iterator[Case]:
    """All differences; needs the libraries of `LIBRARIES`."""
    yield from _casts()
    yield from _scales()
    yield from _specials()
    yield from _two_levels()


def page() -> str:
    """The Markdown page."""
    versions = ", ".join(f"{name} {version(name).split('+')[0]}" for name in LIBRARIES)
    lines = [_HEAD.format(versions=versions)]
    for case in cases():
        lines += [f"## {case.title}", "", f"Input: {case.given}. Definition: {case.definition}.", ""]
        lines += ["| implementation | result |", "|---|---|"]
        lines += [f"| {name} | {answer} |" for name, answer in case.answers.items()]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _casts() -> Iterator[Case]:
    import ml_dtypes
    import torch

    for element, name, value in ((E4M3, "float8_e4m3fn", 500.0), (E5M2, "float8_e5m2", 61440.0)):
        x = np.array([value], np.float32)
        with np.errstate(over="ignore"):
            theirs = float(x.astype(getattr(ml_dtypes, name)).astype(np.float32)[0])
        torchs = torch.from_numpy(x).to(getattr(torch, name)).item()
        ours = [decode_to_float(encode(x, element, overflow=overflow), element)[0] for overflow in Overflow]
        answers = {
            "warptree, SATURATE (default)": _number(ours[0]),
            "warptree, SPECIAL": _number(ours[1]),
            "ml_dtypes": _number(theirs),
            "torch": _number(torchs),
        }
        yield Case(
            f"Overflow of a cast to {element.name}",
            f"{value:g}, with {element.max_value:g} the largest number",
            "OFP8 1.0 allows both, saturating or not",
            answers,
        )


def _scales() -> Iterator[Case]:
    below = float(np.nextafter(np.float32(2.0**40), np.float32(0)))
    yield Case(
        "Largest value just below a power of two",
        f"block of {below!r}, the largest float32 below 2^40, to MXFP8 E4M3",
        "floor(log2 amax) - 8 = 31",
        {
            "warptree": _exponent(_ours(below)),
            "torchao, FLOOR": _exponent(_torchao(below, "FLOOR")[0]),
            "microxcaling (floor of a float32 logarithm)": str(_rounded_log_floor(below) - 8),
        },
    )
    round_up = Conversion(ScaleRule.ROUND_UP)
    tops = ((j, float(np.nextafter(np.float32(448.0 * 2.0**j), np.float32(np.inf)))) for j in range(100))
    j, above = next((j, x) for j, x in tops if _ours(x, round_up) != _torchao(x, "RCEIL")[0])
    yield Case(
        "Scale rounded up, largest value just above 448 * 2^j",
        f"block of {above!r}, one float32 above 448 * 2^{j}, to MXFP8 E4M3",
        f"the smallest power of two that does not clip it, 2^{j + 1}",
        {
            "warptree, ROUND_UP": _exponent(_ours(above, round_up)),
            "torchao, RCEIL in eager mode": _exponent(_torchao(above, "RCEIL")[0]),
        },
    )
    tiny = 2.0**-120
    ours, theirs = quantize(_block(tiny), MXFP8_E4M3), _torchao(tiny, "FLOOR")
    yield Case(
        "Largest value below 2^-118",
        "block of 2^-120, to MXFP8 E4M3 and back",
        "scale 2^-127 and the value unchanged",
        {
            "warptree": _back(dequantize(ours)[0], tiny),
            "torchao, FLOOR (divides by 2^-126, stores 2^-127)": _back(theirs[1], tiny),
        },
    )


def _specials() -> Iterator[Case]:
    x = _block(1.0)
    x[0] = np.inf
    floor, up = (_torchao(x, rule)[1] for rule in ("FLOOR", "RCEIL"))
    yield Case(
        "Infinity in a block",
        "infinity, then 31 times 1, to MXFP8 E4M3 and back",
        "left open by OCP MX 1.0",
        {
            "warptree, NAN_BLOCK (default)": _pair(dequantize(quantize(x, MXFP8_E4M3))),
            "torchao, FLOOR": _pair(floor),
            "torchao, RCEIL": _pair(up),
        },
    )


def _two_levels() -> Iterator[Case]:
    """The first of a fixed stream of random blocks in which a reciprocal in float32 changes a code."""
    import torch

    _, nvfp4_tensor = _torchao_modules()
    scale = float(np.float32(0.0123))
    x = np.random.default_rng(0).uniform(-30, 30, (1 << 16, 16)).astype(np.float32)
    # Values on the midpoint of 3 and 4 of their block's scale are the ones at risk.
    ours = quantize(x, NVFP4, tensor_scale=scale)
    midpoints = (3.5 * decode_to_float(ours.scales[:, 0], E4M3) * scale).astype(np.float32)
    x[:, 1] = (midpoints.view(np.int32) + np.arange(len(x), dtype=np.int32) % 5 - 2).view(np.float32)
    ours = quantize(x, NVFP4, tensor_scale=scale)
    scales, packed = nvfp4_tensor.nvfp4_quantize(torch.from_numpy(x), 16, torch.tensor(scale))
    codes = packed.view(torch.uint8).numpy()[:, 0] >> 4
    same = scales.view(torch.uint8).numpy().reshape(-1) == ours.scales[:, 0]
    row = int(np.flatnonzero(same & (codes != ours.codes[:, 1]))[0])
    value, block_scale = float(x[row, 1]), float(decode_to_float(ours.scales[row], E4M3)[0])
    yield Case(
        "NVFP4 element beside a midpoint",
        f"{value!r} in a block of scale {block_scale:g} and tensor scale {scale!r}",
        f"the quotient is 3.5 {'+' if value > 3.5 * block_scale * scale else '-'} "
        f"{abs(value / (block_scale * scale) - 3.5):.1e}",
        {
            "warptree (exact quotient)": _number(decode_to_float(ours.codes[row, 1:2], MXFP4.element)[0]),
            "torchao (times a float32 reciprocal)": _number(decode_to_float(codes[row : row + 1], MXFP4.element)[0]),
        },
    )
    small = np.full((1, 16), 1e-4, np.float32)
    ours = quantize(small, NVFP4, tensor_scale=scale)
    scales, _ = nvfp4_tensor.nvfp4_quantize(torch.from_numpy(small), 16, torch.tensor(scale))
    yield Case(
        "NVFP4 block scale below 2^-6",
        f"16 times 0.0001 under a tensor scale of {scale!r}",
        "amax / 6 / tensor scale = 0.00135, to the nearest E4M3 number",
        {
            "warptree": _number(decode_to_float(ours.scales[0], E4M3)[0]),
            "torchao (not below the smallest normal number)": _number(
                decode_to_float(scales.view(torch.uint8).numpy().reshape(-1), E4M3)[0]
            ),
        },
    )


def _block(value: float) -> np.ndarray:
    return np.full(32, value, np.float32)


def _ours(value: float, conversion: Conversion = OCP) -> int:
    return int(quantize(_block(value), MXFP8_E4M3, conversion=conversion).scales[0])


def _torchao_modules() -> tuple[Any, Any]:
    logging.disable(logging.WARNING)  # it reports GPU libraries that a CPU build lacks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchao.prototype.mx_formats import mx_tensor, nvfp4_tensor
    logging.disable(logging.NOTSET)
    return mx_tensor, nvfp4_tensor


def _torchao(x: float | np.ndarray, mode: str) -> tuple[int, np.ndarray | float]:
    """Scale code and dequantised values (the first one, for a block of equal values)."""
    import torch

    mx_tensor, _ = _torchao_modules()
    block = torch.from_numpy(_block(x) if isinstance(x, float) else x)
    scale, codes = mx_tensor.to_mx(block, torch.float8_e4m3fn, 32, mx_tensor.ScaleCalculationMode[mode])
    values = mx_tensor.to_dtype(codes, scale, torch.float8_e4m3fn, 32, torch.float32).numpy()
    return int(scale.view(torch.uint8)[0]), values if not isinstance(x, float) else float(values[0])


def _rounded_log_floor(value: float) -> int:
    import torch

    return int(torch.floor(torch.log2(torch.tensor(value, dtype=torch.float32))).item())


def _exponent(code: int) -> str:
    return str(code - 127)


def _number(value: float) -> str:
    return "NaN" if np.isnan(value) else f"{value:g}"


def _back(value: Any, given: float) -> str:
    return "unchanged" if value == given else f"{float(value) / given:g} times the value"


def _pair(values: Any) -> str:
    return f"{_number(values[0])}, then {_number(values[1])}"


if __name__ == "__main__":
    print(page(), end="")
