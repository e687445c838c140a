"""Source of every figure: Huerta et al., MICRO 2025, the comparison of dependence mechanisms."""

import pytest

from hw.dependence_area import control_bits_per_warp, dependence_areas, scoreboard_bits_per_warp
from hw.gpu_spec import load_gpu


def test_bits_of_a_warp():
    assert control_bits_per_warp() == 41
    assert scoreboard_bits_per_warp(63) == 332 + 332 * 6 == 2324
    assert [scoreboard_bits_per_warp(n) // 332 for n in (1, 2, 3, 4, 7, 8, 63)] == [2, 3, 3, 4, 4, 5, 7]


@pytest.mark.parametrize(
    ("gpu", "bits", "percent"),
    [
        ("rtx_a6000", [1968, 31_872, 47_808, 111_552], ["0.09", "1.52", "2.28", "5.32"]),
        ("h100_sxm", [2624, 42_496, 63_744, 148_736], ["0.13", "2.03", "3.04", "7.09"]),
    ],
)
def test_shares_of_the_register_file_are_the_published_ones(gpu, bits, percent):
    areas = dependence_areas(load_gpu(gpu))
    assert [area.bits for area in areas] == bits
    assert [f"{area.percent:.2f}" for area in areas] == percent
    assert {area.register_file_bits for area in areas} == {256 * 1024 * 8}


def test_a_scoreboard_without_consumers_is_none():
    with pytest.raises(ValueError, match="consumers is 0, legal 1 or more"):
        scoreboard_bits_per_warp(0)
