"""What is around the array, against sums worked out from an activity given by hand."""

import pytest

from hw.technology import load_technology
from mx_formats.block import MXFP4, MXFP8_E4M3
from rtl import tools
from rtl.area_cache import cached_area
from rtl.npu import NpuDesign
from rtl.npu.parts import parts
from rtl.power.activity import Activity
from rtl.power.array import cycle_energy, full_array
from rtl.power.system import Gates, gates, system_energy

NODE = load_technology("22nm")
# Of FP8: 4 products a cycle; 40 bits of a row's registers are clocked, and 12 and 8 change.
FOUND = Activity(1000, 4, 500.0, 480.0, 900.0, 7.0, 12.0, 8.0, 40.0, 25, 4 * 6000)

AROUND = Gates(word=2000.0, step=3000.0, output=700.0, tile=9000.0)


def test_every_part_is_what_its_own_counts_say() -> None:
    found = system_energy(FOUND, MXFP8_E4M3, NODE, 128, AROUND)
    cycle = cycle_energy(FOUND, NODE)
    operations = 2 * 64 * 4
    assert found.array == full_array(cycle, FOUND).total
    # 16 rows and columns read 4 elements of 8.25 bits each; 64 * 4 / 128 outputs are written.
    bit = 0.5 * NODE.sram_bit_ff * NODE.voltage_v**2
    assert found.scratchpad * operations == pytest.approx((16 * 4 * 8.25 + 2 * 8.25) * bit)
    register = 0.5 * NODE.voltage_v**2 * (40 * 2 * NODE.register_clock_ff + NODE.register_toggle_ff * 10) * 16
    side = 8 * ((6000 + 5 * 25) * NODE.nand2_um2) ** 0.5 / 0.295**0.5
    wires = 8 * (12 + 8) * 0.5 * NODE.voltage_v**2 * NODE.wire_ff_per_um * side / 2
    # 2 x 8 rows of 4 codes of 8 bits are 8 words; on both sides a word of scales serves 32 elements a row, 8 cycles;
    # a tile ends after 128 / 4 cycles.
    switched = ((8 + 2 / 8) * 2000 + 3000 + 9000 * 4 / 128) * cycle.gates / 6000
    assert found.streams * operations == pytest.approx(register + wires + switched)
    assert found.requantiser * operations == pytest.approx(2 * 700 * cycle.gates / 6000)
    assert found.total == found.array + found.scratchpad + found.streams + found.requantiser
    assert found.gops_per_watt == pytest.approx(1e6 / found.total)


def test_longer_dot_products_and_narrower_elements_cost_less_memory() -> None:
    short, long = (system_energy(FOUND, MXFP8_E4M3, NODE, products, AROUND) for products in (32, 1024))
    assert short.scratchpad > long.scratchpad
    assert short.requantiser == pytest.approx(32 * long.requantiser)
    assert short.array == long.array
    assert short.streams > long.streams
    narrow = system_energy(FOUND, MXFP4, NODE, 1024, AROUND)
    assert narrow.scratchpad / long.scratchpad == pytest.approx(4.25 / 8.25)


def test_an_output_needs_a_product() -> None:
    with pytest.raises(ValueError, match="products: got 0, must be 1 or more"):
        system_energy(FOUND, MXFP4, NODE, 0, AROUND)


@pytest.mark.skipif(bool(tools.missing("synthesis")), reason="mapping needs pyosys")
def test_gates_are_those_of_the_rtl() -> None:
    """Each figure is the sum of its parts' areas."""
    design = NpuDesign()
    areas = {name: cached_area(make(), "part").nand2 for name, (_, make) in parts(design).items()}
    found = gates(design)
    assert found.output == areas["requantiser, element"] + areas["requantiser, scale"] / 64
    assert found.word == areas["bank arbiter"] + areas["way back"] + areas["reader of codes"] / 4
    assert found.tile > areas["writer"] > 0
    assert found.step > areas["tile control"] > 0
