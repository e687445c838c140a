"""Where blocks lie in a tensor: along an axis or as tiles, the last ones possibly partial.

Whatever the axis, a block is a rectangle of a three-dimensional view of the tensor: one row of it along the last axis,
one column along another, a tile of the last two. Kernels work on a few rows of rectangles at a time, copied together
into a buffer that the cache holds.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from numba import njit

from mx_formats.block import BlockFormat

_CHUNK = 1 << 16  # elements of a buffer, unless one row of rectangles has more
_TILE = 128  # blocks along a row that are transposed together
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


class Grid(NamedTuple):
    """A tensor as [outer, height, width], cut into rectangles.

    Attributes:
        outer: first axis.
        height: second axis.
        width: last axis.
        rows: of a rectangle.
        columns: of a rectangle.
        down: blocks are numbered down the columns; otherwise along the rows. It is the order of `scales` otherwise.
    """

    outer: int
    height: int
    width: int
    rows: int
    columns: int
    down: bool

    @property
    def across(self) -> int:
        """Rectangles along a row."""
        return -(-self.width // self.columns)

    @property
    def strips(self) -> int:
        """Rows of rectangles."""
        return self.outer * -(-self.height // self.rows)

    @property
    def in_order(self) -> bool:
        """The elements of blocks are consecutive in memory, none missing."""
        return self.rows == 1 and self.width % self.columns == 0

    def number(self, block: int) -> int:
        """The number of a block counted along the rows."""
        return block_number(block, self.across, self.down_of)

    @property
    def down_of(self) -> int:
        """Rectangles down a column, 0 where blocks are numbered along the rows."""
        return -(-self.height // self.rows) if self.down else 0

    def chunks(self) -> Iterator[tuple[int, int]]:
        """First and last-plus-one strip of each part that is worked on together."""
        step = max(_CHUNK // max(self.across * self.rows * self.columns, 1), 1)
        for first in range(0, self.strips if self.across else 0, step):
            yield first, min(first + step, self.strips)


def grid_of(shape: tuple[int, ...], block_format: BlockFormat, axis: int) -> Grid:
    """The view for blocks along a negative `axis`."""
    if block_format.rows > 1:
        return Grid(math.prod(shape[:-2]), shape[-2], shape[-1], block_format.rows, block_format.columns, False)
    if axis == -1:
        return Grid(1, math.prod(shape[:-1]), shape[-1], 1, block_format.block_size, False)
    return Grid(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]), block_format.block_size, 1, True)


def scale_shape(shape: tuple[int, ...], block_format: BlockFormat, axis: int) -> tuple[int, ...]:
    """Shape of the scales of a tensor, partial blocks counted.

    Raises:
        ValueError: an axis that is not there, or tiles along another axis than the last.
    """
    axis = axis_from_end(shape, block_format, axis)
    blocks = list(shape)
    blocks[axis] = -(-shape[axis] // block_format.columns)
    if block_format.rows > 1:
        blocks[-2] = -(-shape[-2] // block_format.rows)
    return tuple(blocks)


def axis_from_end(shape: tuple[int, ...], block_format: BlockFormat, axis: int) -> int:
    """The axis as a negative number; ValueError if there is none."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis: got {axis}, legal {-len(shape)}..{len(shape) - 1} for a tensor of {len(shape)} axes")
    axis = axis if axis < 0 else axis - len(shape)
    if block_format.rows > 1 and (axis != -1 or len(shape) < 2):
        raise ValueError(
            f"axis: got {axis} of {len(shape)} axes, must be -1 of 2 or more for tiles of {block_format.rows} rows"
        )
    return axis


def check_whole_blocks(shape: tuple[int, ...], block_format: BlockFormat, axis: int) -> None:
    """ValueError if a block does not fill."""
    sizes = [(axis, block_format.columns)] + ([(-2, block_format.rows)] if block_format.rows > 1 else [])
    for along, size in sizes:
        if shape[along] % size:
            raise ValueError(
                f"block_size: {size} does not divide the axis of length {shape[along]}; "
                "pad it to a multiple, or allow partial_blocks"
            )


@njit(**_OPTIONS)
def block_number(block, across, down):
    """The number of a block counted along rows of `across`; `down` as `Grid.down_of`."""
    if down == 0:
        return block
    strip, column = block // across, block % across
    return (strip // down * across + column) * down + strip % down


@njit(**_OPTIONS)
def gather(tensor, first, last, rows, columns, blocks):
    """Copy strips `first` to `last` of tensor[outer, height, width] to blocks[strips, across, rows, columns].

    What a partial block lacks becomes zero.
    """
    if tensor.shape[1] % rows or tensor.shape[2] % columns:
        blocks[:] = 0
    down = (tensor.shape[1] + rows - 1) // rows
    for strip in range(first, last):
        lines = tensor[strip // down, strip % down * rows : (strip % down + 1) * rows]
        _exchange(lines, blocks[strip - first], True)


@njit(**_OPTIONS)
def scatter(blocks, tensor, first, last, rows, columns):
    """The inverse of `gather`; what was filled is cut off."""
    down = (tensor.shape[1] + rows - 1) // rows
    for strip in range(first, last):
        lines = tensor[strip // down, strip % down * rows : (strip % down + 1) * rows]
        _exchange(lines, blocks[strip - first], False)


@njit(**_OPTIONS)
def _exchange(lines, blocks, inwards):
    """Copy lines[rows, width] to blocks[across, rows, columns], or back, a few blocks at a time."""
    width, columns = lines.shape[1], blocks.shape[2]
    whole = width // columns
    for left in range(0, whole, _TILE):
        right = min(left + _TILE, whole)
        for row in range(lines.shape[0]):
            line, part = lines[row, left * columns : right * columns], blocks[left:right, row]
            if columns == 1:
                _copy(line, part[:, 0], inwards)
                continue
            for block in range(len(part)):
                _copy(line[block * columns : (block + 1) * columns], part[block], inwards)
    if whole < len(blocks):
        for row in range(lines.shape[0]):
            _copy(lines[row, whole * columns :], blocks[whole, row, : width - whole * columns], inwards)


@njit(inline="always")
def _copy(outside, inside, inwards):
    if inwards:
        for i in range(len(outside)):
            inside[i] = outside[i]
    else:
        for i in range(len(outside)):
            outside[i] = inside[i]
