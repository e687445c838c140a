"""What `warptree doctor` reports, present and missing."""

import importlib.metadata

import pytest

from sim import doctor


def finding(name: str) -> doctor.Finding:
    return next(row for row in doctor.findings() if row.name == name)


def test_everything_the_tests_run_with_is_found() -> None:
    for name in ("platform", "python", "torch", "triton", "numba", "ptxas", "nvdisasm", "amaranth", "verilator"):
        assert finding(name).ok, name


def test_versions_are_the_installed_ones() -> None:
    assert finding("numba").version == importlib.metadata.version("numba")


def test_every_piece_says_what_it_disables_and_how_to_get_it() -> None:
    for row in doctor.findings():
        assert row.disables
        assert row.how_to_get


def test_the_wrong_torch_is_missing_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.9.1" if name == "torch" else version(name))
    row = finding("torch")
    assert not row.ok
    assert "found 2.9.1" in row.how_to_get
    assert "torch==2.13.0" in row.how_to_get


def test_the_pin_is_that_of_the_package() -> None:
    requirements = importlib.metadata.requires("warptree")
    assert requirements is not None
    assert f"torch=={doctor.TORCH_PIN}" in requirements


def test_an_absent_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert finding("pandas").version is None
