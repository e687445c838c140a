"""Where blocks lie in a tensor: along an axis or as tiles, the last ones possibly partial."""

import numpy as np

from mx_formats.block import BlockFormat


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


def to_blocks(values: np.ndarray, block_format: BlockFormat, axis: int) -> np.ndarray:
    """The tensor as [blocks, block_size], C order, partial blocks filled with zeros; a view where it can be."""
    columns, rows = block_format.columns, block_format.rows
    last = np.moveaxis(values, axis, -1)
    missing = [(0, 0)] * (last.ndim - 1) + [(0, -last.shape[-1] % columns)]
    if rows > 1:
        missing[-2] = (0, -last.shape[-2] % rows)
    if any(after for _, after in missing):
        last = np.pad(last, missing)
    if rows > 1:
        *outer, height, width = last.shape
        last = last.reshape(*outer, height // rows, rows, width // columns, columns).swapaxes(-2, -3)
    return np.ascontiguousarray(last).reshape(-1, block_format.block_size)


def from_blocks(blocks: np.ndarray, shape: tuple[int, ...], block_format: BlockFormat, axis: int) -> np.ndarray:
    """The inverse: [blocks, block_size] to a tensor of `shape`, what was filled cut off."""
    columns, rows = block_format.columns, block_format.rows
    moved = list(shape)
    moved.append(moved.pop(axis))
    whole = [*moved[:-1], -(-moved[-1] // columns) * columns]
    if rows > 1:
        whole[-2] = -(-moved[-2] // rows) * rows
        tiles = blocks.reshape(*whole[:-2], whole[-2] // rows, whole[-1] // columns, rows, columns).swapaxes(-2, -3)
        blocks = tiles
    values = blocks.reshape(whole)[(..., *(slice(length) for length in moved[-2:]))]
    return np.ascontiguousarray(np.moveaxis(values, -1, axis))


def scales_from_blocks(flat: np.ndarray, shape: tuple[int, ...], block_format: BlockFormat, axis: int) -> np.ndarray:
    """Scales in the order of `to_blocks` to the shape of `scale_shape`."""
    moved = list(scale_shape(shape, block_format, axis))
    moved.append(moved.pop(axis))
    return np.ascontiguousarray(np.moveaxis(flat.reshape(moved), -1, axis))


def scales_to_blocks(scales: np.ndarray, axis: int) -> np.ndarray:
    """Scales of a tensor in the order of `to_blocks`."""
    return np.ascontiguousarray(np.moveaxis(scales, axis, -1)).reshape(-1)
