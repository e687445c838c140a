"""The MAC's RTL as a function on arrays of codes, for comparing it with `hw.mac` in bulk."""

from functools import cache

import numpy as np

from mx_formats.quantize import Quantized
from mx_formats.scale import E8M0
from rtl.compiled import CompiledRtl
from rtl.mac import MacDesign, MacStep
from rtl.mac.design import lane_bits


@cache
def compiled_step(design: MacDesign) -> CompiledRtl:
    """`MacStep` of `design` as a compiled function; the first call in a process loads it, the first ever builds it."""
    return CompiledRtl(MacStep(design), "mac_step")


def rtl_mac_step(
    design: MacDesign,
    element: str,
    a: np.ndarray,
    b: np.ndarray,
    xa: np.ndarray,
    xb: np.ndarray,
    acc: np.ndarray,
) -> np.ndarray:
    """One MAC cycle of the generated RTL for each of N independent inputs.

    Args:
        design: the MAC.
        element: name of a mode of `design`.
        a, b: element codes, uint8[N, lanes], lanes = 1 (INT8), 4 (FP8, FP6), 8 or 16 (FP4).
        xa, xb: E8M0 scale codes, uint8[N].
        acc: accumulator patterns, uint32[N].

    Returns:
        The new accumulator patterns, uint32[N].

    Raises:
        ValueError: unknown element, wrong shape, or a code, scale or accumulator too wide.
        ToolError: the tools to build the RTL are missing.
    """
    step = compiled_step(design)
    inputs = port_words(design, element, a, b, xa, xb)
    acc = checked("acc", acc, design.accumulator_bits, (len(inputs["a"]),))
    return step(acc=acc, **inputs)["result"]


def rtl_dot(design: MacDesign, a: Quantized, b: Quantized, acc: np.ndarray | None = None) -> np.ndarray:
    """Dot products of the generated RTL: row i of `a` with row i of `b`, `lanes` products a cycle in order of k.

    Args:
        design: the MAC.
        a: operands [N, K] in blocks along K, of an element of `design` with E8M0 scales.
        b: the same.
        acc: accumulator patterns to start from, uint32[N]; +0 if None.

    Returns:
        Accumulator patterns, uint32[N]; `hw.evaluate.accumulator_values` makes numbers of them.

    Raises:
        ValueError: operands that do not fit each other or the MAC.
        ToolError: the tools to build the RTL are missing.
    """
    element, lanes = a.format.element.name, design.spec(a.format.element.name).lanes
    _check_rows(a, b, lanes)
    n, k = a.codes.shape
    steps = -(-k // lanes)
    # Lanes beyond the last element take +0.
    left, right = (np.pad(part.codes, ((0, 0), (0, steps * lanes - k))) for part in (a, b))
    sums = np.zeros(n, np.uint32) if acc is None else acc
    for step in range(steps):
        at = slice(step * lanes, (step + 1) * lanes)
        xa, xb = (part.scales[:, step * lanes // part.format.columns] for part in (a, b))
        sums = rtl_mac_step(design, element, left[:, at], right[:, at], xa, xb, sums)
    return sums


def _check_rows(a: Quantized, b: Quantized, lanes: int) -> None:
    for name, part in (("a", a), ("b", b)):
        if part.codes.ndim != 2 or part.codes.shape != a.codes.shape or part.axis != -1 or part.format.rows != 1:
            raise ValueError(f"{name}: got {list(part.codes.shape)}, must be [N, K] like the other, blocks along K")
        if part.format.element != a.format.element or part.format.scale is not E8M0:
            raise ValueError(f"{name}: got {part.format.name}, must have E8M0 scales and the other's element")
        if part.format.columns % lanes:
            raise ValueError(f"{name}: blocks of {part.format.columns}, must be a multiple of the {lanes} lanes")


def port_words(
    design: MacDesign, element: str, a: np.ndarray, b: np.ndarray, xa: np.ndarray, xb: np.ndarray
) -> dict[str, np.ndarray]:
    """Arrays [N] for the ports `mode`, `a`, `b`, `xa`, `xb`; arguments as in `rtl_mac_step`."""
    n = len(a)
    return {
        "mode": np.full(n, design.mode(element), np.uint32),
        "a": pack_lanes(design, element, "a", a),
        "b": pack_lanes(design, element, "b", b),
        "xa": checked("xa", xa, 8, (n,)),
        "xb": checked("xb", xb, 8, (n,)),
    }


def pack_lanes(design: MacDesign, element: str, name: str, codes: np.ndarray) -> np.ndarray:
    """Codes uint8[N, lanes] to operand words, lane 0 lowest, uint32[N] or uint64[N]; `name` is for messages."""
    spec = design.spec(element)
    lanes = checked(name, codes, spec.element.bits, (len(codes), spec.lanes)).astype(np.uint8)
    octets = lanes[:, ::2] | lanes[:, 1::2] << 4 if lane_bits(spec.element) == 4 else lanes
    words = np.ascontiguousarray(octets).view(f"<u{octets.shape[1]}")[:, 0]
    return words.astype(np.uint32 if design.operand_bits <= 32 else np.uint64)


def checked(name: str, values: np.ndarray, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """`values` as uint32; ValueError unless unsigned, of that shape, and within `bits` bits."""
    values = np.asarray(values)
    if values.dtype.kind != "u" or values.shape != shape:
        raise ValueError(f"{name}: got {values.dtype}{list(values.shape)}, must be unsigned{list(shape)}")
    if values.size and int(values.max()) >> bits:
        raise ValueError(f"{name}: {int(values.max()):#x} does not fit in {bits} bits")
    return values.astype(np.uint32)
