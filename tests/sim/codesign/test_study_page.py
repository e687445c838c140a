"""The page of a study in a headless Chromium."""

import pytest

from sim.codesign.command import Study, _inline
from sim.codesign.outputs import write_outputs
from sim.codesign.sweep import sweep
from tests.sim.browser import look_at, needs_chromium

pytestmark = needs_chromium


@pytest.mark.parametrize("width", [1280, 600])
def test_a_study(study, no_rtl, tmp_path, width: int) -> None:
    experiment, runs = study()
    done = Study(tmp_path / "study.toml", experiment, sweep(experiment, runs, _inline), runs)
    seen = look_at(write_outputs(done, tmp_path / "out"), width)
    assert (seen["wrong"], seen["fetched"], seen["untitled"]) == ([], [], [])
    assert seen["figures"] == seen["drawn"] == seen["hovered"] == 1
    front, formats, gpus, *_ = seen["rows"]
    assert (front, formats, gpus) == (len(done.front), 3, 1)
    assert seen["overhang"] <= 0
    assert min(seen["plots"]) > 0.3


def test_a_study_in_which_nothing_can_be_built(study, no_rtl, tmp_path) -> None:
    experiment, runs = study(("[11, 16]", "[11]"), ('"MXINT8", "MXFP8_E4M3", "MXFP4"', '"MXINT8"'))
    done = Study(tmp_path / "study.toml", experiment, sweep(experiment, runs, _inline), runs)
    seen = look_at(write_outputs(done, tmp_path / "out"), 1280)
    assert (seen["wrong"], seen["fetched"], seen["figures"]) == ([], [], 0)
