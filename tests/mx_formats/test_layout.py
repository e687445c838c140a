"""Blocks along any axis, tiles, and partial blocks, against plain loops over slices."""

from dataclasses import replace

import numpy as np
import pytest

from mx_formats.block import BLOCK_FORMATS, MXFP4, MXFP8_E4M3, MXINT8, NVFP4
from mx_formats.conversion import Conversion, Rounding
from mx_formats.quantize import dequantize, quantize, round_trip

TILES = replace(MXFP8_E4M3, block_size=64, rows=8)


def normal(shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(8, 8), (3, 24, 40), (2, 2, 16, 8)])
def test_tiles_are_blocks_of_their_own(shape):
    x = normal(shape)
    quantized = quantize(x, TILES)
    assert quantized.scales.shape == (*shape[:-2], shape[-2] // 8, shape[-1] // 8)
    flat_format = replace(TILES, rows=1)
    for index in np.ndindex(quantized.scales.shape):
        *outer, i, j = index
        place = (*outer, slice(8 * i, 8 * i + 8), slice(8 * j, 8 * j + 8))
        alone = quantize(x[place].reshape(64), flat_format)
        np.testing.assert_array_equal(quantized.codes[place].reshape(64), alone.codes)
        assert quantized.scales[index] == alone.scales[0]
    np.testing.assert_array_equal(dequantize(quantized), round_trip(x, TILES))


def test_square_tiles_transpose_into_each_other():
    """Why the square group exists (arXiv 2505.22404): W and its transpose share one copy."""
    x = normal((24, 40))
    quantized, transposed = quantize(x, TILES), quantize(x.T, TILES)
    np.testing.assert_array_equal(transposed.codes, quantized.codes.T)
    np.testing.assert_array_equal(transposed.scales, quantized.scales.T)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("block_format", [MXINT8, NVFP4, replace(MXFP4, block_size=24)], ids=lambda known: known.name)
def test_a_partial_block_counts_as_filled_with_zeros(axis, block_format):
    x = normal((35, 50, 17))
    size = block_format.block_size
    missing = [(0, 0)] * 3
    missing[axis] = (0, -x.shape[axis] % size)
    quantized = quantize(x, block_format, axis, partial_blocks=True)
    padded = quantize(np.pad(x, missing), block_format, axis)
    kept = tuple(slice(length) for length in x.shape)
    np.testing.assert_array_equal(quantized.codes, padded.codes[kept])
    np.testing.assert_array_equal(quantized.scales, padded.scales)
    np.testing.assert_array_equal(dequantize(quantized), dequantize(padded)[kept])
    np.testing.assert_array_equal(round_trip(x, block_format, axis, partial_blocks=True), dequantize(quantized))


def test_partial_tiles():
    x = normal((2, 13, 9))
    quantized = quantize(x, TILES, partial_blocks=True)
    padded = quantize(np.pad(x, [(0, 0), (0, 3), (0, 7)]), TILES)
    np.testing.assert_array_equal(quantized.scales, padded.scales)
    np.testing.assert_array_equal(dequantize(quantized), dequantize(padded)[:, :13, :9])


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", ["MXFP8_E4M3", "NVFP4"])
def test_results_may_be_written_in_place(axis, name):
    x, y = normal((64, 96)), normal((64, 96)) * 3
    expected = quantize(y, BLOCK_FORMATS[name], axis)
    reused = quantize(x, BLOCK_FORMATS[name], axis)
    codes = reused.codes
    again = quantize(y, BLOCK_FORMATS[name], axis, out=reused)
    assert again.codes is codes or np.shares_memory(again.codes, codes)
    np.testing.assert_array_equal(again.codes, expected.codes)
    np.testing.assert_array_equal(again.scales, expected.scales)
    out = np.empty_like(y)
    assert dequantize(again, out) is out
    np.testing.assert_array_equal(out, dequantize(expected))
    assert round_trip(y, BLOCK_FORMATS[name], axis, out=out) is out
    np.testing.assert_array_equal(out, dequantize(expected))


def test_a_place_in_a_tile_draws_its_own_word():
    """Block n of size s uses words n * s onward, in the order of the tiles."""
    x = normal((16, 16))
    stochastic = Conversion(rounding=Rounding.STOCHASTIC, seed=9)
    tiles = quantize(x, TILES, conversion=stochastic).codes
    rows = x.reshape(2, 8, 2, 8).swapaxes(1, 2).reshape(4, 64)
    flat = quantize(rows, replace(TILES, rows=1), conversion=stochastic).codes
    np.testing.assert_array_equal(tiles.reshape(2, 8, 2, 8).swapaxes(1, 2).reshape(4, 64), flat)


@pytest.mark.parametrize("size", [6, 16])
def test_a_place_in_a_column_draws_its_own_word(size):
    """Blocks along another axis are numbered as if that axis were the last, a partial one included."""
    x = normal((3, 40, 5))
    stochastic = Conversion(rounding=Rounding.STOCHASTIC, seed=9)
    block_format = replace(MXFP4, block_size=size)
    across = quantize(x, block_format, 1, stochastic, partial_blocks=True)
    along = quantize(np.ascontiguousarray(x.swapaxes(1, 2)), block_format, -1, stochastic, partial_blocks=True)
    np.testing.assert_array_equal(across.codes, along.codes.swapaxes(1, 2))
    np.testing.assert_array_equal(across.scales, along.scales.swapaxes(1, 2))


def test_empty_tensors():
    assert dequantize(quantize(np.zeros((0, 32), np.float32), MXFP4)).shape == (0, 32)
    assert dequantize(quantize(np.zeros((3, 0), np.float32), NVFP4)).shape == (3, 0)


def test_bad_shapes_are_named():
    x = normal((12, 16))
    with pytest.raises(ValueError, match="block_size: 8 does not divide the axis of length 12; pad it"):
        quantize(x, TILES)
    with pytest.raises(ValueError, match="axis: got -2 of 2 axes, must be -1 of 2 or more for tiles of 8 rows"):
        quantize(x, TILES, axis=0)
    with pytest.raises(ValueError, match="rows: got 3, must divide the block_size 32"):
        replace(MXFP4, rows=3)
    with pytest.raises(ValueError, match=r"out: is \(12, 32\) of MXFP4 along -1, must be \(24, 32\)"):
        quantize(normal((24, 32)), MXFP4, out=quantize(normal((12, 32)), MXFP4))
    with pytest.raises(ValueError, match=r"out: is float64 of \(12, 32\), must be float32"):
        dequantize(quantize(normal((12, 32)), MXFP4), np.empty((12, 32)))
    with pytest.raises(ValueError, match=r"out: is float64 of \(12, 32\), must be float32"):
        round_trip(normal((12, 32)), MXFP4, out=np.empty((12, 32)))
