from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rtl import cache
from rtl.tools import ToolError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WARPTREE_CACHE", str(tmp_path))
    return tmp_path / "rtl"


def test_filled_once() -> None:
    calls = []

    def fill(folder: Path) -> None:
        calls.append(folder)
        (folder / "built").write_text("x")

    first, second = (cache.entry("k", fill) for _ in range(2))
    assert first == second == cache.root() / "k"
    assert (first / "built").read_text() == "x"
    assert len(calls) == 1


def test_a_failed_build_leaves_nothing(own_cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.entry("k", fail)
    assert list(own_cache.iterdir()) == []


def test_an_impossible_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WARPTREE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ToolError, match=r"build cache .*/file/rtl can't be made: .*; set WARPTREE_CACHE"):
        cache.entry("k", lambda folder: None)


def test_two_builders_agree(own_cache: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "built").write_text("x")

    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: cache.entry("k", fill), range(32)))
    assert paths == {own_cache / "k"}
    assert [path.name for path in own_cache.iterdir()] == ["k"]


def test_key_depends_on_every_part() -> None:
    assert len({cache.key("a", {"x": 1}), cache.key("a", {"x": 2}), cache.key("b", {"x": 1}), cache.key("a")}) == 4
    assert cache.key({"x": 1, "y": 2}) == cache.key({"y": 2, "x": 1})
