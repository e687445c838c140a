"""Whole dot products from a run's tensor-core instructions.

One `HMMA.16816` sums 16 products, an MX block has 32, and a kernel's dot product is as long as its accumulator is
passed on. So instructions of a warp are chained: one whose accumulator input is, bit for bit, the output of an earlier
one continues its dot product; one that starts from zero or from anything else (a rescaled accumulator) starts a new
one. The products keep the order in which the tensor core met them; a chain whose K is no multiple of 32 is filled up
with zeros, which change neither a block's scale nor any sum.

What came before the chain is left out everywhere: each datapath sums the same products, starting from zero.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numba import njit

from hw.presets import TensorCore
from hw.tensor_core import COLUMNS, ROWS, mma_f32, new_scratch, operand_table
from mx_formats.element import ElementFormat, decode_to_float

STEP = 16  # K of one instruction
BLOCK = 32  # of every OCP MX format
FRAGMENT_WORDS = 14  # a lane's registers: 4 of A, 2 of B, 4 of the accumulator before, 4 after


@dataclass(frozen=True)
class HmmaOperands:
    """n executed `HMMA.16816.F32` instructions, in program order within each warp.

    Attributes:
        element: format of both operands, FP16 or BF16.
        group: int64[n]; an accumulator is looked for among instructions of the same group only (a warp, or a block).
        a: uint16[n, 16, 16], codes of the left operand, [row, k].
        b: uint16[n, 8, 16], codes of the right operand, [column, k].
        c: float32[n, 16, 8], accumulator before.
        d: float32[n, 16, 8], accumulator after.
    """

    element: ElementFormat
    group: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d: np.ndarray


def unpack_fragments(words: np.ndarray, group: np.ndarray, element: ElementFormat) -> HmmaOperands:
    """Matrices from registers, uint32[n, 14, 32] (`FRAGMENT_WORDS` by lane).

    Layout of mma.m16n8k16 (PTX ISA): lane 4g + t holds rows g and g + 8 of A and of the accumulator, column g of B;
    a register of A or B holds k = 2t and 2t + 1, the next pair of registers of A and the next register of B are 8
    further along k; an accumulator register holds column 2t or 2t + 1.
    """
    n = len(words)
    halves = np.ascontiguousarray(words[:, :6]).view(np.uint16).reshape(n, 6, 8, 4, 2)  # [register, g, t, half]
    a = halves[:, :4].reshape(n, 2, 2, 8, 4, 2).transpose(0, 2, 3, 1, 4, 5).reshape(n, ROWS, STEP)
    b = halves[:, 4:].transpose(0, 2, 1, 3, 4).reshape(n, COLUMNS, STEP)
    sums = (
        np.ascontiguousarray(words[:, 6:]).view(np.float32).reshape(n, 2, 2, 2, 8, 4)
    )  # [c/d, row half, column, g, t]
    c, d = sums.transpose(1, 0, 2, 4, 5, 3).reshape(2, n, ROWS, COLUMNS)
    return HmmaOperands(element, group, np.ascontiguousarray(a), np.ascontiguousarray(b), c, d)


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


def collect_dots(operands: HmmaOperands, core: TensorCore) -> tuple[Dots, ...]:
    """Chain instructions into dot products, one `Dots` per length K, shortest first; empty without instructions."""
    by_length: dict[int, list[list[int]]] = defaultdict(list)
    for chain in _chains(operands):
        by_length[len(chain)].append(chain)
    return tuple(_dots(operands, np.array(chains), core) for _, chains in sorted(by_length.items()))


def _chains(operands: HmmaOperands) -> list[list[int]]:
    """Indices of the instructions of each chain."""
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


def _dots(operands: HmmaOperands, chains: np.ndarray, core: TensorCore) -> Dots:
    a, b = (_along_k(side[chains]) for side in (operands.a, operands.b))
    left, right = (decode_to_float(codes, operands.element).astype(np.float32) for codes in (a, b))
    return Dots(left, right, tensor_core_sums(a, b, operands.element, core))


def _along_k(pieces: np.ndarray) -> np.ndarray:
    """[n, links, rows, 16] to [n, rows, K], filled up with zeros to whole blocks."""
    n, links, rows, _ = pieces.shape
    joined = pieces.transpose(0, 2, 1, 3).reshape(n, rows, links * STEP)
    return np.pad(joined, ((0, 0), (0, 0), (0, -joined.shape[2] % BLOCK)))


def tensor_core_sums(a: np.ndarray, b: np.ndarray, element: ElementFormat, core: TensorCore) -> np.ndarray:
    """Sum products as the tensor core does, from zero.

    Args:
        a: uint16[n, 16, K], codes of `element`.
        b: uint16[n, 8, K].
        element: FP16 or BF16.
        core: fraction bits and products of a fused step.

    Returns:
        float32[n, 16, 8].
    """
    significand, exponent = operand_table(element)
    a, b = (np.ascontiguousarray(side.transpose(0, 2, 1)) for side in (a, b))
    sums = np.zeros((len(a), COLUMNS, ROWS), np.uint32)
    left = np.int32(core.fraction_bits - 2 * element.mantissa_bits)
    fraction_bits = np.int32(core.fraction_bits)
    operands = significand[a], exponent[a], significand[b], exponent[b]
    _sum_tiles(*operands, sums, core.products, left, fraction_bits, *new_scratch())
    return sums.view(np.float32).transpose(0, 2, 1)


@njit(cache=True, nogil=True)
def _sum_tiles(a_sig, a_exp, b_sig, b_exp, sums, products, left, fraction_bits, top, total):
    for i in range(len(sums)):
        for k in range(0, a_sig.shape[1], products):
            mma_f32(a_sig[i], a_exp[i], b_sig[i], b_exp[i], sums[i], k, k + products, left, fraction_bits, top, total)
