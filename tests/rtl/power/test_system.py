"""What is around the array, against sums worked out from an activity given by hand."""

import pytest

from hw.technology import load_technology
from mx_formats.block import MXFP4, MXFP8_E4M3
from rtl.power.activity import Activity
from rtl.power.array import cycle_energy, full_array
from rtl.power.system import system_energy

NODE = load_technology("22nm")
# Of FP8: 4 products a cycle; 40 bits of a row's registers are clocked, and 12 and 8 change.
FOUND = Activity(1000, 4, 500.0, 480.0, 900.0, 7.0, 12.0, 8.0, 40.0, 25, 4 * 6000)


def test_every_part_is_what_its_own_counts_say() -> None:
    found = system_energy(FOUND, MXFP8_E4M3, NODE, 128)
    parts = cycle_energy(FOUND, NODE)
    operations = 2 * 64 * 4
    assert found.array == full_array(parts, FOUND).total
    # 16 rows and columns read 4 elements of 8.25 bits each; 64 * 4 / 128 outputs are written.
    bit = 0.5 * NODE.sram_bit_ff * NODE.voltage_v**2
    assert found.scratchpad * operations == pytest.approx((16 * 4 * 8.25 + 2 * 8.25) * bit)
    register = 0.5 * NODE.voltage_v**2 * (40 * 2 * NODE.register_clock_ff + NODE.register_toggle_ff * 10) * 16
    side = 8 * ((6000 + 5 * 25) * NODE.nand2_um2) ** 0.5 / 0.295**0.5
    wires = 8 * (12 + 8) * 0.5 * NODE.voltage_v**2 * NODE.wire_ff_per_um * side / 2
    assert found.streams * operations == pytest.approx(register + wires)
    assert found.requantiser * operations == pytest.approx(2 * 510 * parts.gates / 6000)
    assert found.total == found.array + found.scratchpad + found.streams + found.requantiser
    assert found.gops_per_watt == pytest.approx(1e6 / found.total)


def test_longer_dot_products_and_narrower_elements_cost_less_memory() -> None:
    short, long = (system_energy(FOUND, MXFP8_E4M3, NODE, products) for products in (32, 1024))
    assert short.scratchpad > long.scratchpad
    assert short.requantiser == pytest.approx(32 * long.requantiser)
    assert (short.array, short.streams) == (long.array, long.streams)
    narrow = system_energy(FOUND, MXFP4, NODE, 1024)
    assert narrow.scratchpad / long.scratchpad == pytest.approx(4.25 / 8.25)


def test_an_output_needs_a_product() -> None:
    with pytest.raises(ValueError, match="products: got 0, must be 1 or more"):
        system_energy(FOUND, MXFP4, NODE, 0)
