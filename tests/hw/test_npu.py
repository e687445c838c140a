"""The NPU's cycles: by hand, within their bounds, and where the machine cannot do the work."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.mac import MacSpec
from hw.mac_array import ArraySpec
from hw.npu import NpuSpec, Product, Window, run
from mx_formats.element import E2M1, E2M3, E4M3, INT8

ELEMENTS = {"INT8": INT8, "E4M3": E4M3, "E2M3": E2M3, "E2M1": E2M1}


def npu(element=E4M3, **fields) -> NpuSpec:
    return NpuSpec(ArraySpec(MacSpec(element)), output_bits=element.bits, **fields)


@pytest.mark.parametrize(("name", "gops"), [("INT8", 64), ("E4M3", 256), ("E2M3", 256), ("E2M1", 512)])
def test_peak(name, gops):
    """8 x 8 MACs of 1, 4 or 8 products, two operations each, at 500 MHz."""
    assert npu(ELEMENTS[name]).peak_gops == gops


def test_one_tile_by_hand():
    """Load 16 rows of 32 bytes and scales; start; 32 products, four a cycle; requantise; store 64 bytes and a scale."""
    load, store = 2 * 8 * 32 * (1 + 1 / 64), 64 * (1 + 1 / 64)
    load_lines, store_lines = 2 * (4 + 1), 1 + 1  # codes of either operand and their scales, each in whole lines
    found = run(npu(), Product("tile", 8, 8, 32))
    assert found.array_cycles == 8
    assert found.cycles == load_lines + 4 + 8 + 2 + store_lines
    assert found.dma_bytes == math.ceil(load + store)
    assert found.utilisation == 8 * 8 * 32 / (found.cycles * 256)


def test_loads_hide_behind_products_and_the_other_way_round():
    """16 tiles of the same left rows. INT8 has time for its loads; with a DMA of a byte a cycle nothing else counts."""
    work = Product("row of tiles", 8, 128, 512)
    fast, slow = run(npu(INT8), work), run(npu(INT8, dma_bytes=1), work)
    assert fast.array_cycles == slow.array_cycles == 16 * 512
    assert fast.cycles < 1.1 * fast.array_cycles
    assert slow.cycles == pytest.approx(slow.dma_bytes, rel=0.05)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(ELEMENTS)), st.integers(1, 300), st.integers(1, 300), st.integers(1, 3000), st.integers(1, 4)
)
def test_no_product_beats_its_array_or_its_dma(name, m, n, k, count):
    spec = npu(ELEMENTS[name])
    found = run(spec, Product("any", m, n, k, count))
    depth = -(-k // 8) * 8
    tiles = -(-m // 8) * -(-n // 8)
    assert found.array_cycles == count * tiles * depth // spec.array.mac.lanes
    assert found.cycles >= max(found.array_cycles, found.dma_bytes // spec.dma_bytes)
    least = spec.bytes_of((m + n) * depth, ELEMENTS[name].bits) + spec.bytes_of(m * n, ELEMENTS[name].bits)
    assert found.dma_bytes >= int(count * least)
    assert found.utilisation == pytest.approx(m * n * k * count / (found.cycles * spec.array.products_per_cycle))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 2000))
def test_a_larger_scratchpad_or_a_wider_dma_never_costs(m, n, k):
    spec, work = npu(), Product("any", m, n, k)
    cycles = run(spec, work).cycles
    assert run(replace(spec, scratchpad_bytes=4 * spec.scratchpad_bytes), work).cycles <= cycles
    assert run(replace(spec, dma_bytes=2 * spec.dma_bytes), work).cycles <= cycles


def test_windows_share_what_they_read():
    """3 x 3 windows over 56 x 56 pixels of 64 channels: fewer bytes than windows on their own."""
    window = Window(channels=64, kernel=3, stride=1, width_in=58, width_out=56)
    assert window.elements(56) == 3 * 58 * 64
    assert window.elements(57) == 4 * 58 * 64
    alone = run(npu(), Product("apart", 56 * 56, 64, 576))
    shared = run(npu(), Product("shared", 56 * 56, 64, 576, window=window))
    assert shared.dma_bytes < alone.dma_bytes / 2
    assert shared.array_cycles == alone.array_cycles


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: run(npu(scratchpad_bytes=200), Product("tile", 8, 8, 8)), "scratchpad_bytes: got 200, too small"),
        (lambda: npu(dma_bytes=0), "NpuSpec.dma_bytes: got 0, must be 1 or more"),
        (lambda: Product("none", 8, 0, 8), "Product.n: got 0, must be 1 or more"),
    ],
)
def test_impossible_machines_and_products_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
