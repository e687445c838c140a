"""A matrix product as the NPU's steps: where operands and outputs lie, and the loops that visit them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hw.mac_array import run
from hw.npu_step import Scaling, Step
from hw.scratchpad import Loops
from mx_formats import E8M0
from mx_formats.block import BlockFormat
from mx_formats.quantize import Quantized, quantize
from rtl.npu.cosim import Job
from rtl.npu.design import NpuDesign
from rtl.npu.image import code_words, output_words, scale_words


@dataclass(frozen=True)
class Region:
    """Lines of the scratchpad for one stream.

    Attributes:
        line: the first.
        apart: from one to the next; as many as there are lines side by side keep it in the same banks.
        backwards: words lie from a line's end to its beginning, so that its first words are in other banks than those
            of a stream that shares the banks with it.
    """

    line: int
    apart: int = 1
    backwards: bool = False


def product_jobs(
    design: NpuDesign,
    a: Quantized,
    b: Quantized,
    out: str,
    columns: int,
    regions: tuple[Mapping[str, Region], Mapping[str, Region]],
    *,
    shared: bool = False,
) -> list[Job]:
    """a @ b.T in steps of so many columns, all of `a` staying.

    Args:
        design: the NPU.
        a, b: [m, k] and [n, k], blocks along k; whole tiles, and k a multiple of the lanes.
        out: element of the outputs, a tile of which is a block.
        columns: of each step, whole tiles.
        regions: of every stream in the even steps and in the odd ones.
        shared: all rows of a tile have the same scales, stored once.

    Raises:
        ValueError: sizes that are not whole, or whatever `Step.check` refuses.
    """
    array, mac = design.engine.array, design.engine.array.mac
    element = a.format.element.name
    mode, out_mode, lanes = mac.mode(element), mac.mode(out), mac.spec(element).lanes
    (m, k), n = a.codes.shape, len(b.codes)
    for name, size, whole in (("m", m, array.rows), ("n", n, columns), ("columns", columns, array.columns),
                              ("k", k, lanes), ("block", a.format.block_size, lanes)):  # fmt: skip
        if size % whole:
            raise ValueError(f"product: {name} is {size}, must be a multiple of {whole}")
    scaling = Scaling(a.format.block_size // lanes, shared)
    channels = design.used_channels(mode, out_mode)
    channels |= dict.fromkeys(("xa", "xb"), 1) if shared else {}
    tall, wide = m // array.rows, columns // array.columns
    left = _operand(design, "a", mode, scaling, a, array.rows)
    jobs = []
    for number, start in enumerate(range(0, n, columns)):
        at = slice(start, start + columns)
        panel = Quantized(b.codes[at], b.scales[at], b.format)
        right, places = _operand(design, "b", mode, scaling, panel, array.columns), regions[number % 2]
        words, loops = {}, {}
        visited = {"a": np.repeat(np.arange(tall), wide), "b": np.tile(np.arange(wide), tall)}
        moves = {"a": ((wide, False), (tall, True)), "b": ((wide, True), (tall, False))}
        for side, tiles in (("a", left), ("b", right)):
            for name, held in zip((side, f"x{side}"), tiles, strict=True):
                loops[name] = _loops(design, places[name], held.shape[1], channels[name], moves[side])
                words[name] = np.concatenate(held[visited[side]])
        loops["out"] = _loops(design, places["out"], tall * wide, channels["out"], ())
        line_bytes = design.scratchpad.line_bytes
        loops["xout"] = Loops(places["xout"].line * line_bytes, (tall * wide,), (1,))
        step = Step(tall * wide, k // lanes, channels, loops, {"xa": scaling, "xb": scaling})
        jobs.append(Job(step, mode, out_mode, words))
    return jobs


def expected_words(design: NpuDesign, a: Quantized, b: Quantized, out: str, columns: int) -> list[tuple]:
    """Of each step: packed codes and scales of its outputs, by `hw.mac_array` and `mx_formats.quantize`."""
    array, mac = design.engine.array, design.engine.array.mac
    values = run(array.spec(a.format.element.name), a, b).values
    block = BlockFormat(mac.elements[mac.mode(out)], E8M0, array.rows * array.columns)
    steps = []
    for start in range(0, len(b.codes), columns):
        panel = values[:, start : start + columns]
        tiles = panel.reshape(-1, array.rows, columns // array.columns, array.columns).swapaxes(1, 2)
        found = quantize(tiles.reshape(-1, array.rows * array.columns), block)
        steps.append((output_words(design, mac.mode(out), found.codes), found.scales[:, 0]))
    return steps


def _operand(
    design: NpuDesign, side: str, mode: int, scaling: Scaling, panel: Quantized, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Words of codes and of scales, [tiles, words, channels, bytes]."""
    tiles = [slice(at, at + rows) for at in range(0, len(panel.codes), rows)]
    codes = [code_words(design, side, mode, panel.codes[at]) for at in tiles]
    scales = [scale_words(design, f"x{side}", scaling, panel.scales[at]) for at in tiles]
    return np.stack(codes), np.stack(scales)


def _loops(design: NpuDesign, region: Region, steps: int, channels: int, tiles: tuple[tuple[int, bool], ...]) -> Loops:
    """Steps side by side in a line, then line by line; then the loops over tiles, which move on or do not."""
    width = design.scratchpad.line_words
    fitting = [count for count in range(1, steps + 1) if steps % count == 0 and count * channels <= width]
    if not fitting:
        raise ValueError(f"region: a step takes {channels} words, a line has {width}; no layout for it")
    beside, pitch = max(fitting), region.apart * width
    lines = steps // beside
    turn = -1 if region.backwards else 1
    bounds, strides = [beside, lines], [turn * channels, pitch]
    for count, moves in tiles:
        bounds.append(count)
        strides.append(lines * pitch if moves else 0)
    return Loops(region.line * width + (width - 1) * region.backwards, tuple(bounds), tuple(strides), turn)
