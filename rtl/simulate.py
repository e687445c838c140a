"""The MAC's RTL as a function on arrays of codes, for comparing it with `hw.mac` in bulk."""

from functools import cache

import numpy as np

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
