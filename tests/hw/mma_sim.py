"""Operands that make MMA-Sim 2.1.1 (arXiv 2511.10909) and the machine disagree if they can, in both's terms."""

import numpy as np
import torch

from hw.presets import NVIDIA_F16
from mx_formats.element import BF16, E4M3, E5M2, FP16, TF32

TORCH = {
    FP16: (np.uint16, torch.float16),
    BF16: (np.uint16, torch.bfloat16),
    E4M3: (np.uint8, torch.float8_e4m3fn),
    E5M2: (np.uint8, torch.float8_e5m2),
}
KINDS = ("patterns", "subnormal", "low", "narrow", "cancel", "high")


def draw(rng, element, shape, kind):
    """Codes whose exponents make alignment, cancellation, underflow or overflow likely."""
    width, m = element.exponent_bits, element.mantissa_bits
    top = (1 << width) - 1
    low, high = {
        "patterns": (0, top + 1),
        "subnormal": (0, 3),
        "low": (0, max(top // 2, 2)),
        "narrow": (element.bias - 1, element.bias + 2),
        "cancel": (element.bias, element.bias + 1),
        "high": (top - 3, top),
    }[kind]
    field = rng.integers(max(low, 0), high, shape)
    mantissa = rng.integers(0, 1 << m, shape)
    mantissa = np.where(rng.random(shape) < 0.3, 0, mantissa)
    codes = rng.integers(0, 2, shape) << (element.bits - 1) | field << m | mantissa
    return np.where(rng.random(shape) < 0.2, codes & ~((1 << (element.bits - 1)) - 1), codes).astype(np.uint32)


def draw_sums(rng, accumulator, shape, kind):
    width, m = accumulator.exponent_bits, accumulator.mantissa_bits
    top = (1 << width) - 1
    low, high = {"subnormal": (0, 2), "low": (0, 30), "high": (top - 5, top)}.get(kind, (0, top + 1))
    pattern = rng.integers(0, 2, shape) << (width + m) | rng.integers(low, high, shape) << m
    pattern |= rng.integers(0, 1 << m, shape)
    return np.where(rng.random(shape) < 0.4, 0, pattern).astype(np.uint32)


def to_torch(codes, element):
    if element is TF32:
        return torch.from_numpy((codes << np.uint32(13)).view(np.float32))
    if element in TORCH:
        dtype, view = TORCH[element]
        return torch.from_numpy(codes.astype(dtype)).view(view)
    return torch.from_numpy((codes << np.uint32(6 - element.bits)).astype(np.uint8))  # MMA-Sim's placing of FP6, FP4


def sums_to_torch(patterns, accumulator):
    if accumulator is NVIDIA_F16:
        return torch.from_numpy(patterns.astype(np.uint16)).view(torch.float16)
    return torch.from_numpy(patterns << np.uint32(32 - accumulator.bits)).view(torch.float32)


def sums_from_torch(values, accumulator):
    if accumulator is NVIDIA_F16:
        return values.view(torch.uint16).numpy().astype(np.uint32)
    return values.view(torch.uint32).numpy() >> np.uint32(32 - accumulator.bits)
