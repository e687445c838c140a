"""Experiment files: what they say, and every mistake in them told at once."""

from pathlib import Path

import pytest

from sim.codesign.experiment import ExperimentError, load_experiment

GOOD = """
[workload]
script = "script.py"
arguments = ["--sequence", "64"]
[design]
format = ["MXINT8", "MXFP4", "MXINT8"]
mantissa_bits = { first = 12, last = 20, step = 4 }
array = ["4x8"]
[design.gpu_fields]
"core.rf.read_ports" = [1, 2]
"""


def load(folder: Path, text: str):
    (folder / "script.py").write_text("")
    path = folder / "study.toml"
    path.write_text(text)
    return load_experiment(path)


def told(folder: Path, text: str) -> list[str]:
    with pytest.raises(ExperimentError) as caught:
        load(folder, text)
    return str(caught.value).splitlines()


def test_lists_spans_and_gpu_fields_are_axes(tmp_path: Path) -> None:
    experiment = load(tmp_path, GOOD)
    axes = experiment.design.axes()
    assert axes["format"] == ("MXINT8", "MXFP4")
    assert axes["mantissa_bits"] == (12, 16, 20)
    assert axes["gpu_fields.core.rf.read_ports"] == (1, 2)
    design = experiment.design.design({name: values[-1] for name, values in axes.items()})
    assert (design.rows, design.columns, design.format, design.mantissa_bits) == (4, 8, "MXFP4", 20)
    assert design.gpu_fields == ("core.rf.read_ports=2",)
    assert experiment.design.overrides(design) == {"core.rf.read_ports": 2}
    assert experiment.workload.script == (tmp_path / "script.py").resolve()


def test_every_mistake_is_told_with_field_value_and_remedy(tmp_path: Path) -> None:
    text = GOOD.replace('"MXFP4"', '"MXFP5"').replace('"4x8"', '"4by8"') + '[search]\nmethod = "anneal"\ntrails = 3\n'
    first, *lines = told(tmp_path, text)
    assert first.endswith("study.toml has 4 mistakes:")
    assert [line.split(":")[0].strip() for line in lines] == [
        "design.format", "design.array", "search.method", "search.trails",
    ]  # fmt: skip
    assert "got 'MXFP5', legal: MXFP8_E5M2, " in lines[0]
    assert "did you mean 'MXFP4'?" in lines[0]
    assert "got '4by8', legal \"ROWSxCOLUMNS\"" in lines[1]
    assert "'grid', 'random', 'nsga2' or 'tpe'" in lines[2]
    assert "did you mean trials; legal: method, trials, batch, seed" in lines[3]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"script.py"', '"other.py"', "workload.script: is not a file at"),
        ('script = "script.py"', "", "workload.script: is missing; legal fields there: script, arguments, "),
        ("first = 12", "first = 9", "design.mantissa_bits: got 9, legal 10..23"),
        ("first = 12", "first = 21", "is empty, last must not be below first"),
        ("read_ports", "read_prots", "design.gpu_fields:"),
        ('array = ["4x8"]', "block_size = [64]", "design.block_size.0: got 64, input should be 16 or 32"),
        ("[workload]", '[goal]\nprefer = "power"\n[workload]', "goal.prefer: got 'power', legal: qsnr_db, "),
        ('array = ["4x8"]', 'technology = ["3nm"]', "design.technology: no technology '3nm'; there are 12nm, 16nm"),
        ('array = ["4x8"]', 'tree = "hybrd"', "design.tree: got 'hybrd', legal: hybrid, "),
        ("[workload]", '[goal]\nrequire = { qsnr = 3 }\n[workload]', "goal.require: got 'qsnr'"),
        ("[workload]", '[goal]\nrequire = { qsnr_db = nan }\n[workload]', "goal.require.qsnr_db: got nan"),
        ("[workload]", '[search]\nmethod = "nsga2"\nbatch = 1\n[workload]', "search.batch: got 1, legal 2 or more"),
        ("[workload]", "[search]\nseed = 4294967296\n[workload]", "search.seed: got 4294967296, input should be less"),
        ("last = 20", "last = 9000000000000000000", "design.mantissa_bits: got 9000000000000000000, legal 10..23"),
        ("[workload]", '[workload]\n"a\\nb" = 1', "workload.'a\\nb': no such field"),
    ],
)  # fmt: skip
def test_one_mistake(tmp_path: Path, old: str, new: str, message: str) -> None:
    lines = told(tmp_path, GOOD.replace(old, new))
    assert lines[0].endswith("has a mistake:")
    assert len(lines) == 2
    assert message in lines[1]


def test_a_value_alone_is_a_list_of_one(tmp_path: Path) -> None:
    alone = GOOD.replace('array = ["4x8"]', 'array = "4x8"\ntree = "hybrid"\nblock_size = 16')
    assert load(tmp_path, alone).design == load(tmp_path, alone.replace('"hybrid"', '["hybrid"]')).design
    assert load(tmp_path, alone).design.block_size == (16,)
    assert load(tmp_path, alone).design.array == ("4x8",)


def test_what_is_no_experiment(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"none\.toml: No such file or directory; give a TOML file"):
        load_experiment(tmp_path / "none.toml")
    assert "is not TOML" in told(tmp_path, "[workload")[0]


def test_a_grid_too_large_names_the_way_out(tmp_path: Path) -> None:
    arrays = ", ".join(f'"{rows}x{columns}"' for rows in range(1, 101) for columns in range(1, 101))
    text = GOOD.replace('"4x8"', arrays)
    assert "120,000, legal up to 100,000" in told(tmp_path, text)[0]
    assert load(tmp_path, text + '[search]\nmethod = "random"\n').search.trials == 100
