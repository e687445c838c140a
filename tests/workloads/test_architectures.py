"""Every workload on every architecture, checked by the script itself, and for races and the like."""

import pytest

from tests.workloads.test_scripts import OTHER_SIZES, SCRIPTS, run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_runs_and_reports(checked_gpu, script, monkeypatch, capsys):
    run(script, monkeypatch, *OTHER_SIZES[script.stem])
    line = capsys.readouterr().out
    assert line.startswith(f"{script.stem}: ")
    assert " 0 elements differ (exact)" in line or " of its bound" in line
    assert checked_gpu.launches
    assert not [str(finding) for record in checked_gpu.launches for finding in record.findings]
