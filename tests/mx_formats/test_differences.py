"""The committed page is what its command writes, and its answers are what warptree's own definition says."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from mx_formats.differences import LIBRARIES, cases, page

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "differences.md"


@pytest.fixture(scope="module", autouse=True)
def libraries():
    text = COMMITTED.read_text()
    for name in LIBRARIES:
        try:
            found = version(name).split("+")[0]
        except PackageNotFoundError:
            pytest.skip(f"{name} is not installed; pip install -e '.[test]'")
        if f"{name} {found}" not in text:
            pytest.skip(f"the page was written with another {name} than {found}; python -m mx_formats.differences")


def test_page_is_current():
    assert page() == COMMITTED.read_text()


def test_every_case_is_a_difference():
    for case in cases():
        assert len(set(case.answers.values())) > 1, case.title
