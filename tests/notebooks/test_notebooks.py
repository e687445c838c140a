"""Notebooks run from top to bottom, show what they promise, and are kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
FIGURES = {"kernel_on_a_core": 3, "formats_and_errors": 4, "tree_to_gates": 3, "design_space": 1}
QUICK = {"formats_and_errors"}
GIVE_UP_S = 600  # a cell
LONGEST_CELL = 25


def test_all_are_listed() -> None:
    text = (FOLDER / "README.md").read_text()
    assert sorted(FIGURES) == NOTEBOOKS
    assert all(f"`{name}.ipynb`" in text for name in NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_kept_without_outputs_in_short_cells(name: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells] == [f"cell-{i}" for i in range(len(notebook.cells))]
    assert notebook.cells[0].cell_type == "markdown"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count, dict(cell.metadata)) == ([], None, {})
            assert cell.source.count("\n") < LONGEST_CELL


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NOTEBOOKS]
)
def test_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=GIVE_UP_S, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    kinds = {"application/vnd.plotly.v1+json", "image/svg+xml"}
    assert sum(bool(kinds & set(output.get("data", ()))) for output in outputs) == FIGURES[name]
