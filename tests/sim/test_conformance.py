"""The commands that explain trees and make vectors."""

from typer.testing import CliRunner

from sim.cli import app


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_trees_are_listed_and_explained(tmp_path):
    listed = run("trees")
    assert listed.exit_code == 0
    assert "hybrid-m16/E4M3" in listed.stdout
    picture = tmp_path / "tree.svg"
    one = run("trees", "ampere/FP16", "--svg", str(picture))
    assert "8 products and the accumulator" in one.stdout
    assert picture.read_text().startswith("<svg")
    assert run("trees", "ampere/FP17").exit_code == 2


def test_vectors_are_written_and_checked(tmp_path):
    assert run("vectors", str(tmp_path), "--tree", "nvf4/E2M1", "--tree", "imma/INT8", "--count", "300").exit_code == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["imma_INT8.txt", "nvf4_E2M1.txt"]
    checked = run("vectors", str(tmp_path), "--check")
    assert checked.exit_code == 0
    assert checked.stdout.count("300 of 300 dots agree") == 2
    file = tmp_path / "imma_INT8.txt"
    file.write_text(file.read_text()[:-2] + "7\n")
    wrong = run("vectors", str(file), "--check")
    assert wrong.exit_code == 1
    assert "299 of 300 dots agree, not lines" in wrong.stdout
    assert run("vectors", str(tmp_path / "none"), "--check").exit_code == 2
