"""What the sixteen 2-bit multipliers of the precision-scalable MAC do in one cycle (KU Leuven, arXiv 2511.06313).

Significands are cut into 2-bit digits and every pair of digits of one product has a multiplier of its own. The grid is
four quadrants of 2 x 2: an INT8 product (4 x 4 digits) takes all of it, an FP8 or FP6 product (2 x 2 digits) one
quadrant, an FP4 product (one digit each) one multiplier, of which a quadrant uses the two on its diagonal or all four.
"""

from typing import NamedTuple

import numpy as np

from hw.mac import MacSpec
from mx_formats.element import decode

QUADRANTS, PER_QUADRANT = 4, 4
DIGIT_BITS = 2
IDLE = -1
_DIAGONAL = (0, 3)  # the multipliers of a quadrant that two FP4 products use


class Grid(NamedTuple):
    """One cycle, [16] each, quadrant by quadrant; within a quadrant the digit of `b` moves fastest.

    Attributes:
        lane: the product a multiplier works on, `IDLE` if none.
        digit_a: 0..3.
        digit_b: 0..3.
        product: digit_a * digit_b, 0..9.
        shift: of this product in the significands' product.
    """

    lane: np.ndarray
    digit_a: np.ndarray
    digit_b: np.ndarray
    product: np.ndarray
    shift: np.ndarray


def multiplier_grid(spec: MacSpec, a: np.ndarray, b: np.ndarray) -> Grid:
    """What each multiplier computes for one cycle's codes.

    Args:
        spec: the mode.
        a: unsigned codes [lanes].
        b: unsigned codes [lanes].

    Raises:
        ValueError: not `lanes` codes.
    """
    if a.shape != (spec.lanes,) or b.shape != (spec.lanes,):
        raise ValueError(f"codes: shapes are {a.shape} and {b.shape}, must be {(spec.lanes,)}")
    left, right = (np.abs(decode(codes, spec.element).significand) for codes in (a, b))
    columns = np.array([_multiplier(spec, place) for place in range(QUADRANTS * PER_QUADRANT)])
    lane, place_a, place_b = columns.T
    digit_a, digit_b = (
        np.where(lane == IDLE, 0, values[np.maximum(lane, 0)] >> DIGIT_BITS * place & 3)
        for values, place in ((left, place_a), (right, place_b))
    )
    return Grid(lane, digit_a, digit_b, digit_a * digit_b, DIGIT_BITS * (place_a + place_b))


def _multiplier(spec: MacSpec, place: int) -> tuple[int, int, int]:
    """Lane and digit positions of one of the sixteen."""
    quadrant, inner = divmod(place, PER_QUADRANT)
    row, column = divmod(inner, 2)
    if spec.element.is_integer:
        return 0, 2 * (quadrant // 2) + row, 2 * (quadrant % 2) + column
    if spec.element.bits > 4:
        return quadrant, row, column
    if spec.lanes == QUADRANTS * PER_QUADRANT:
        return place, 0, 0
    return (2 * quadrant + _DIAGONAL.index(inner), 0, 0) if inner in _DIAGONAL else (IDLE, 0, 0)


def significand_products(spec: MacSpec, grid: Grid) -> np.ndarray:
    """Magnitudes of the lanes' significand products, int64[lanes]: the multipliers' outputs shifted and added."""
    products = np.zeros(spec.lanes, np.int64)
    busy = grid.lane != IDLE
    np.add.at(products, grid.lane[busy], grid.product[busy].astype(np.int64) << grid.shift[busy])
    return products
