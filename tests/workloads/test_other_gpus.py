"""Every workload on every other architecture, checked by the script itself."""

import pytest

from tests.workloads.test_scripts import OTHER_SIZES, SCRIPTS, run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_runs_and_reports(other_gpu, script, monkeypatch, capsys):
    run(script, monkeypatch, *OTHER_SIZES[script.stem])
    line = capsys.readouterr().out
    assert line.startswith(f"{script.stem}: ")
    assert " 0 elements differ (exact)" in line or " of its bound" in line
    assert other_gpu.launches
