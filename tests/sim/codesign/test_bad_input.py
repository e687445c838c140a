"""What a user gets wrong, from the command line: one sentence with field, value and remedy, never a traceback."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sim import cli
from sim.codesign import recording, workers
from sim.codesign.command import known_study
from sim.codesign.experiment import ExperimentError, load_experiment
from sim.codesign.search import Search, size
from sim.codesign.store import Store
from sim.codesign.sweep import Runs
from sim.console import Console
from tests.sim.codesign.conftest import made_operands, product_tiles

EXPERIMENT: dict[str, Any] = {
    "question": "Which?",
    "workload": {"script": "script.py", "arguments": ["--sequence", "64"], "instructions": 64},
    "design": {
        "format": ["MXINT8", "MXFP4"],
        "tree": ["hybrid"],
        "mantissa_bits": {"first": 12, "last": 20, "step": 4},
        "array": ["4x8"],
        "gpu_fields": {"core.rf.read_ports": [1, 2]},
    },
    "search": {"method": "random", "trials": 4, "batch": 2, "seed": 1},
    "goal": {"objectives": ["qsnr_db", "array_cycles"], "require": {"qsnr_db": 20.0}, "prefer": "array_cycles"},
}
NAMES = st.sampled_from(["format", "tree", "first", "array", "script", "qsnr_db", "grid", "core.rf.read_ports", "x y"])
SCALARS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(-3, 40), st.booleans(), st.floats(), st.text(max_size=8), NAMES
)
VALUES = st.recursive(
    SCALARS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8) | NAMES, part, max_size=2),
    max_leaves=6,
)


def written(value: Any) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(name)} = {written(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else repr(value)


def quoted(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")


def places(tree: Any, here: tuple = ()) -> list[tuple]:
    """Every place in a tree of tables and lists but its root."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for name, part in parts for place in [(*here, name), *places(part, (*here, name))]]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    tree = copy.deepcopy(EXPERIMENT)
    for _ in range(draw(st.integers(1, 3))):
        found = places(tree)
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        part: Any = tree
        for step in way:
            part = part[step]
        kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if kind == "remove":
            del part[last]
        elif kind == "replace":
            part[last] = draw(VALUES)
        elif isinstance(part, dict):
            part[draw(st.text(max_size=8) | NAMES)] = draw(VALUES)
        else:
            part.append(draw(VALUES))
    return "".join(f"{quoted(name)} = {written(part)}\n" for name, part in tree.items())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("study")
    (made / "script.py").write_text("")
    return made


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=mutated())
def test_any_file_is_an_experiment_or_refused_in_sentences(folder: Path, text: str) -> None:
    (folder / "study.toml").write_text(text, encoding="utf-8")
    try:
        experiment = load_experiment(folder / "study.toml")
    except ExperimentError as error:
        head, *lines = str(error).splitlines()
        assert "study.toml" in head
        assert all(line.startswith("  ") and ": " in line for line in lines)
    else:
        assert size(experiment) >= 1
        first = {name: values[0] for name, values in experiment.design.axes().items()}
        assert experiment.design.design(first).words()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_refused_in_a_sentence(folder: Path, data: st.DataObject) -> None:
    content = bytearray("".join(f"{name} = {written(part)}\n" for name, part in EXPERIMENT.items()).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    (folder / "bytes.toml").write_bytes(content)
    try:
        load_experiment(folder / "bytes.toml")
    except ExperimentError as error:
        if "bytes.toml" not in str(error):
            raise


def refused(*arguments: str) -> str:
    """The one thing a command says when it ends because of its user."""
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == cli.USER_ERROR, result.output
    said = result.stderr.strip()
    assert "Traceback" not in said
    return said.splitlines()[-1]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment whose script launches nothing, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text("print('nothing')\n")
    (tmp_path / "study.toml").write_text('[workload]\nscript = "script.py"\n[design]\nformat = ["MXFP4"]\n')
    return tmp_path / "study.toml"


@pytest.mark.parametrize("command", ["codesign", "sweep"])
def test_a_script_that_launches_nothing(file: Path, command: str) -> None:
    said = refused(command, str(file))
    assert "script.py launched no Triton kernel: there are no operands to evaluate designs on" in said


@pytest.mark.parametrize("command", [["pareto"], ["report"], ["export"]])
def test_nothing_in_the_store(file: Path, command: list[str]) -> None:
    said = refused(*command, str(file))
    assert "script.py has no run on rtx_a6000 in " in said
    assert "run: warptree sweep" in said


@pytest.mark.parametrize(
    ("command", "option", "remedy"),
    [
        ("codesign", "--store", "choose another with --store DIR"),
        ("codesign", "--report", "choose another with --report DIR"),
        ("sweep", "--report", "choose another with --report DIR"),
        ("language", "--store", "choose another with --store DIR"),
        ("language", "--report", "choose another with --report DIR"),
    ],
)
def test_a_folder_that_cannot_be_written(file: Path, command: str, option: str, remedy: str) -> None:
    (file.parent / "taken").write_text("a file")
    experiment = [] if command == "language" else [str(file)]
    said = refused(command, *experiment, option, "taken/inside")
    assert "taken/inside: Not a directory" in said
    assert remedy in said


def test_a_damaged_row_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "run_workload", lambda *_: made_operands(product_tiles(16, 8, 32)))
    Runs(Store(Path("warptree-out/designs")), load_experiment(file), Console(quiet=True)).path(
        next(iter(Search(load_experiment(file))))[0]
    )
    for content in (b"", b"PAR1 no more", b"PAR1" + bytes(64) + b"PAR1"):
        (Path("warptree-out/designs/rows") / "broken.parquet").write_bytes(content)
        said = refused("pareto", str(file))
        assert "broken.parquet" in said
        assert "delete the damaged file, its rows are computed again" in said


def test_no_scheduler(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(recording, "run_workload", lambda *_: made_operands(product_tiles(16, 8, 32)))
    said = refused("sweep", str(file), "--scheduler", "tcp://127.0.0.1:9")
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in said
    assert "leave --scheduler out" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "none.toml"], "experiment none.toml: No such file or directory; give a TOML file"),
        (["sweep", "."], "experiment .: Is a directory; give a TOML file"),
        (["language", "--format", "MXFP5"], "format 'MXFP5' is not known; there are"),
        (["language", "--technology", "3nm"], "no technology '3nm'; there are"),
        (["npu", "resnet99"], "resnet99"),
        (["npu", "resnet18", "--format", "MXFP5"], "MXFP5"),
        (["reproduce", "nothing"], "nothing"),
    ],
)
def test_arguments(file: Path, arguments: list[str], message: str) -> None:
    assert message in refused(*arguments)


def test_a_design_that_cannot_be_built_is_a_row(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "run_workload", lambda *_: made_operands(product_tiles(16, 8, 32)))
    file.write_text(file.read_text().replace('"MXFP4"', '"MXINT8"') + "mantissa_bits = [10]\n")
    result = CliRunner().invoke(cli.app, ["codesign", str(file), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["infeasible"] == 1
    assert "MacSpec.mantissa_bits: got 10, legal 12..23 for INT8" in result.output
    point = load_known(file)
    assert f"point {point} is infeasible" in refused("export", str(file), point)


def load_known(file: Path) -> str:
    return known_study(file, Path("warptree-out/designs"), Console(quiet=True)).rows[0]["key"][:8]
