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
from mx_formats.element import FP16

STEP = 16  # K of one instruction
BLOCK = 32  # of every OCP MX format
_FRACTION = FP16.mantissa_bits


@dataclass(frozen=True)
class HmmaOperands:
    """n executed `HMMA.16816.F32` instructions, in program order within each warp.

    Attributes:
        warp: int64[n], which warp of the run.
        a: float16[n, 16, 16], left operand, [row, k].
        b: float16[n, 8, 16], right operand, [column, k].
        c: float32[n, 16, 8], accumulator before.
        d: float32[n, 16, 8], accumulator after.
    """

    warp: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d: np.ndarray


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
    finished: list[list[int]] = []
    open_chains: dict[tuple[int, bytes], list[int]] = {}
    for i, warp in enumerate(operands.warp.tolist()):
        chain = open_chains.pop((warp, operands.c[i].tobytes()), []) if operands.c[i].any() else []
        if not chain:
            finished.append(chain)
        chain.append(i)
        open_chains[warp, operands.d[i].tobytes()] = chain
    return finished


def _dots(operands: HmmaOperands, chains: np.ndarray, core: TensorCore) -> Dots:
    a, b = (_along_k(side[chains]) for side in (operands.a, operands.b))
    return Dots(a.astype(np.float32), b.astype(np.float32), tensor_core_sums(a, b, core))


def _along_k(pieces: np.ndarray) -> np.ndarray:
    """[n, links, rows, 16] to [n, rows, K], filled up with zeros to whole blocks."""
    n, links, rows, _ = pieces.shape
    joined = pieces.transpose(0, 2, 1, 3).reshape(n, rows, links * STEP)
    return np.pad(joined, ((0, 0), (0, 0), (0, -joined.shape[2] % BLOCK)))


def tensor_core_sums(a: np.ndarray, b: np.ndarray, core: TensorCore) -> np.ndarray:
    """Sum products as the tensor core does, from zero: float16[n, 16, K] and float16[n, 8, K] to float32[n, 16, 8]."""
    significand, exponent = operand_table(FP16)
    a_codes, b_codes = (np.ascontiguousarray(side.transpose(0, 2, 1)).view(np.uint16) for side in (a, b))
    sums = np.zeros((len(a), COLUMNS, ROWS), np.uint32)
    operands = significand[a_codes], exponent[a_codes], significand[b_codes], exponent[b_codes]
    _sum_tiles(*operands, sums, core.products, core.fraction_bits, *new_scratch())
    return sums.view(np.float32).transpose(0, 2, 1)


@njit(cache=True, nogil=True)
def _sum_tiles(a_sig, a_exp, b_sig, b_exp, sums, products, fraction_bits, top, total):
    left = np.int32(fraction_bits - 2 * _FRACTION)
    for tile in range(len(sums)):
        for k0 in range(0, a_sig.shape[1], products):
            mma_f32(a_sig[tile], a_exp[tile], b_sig[tile], b_exp[tile], sums[tile], k0, k0 + products, left,
                    np.int32(fraction_bits), top, total)  # fmt: skip
