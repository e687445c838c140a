"""The language study's page in a headless Chromium."""

import pytest

from sim.language.command import write
from sim.language.row import Row
from sim.language.study import FLOAT32, INFERENCE, TRAINING
from tests.sim.browser import look_at, needs_chromium

pytestmark = needs_chromium
ROWS = [
    Row(INFERENCE, FLOAT32, FLOAT32, "", None, 0.80, 0.02, 81920.0, None, "no datapath of its own"),
    Row(INFERENCE, "MXFP4/32 hybrid M=16 8x8", "MXFP4", "hybrid", 16, 0.91, 0.13, 81920.0, 6200.0, ""),
    Row(TRAINING, "MXFP4/32 hybrid M=16 8x8", "MXFP4", "hybrid", 16, 0.85, 0.07, 245760.0, 19000.0, ""),
    Row(INFERENCE, "NVFP4/16 hybrid M=16 8x8", "NVFP4", "hybrid", 16, 0.83, 0.05, 81920.0, None, "no RTL"),
]


@pytest.mark.parametrize("width", [1280, 600])
@pytest.mark.parametrize("count", [1, 4])
def test_the_page(tmp_path, count: int, width: int) -> None:
    """One row is what is left where no design has been measured: a page without a chart."""
    seen = look_at(write(ROWS[:count], tmp_path), width)
    assert (seen["wrong"], seen["fetched"], seen["untitled"]) == ([], [], [])
    assert seen["figures"] == seen["drawn"] == seen["hovered"] == (count > 1)
    assert seen["rows"] == [count, 4]
    assert seen["overhang"] <= 0
    assert min(seen["plots"], default=1) > 0.3
