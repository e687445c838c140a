"""Whole dot products from a run's tensor-core instructions.

An instruction sums 4 to 64 products, an MX block has 32, and a kernel's dot product is as long as its accumulator is
passed on. So a warp's 16 x 8 tiles are chained: one whose accumulator input is, bit for bit, the output of an earlier
one continues its dot products; one that starts from zero or from anything else (a rescaled accumulator) starts new
ones. The products keep the order in which the tensor core met them; a chain whose K is no multiple of 32 is filled up
with zeros, which change neither a block's scale nor any sum.

What came before the chain is left out everywhere: each datapath sums the same products, starting from zero. Operands
with block scales of their own are their elements times those.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numba import njit

from hw.block_scaled import GROUPS, mma_block_scaled, scale_table
from hw.presets import TENSOR_CORES, TensorCore
from hw.tensor_core import (
    COLUMNS,
    NOT_A_NUMBER,
    ROWS,
    ZERO,
    mma_e8m13,
    mma_f32,
    new_scratch,
    split_codes,
)
from mx_formats.element import E2M1, ElementFormat, decode_to_float
from mx_formats.scale import decode_scale
from sim.fragments import Kind, TileOperands

BLOCK = 32  # of every OCP MX format
_BLOCK_SCALED_DEPTH = 64  # of the one instruction that sums E2M1 in groups with scales (OMMA)


@dataclass(frozen=True)
class Dots:
    """n output tiles of 16 x 8 dot products, all of length K.

    Attributes:
        a: float32[n, 16, K], left operands, K a multiple of 32.
        b: float32[n, 8, K], right operands.
        tensor_core: float32[n, 16, 8], the tensor core's sum of the same products from zero.
    """

    a: np.ndarray
    b: np.ndarray
    tensor_core: np.ndarray

    @property
    def length(self) -> int:
        """K."""
        return self.a.shape[2]

    @property
    def count(self) -> int:
        """Dot products."""
        return self.tensor_core.size


def collect_dots(operands: TileOperands, generation: str) -> tuple[Dots, ...]:
    """Chain tiles into dot products, one `Dots` per length K, shortest first; empty without tiles.

    Args:
        operands: of one kind of instruction.
        generation: of the GPU, as in `hw.presets.TENSOR_CORES`.
    """
    by_length: dict[int, list[list[int]]] = defaultdict(list)
    for chain in _chains(operands):
        by_length[len(chain)].append(chain)
    core = TENSOR_CORES[generation, operands.kind.a]
    return tuple(_dots(operands, np.array(chains), core) for _, chains in sorted(by_length.items()))


def _chains(operands: TileOperands) -> list[list[int]]:
    """Indices of the tiles of each chain."""
    chains: list[list[int]] = []
    open_chains: dict[tuple[int, bytes], list[list[int]]] = defaultdict(list)  # by group and accumulator after
    for i, group in enumerate(operands.group.tolist()):
        waiting = open_chains[group, operands.c[i].tobytes()] if operands.c[i].any() else []
        if waiting:
            chain = waiting.pop()
        else:
            chains.append(chain := [])
        chain.append(i)
        open_chains[group, operands.d[i].tobytes()].append(chain)
    return chains


def _dots(operands: TileOperands, chains: np.ndarray, core: TensorCore) -> Dots:
    kind, sides = operands.kind, []
    for codes, scales, element in ((operands.a, operands.scale_a, kind.a), (operands.b, operands.scale_b, kind.b)):
        codes, scales = _along_k(codes[chains]), _along_k(scales[chains])
        values = decode_to_float(codes, element)
        if kind.scale is not None:
            values = values * np.repeat(decode_scale(scales, kind.scale), kind.depth // kind.scales, axis=2)
        sides.append((codes, scales, _whole_blocks(values.astype(np.float32))))
    (a, scale_a, left), (b, scale_b, right) = sides
    return Dots(left, right, tensor_core_sums(kind, a, b, core, scale_a, scale_b))


def _along_k(pieces: np.ndarray) -> np.ndarray:
    """[n, links, lines, part] to [n, lines, links * part]."""
    n, links, lines, part = pieces.shape
    return np.ascontiguousarray(pieces.transpose(0, 2, 1, 3)).reshape(n, lines, links * part)


def _whole_blocks(values: np.ndarray) -> np.ndarray:
    """Filled up with zeros along K."""
    return np.pad(values, ((0, 0), (0, 0), (0, -values.shape[2] % BLOCK)))


def tensor_core_sums(
    kind: Kind,
    a: np.ndarray,
    b: np.ndarray,
    core: TensorCore,
    scale_a: np.ndarray | None = None,
    scale_b: np.ndarray | None = None,
) -> np.ndarray:
    """Sum products as the tensor core does, from zero.

    Args:
        kind: of the instruction.
        a: codes [n, 16, K], K a multiple of the kind's depth.
        b: codes [n, 8, K].
        core: fraction bits and products of a fused step.
        scale_a: codes [n, 16, K / depth * scales], for a kind with scales.
        scale_b: codes [n, 8, K / depth * scales].

    Returns:
        float32[n, 16, 8].
    """
    sums = np.zeros((len(a), COLUMNS, ROWS), np.uint32)
    if kind.a == E2M1 and kind.depth == _BLOCK_SCALED_DEPTH:
        left, right = (_doubled(codes) for codes in (a, b))
        scales = (*_group_scales(kind, scale_a), *_group_scales(kind, scale_b))
        _sum_block_scaled(left, right, *scales, sums)
    else:
        left = _split(kind, kind.a, a, scale_a)
        right = _split(kind, kind.b, b, scale_b)
        shift = np.int32(core.fraction_bits - kind.a.mantissa_bits - kind.b.mantissa_bits)
        step, narrow = min(core.products, kind.depth), core.result_bits != 23
        _sum_tiles(*left, *right, sums, step, shift, np.int32(core.fraction_bits), narrow, *new_scratch())
    return sums.view(np.float32).transpose(0, 2, 1)


def _split(
    kind: Kind, element: ElementFormat, codes: np.ndarray, scales: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Significands and exponents int32[n, K, lines], those of power-of-two scales added."""
    significand, exponent = split_codes(codes, element)
    if scales is not None and kind.scales:
        scale = np.repeat(scale_table(False)[1][scales], kind.depth // kind.scales, axis=2)
        finite = np.abs(exponent) < -ZERO // 2
        exponent = np.where(scale == NOT_A_NUMBER, NOT_A_NUMBER, np.where(finite, exponent + scale, exponent))
    return _k_first(significand.astype(np.int32)), _k_first(exponent.astype(np.int32))


def _doubled(codes: np.ndarray) -> np.ndarray:
    """Twice the values of E2M1 codes, int32[n, K, lines]."""
    return _k_first((2 * decode_to_float(codes, E2M1)).astype(np.int32))


def _group_scales(kind: Kind, scales: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Significand and exponent of the scale of every group of products, int32[n, K / 16, lines]."""
    assert scales is not None
    assert kind.scale is not None
    significand, exponent = scale_table(not kind.scale.is_power_of_two)
    codes = _k_first(np.repeat(scales, GROUPS // kind.scales, axis=2))
    return significand[codes], exponent[codes]


def _k_first(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.transpose(0, 2, 1))


@njit(cache=True, nogil=True)
def _sum_tiles(a_sig, a_exp, b_sig, b_exp, sums, products, left, fraction_bits, narrow, top, total):
    for i in range(len(sums)):
        sa, ea, sb, eb = a_sig[i], a_exp[i], b_sig[i], b_exp[i]
        for k in range(0, a_sig.shape[1], products):
            if narrow:
                mma_e8m13(sa, ea, sb, eb, sums[i], k, k + products, left, fraction_bits, top, total)
            else:
                mma_f32(sa, ea, sb, eb, sums[i], k, k + products, left, fraction_bits, top, total)


@njit(cache=True, nogil=True)
def _sum_block_scaled(a, b, a_sig, a_exp, b_sig, b_exp, sums):
    depth = _BLOCK_SCALED_DEPTH
    for i in range(len(sums)):
        for step in range(a.shape[1] // depth):
            k, g = step * depth, step * GROUPS
            part, groups = slice(k, k + depth), slice(g, g + GROUPS)
            scales_a, scales_b = (a_sig[i, groups], a_exp[i, groups]), (b_sig[i, groups], b_exp[i, groups])
            mma_block_scaled(a[i, part], b[i, part], *scales_a, *scales_b, sums[i])
