"""`warptree validate`: data files are checked, and simulated times stand beside measured ones."""

import pytest

from gpu_model.hardware import measure
from hw.gpu_settings import GpuSpecError
from hw.gpu_spec import load_gpu
from sim.errors import SimError
from sim.validate import DATA, Comparison, Reference, chain_cycles, compare, frame, load_references, mean_errors

HEAD = ",".join(measure.COLUMNS) + "\n"


def reference(case: str, value: float = 10.0, unit: str = "us", gpu: str = "rtx_a6000") -> Reference:
    return Reference(gpu, "suite", case, value, unit, "a test")


def test_published_data_loads_and_names_its_sources():
    references = load_references(sorted(DATA.glob("*.csv")))
    assert len(references) >= 16
    assert all(r.source.startswith(("published:", "measured:")) for r in references)


def test_there_are_sixty_launches_with_distinct_names():
    assert len({case.name for case in measure.CASES}) == len(measure.CASES) >= 60


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu,case\n", "mine.csv: columns .*expected gpu, suite, case, value, unit, source"),
        (HEAD + "rtx_a6000,rows,nothing,1,us,me\n", "line 2: no case 'nothing'"),
        (HEAD + "gtx_480,stream,scale 1 MiB,1,us,me\n", "line 2: GPU 'gtx_480' is not known; known: .*rtx_a6000"),
        (HEAD + "rtx_a6000,stream,scale 1 MiB,nan,us,me\n", "line 2: value 'nan' is no positive number"),
        (HEAD + "rtx_a6000,stream,scale 1 MiB,-1,us,me\n", "line 2: value '-1' is no positive number"),
        (HEAD + "rtx_a6000,stream,scale 1 MiB,1,s,me\n", "line 2: unit 's', legal: us, sm_cycles, cycles"),
        (HEAD + "rtx_a6000,chains,scale 1 MiB,1,cycles,me\n", "line 2: no case 'scale 1 MiB'"),
    ],
)
def test_a_bad_data_file_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(SimError, match=message):
        load_references([path])


def test_a_missing_data_file_is_named(tmp_path):
    with pytest.raises(SimError, match=r"no data file .*mine\.csv; make one with"):
        load_references([tmp_path / "mine.csv"])


def test_errors_are_signed_and_means_absolute():
    comparisons = [Comparison(reference("a", 10.0), 11.0), Comparison(reference("b", 10.0), 7.0)]
    table = frame(comparisons)
    assert table["error_percent"].tolist() == pytest.approx([10, -30])
    means = mean_errors(table)
    assert means["error"].tolist() == pytest.approx([20, 20])
    assert means.iloc[-1]["gpu"] == "all"


def test_a_launch_is_simulated_in_microseconds():
    # 1 MiB at 768 GB/s takes 1.4 us, and as much again to write back what was in L2; launching costs 0.8 us.
    (comparison,) = compare([reference("scale 1 MiB")])
    assert 2.5 < comparison.simulated < 6


@pytest.mark.parametrize(("name", "cycles"), [("fma.rn.f32", 4), ("shf.l.wrap.b32", 4), ("mad.lo.s32", 4)])
def test_a_chain_takes_the_latency(name, cycles):
    assert chain_cycles(load_gpu("rtx_a6000"), name) == pytest.approx(cycles, abs=0.1)


def test_a_field_can_be_changed():
    # A fortieth of the bandwidth: 1 MiB at 10 bytes a cycle of 1800 MHz takes 58 us.
    (slow,) = compare([reference("scale 1 MiB")], {"memory.dram_bytes_per_cycle": 10.0})
    assert slow.simulated > 58
    with pytest.raises(GpuSpecError, match=r"a GPU has no field 'core\.fast'"):
        list(compare([reference("scale 1 MiB")], {"core.fast": True}))
