"""The array's RTL against the array's model: values after every cycle, and how many cycles a product takes."""

import numpy as np
import pytest

from hw.mac_array import ArraySpec, run, trace
from mx_formats import OCP_FORMATS, quantize
from rtl.array import ArrayDesign, MacArray
from rtl.compiled import FLAGS, ClockedRtl
from rtl.mac import MacDesign
from rtl.simulate import pack_lanes

pytestmark = pytest.mark.usefixtures("compiled_rtl")

ROWS, COLUMNS = 2, 3
SIDE = 4


class Driver:
    """Tiles one after another into an array, with idle cycles where asked."""

    def __init__(self, design: MacDesign, rows: int, columns: int, flags: tuple[str, ...] = FLAGS):
        self.design, self.rows, self.columns = design, rows, columns
        self.rtl = ClockedRtl(MacArray(ArrayDesign(design, rows, columns)), "mac_array", flags)

    def __call__(self, name: str, tiles: list, idle: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Operands (a, b, scale_a, scale_b) of each tile: accumulators [cycles, rows, columns] and `done` [cycles]."""
        lanes = self.design.spec(name).lanes
        rows: dict[str, list] = {key: [] for key in self.rtl.inputs}
        for a, b, scale_a, scale_b in tiles:
            steps = a.shape[1] // lanes
            for step in range(steps):
                part = slice(step * lanes, (step + 1) * lanes)
                words = {"a": pack_lanes(self.design, name, "a", a[:, part]),
                         "b": pack_lanes(self.design, name, "b", b[:, part]), "xa": scale_a, "xb": scale_b}  # fmt: skip
                values = {f"{key}__{i}": word for key, row in words.items() for i, word in enumerate(row)}
                values |= {"valid": 1, "first": step == 0, "last": step == steps - 1, "rst": 0}
                values["mode"] = self.design.mode(name)
                for key, column in rows.items():
                    column.append(int(values[key]))
        for key, column in rows.items():
            column.append(0 if key == "valid" else column[-1])  # one more cycle to see the last sums
        columns = {key: np.array(column, np.uint64) for key, column in rows.items()}
        if idle is not None:
            at = np.repeat(np.arange(len(columns["valid"])), 1 + idle[: len(columns["valid"])])
            first_of_each = np.concatenate([[True], at[1:] != at[:-1]])
            columns = {key: column[at] for key, column in columns.items()}
            columns["valid"] = columns["valid"] * first_of_each
        got = self.rtl(**columns)
        acc = np.stack([got[f"acc__{i}"] for i in range(self.rows * self.columns)], axis=1)
        return acc.reshape(-1, self.rows, self.columns), got["done"]


@pytest.fixture(scope="module")
def small() -> Driver:
    return Driver(MacDesign(), ROWS, COLUMNS)


def operands(name: str, seed: int, rows: int, columns: int, k: int = 64) -> tuple:
    rng = np.random.default_rng(seed)
    block = OCP_FORMATS[name]
    return tuple(quantize(rng.standard_normal((n, k)).astype(np.float32), block) for n in (rows, columns))


@pytest.mark.parametrize("name", OCP_FORMATS)
def test_every_cycle_is_the_model_s(small: Driver, name: str) -> None:
    """Two tiles without a gap: sums after every cycle, cycles as counted, and `done` right after each tile."""
    spec = ArraySpec(small.design.spec(OCP_FORMATS[name].element.name), ROWS, COLUMNS)
    tiles, expected = [], []
    for seed in range(2):
        a, b = operands(name, seed, ROWS, COLUMNS, 32)
        tile = a.codes, b.codes, a.scales[:, 0], b.scales[:, 0]
        tiles.append(tile)
        expected.append(trace(spec, *tile))
    acc, done = small(OCP_FORMATS[name].element.name, tiles)
    cycles = spec.cycles(2 * ROWS, COLUMNS, 32)
    assert len(acc) == cycles + 1
    np.testing.assert_array_equal(acc[1:], np.concatenate(expected))
    assert np.flatnonzero(done).tolist() == [cycles // 2, cycles]


def test_idle_cycles_change_nothing(small: Driver) -> None:
    a, b = operands("MXFP8_E4M3", 5, ROWS, COLUMNS, 32)
    tile = a.codes, b.codes, a.scales[:, 0], b.scales[:, 0]
    idle = np.random.default_rng(1).integers(0, 4, 100)
    acc, done = small("E4M3", [tile], idle)
    expected = trace(ArraySpec(small.design.spec("E4M3"), ROWS, COLUMNS), *tile)
    np.testing.assert_array_equal(acc[-1], expected[-1])
    assert done.sum() == 1
    assert len(acc) > 9


@pytest.mark.slow
@pytest.mark.parametrize("four_bit", [8, 16])
def test_a_square_array_multiplies_matrices(four_bit: int) -> None:
    """Two blocks along k, so the scales change inside a tile; values as `hw.mac_array.run` gives them."""
    unoptimised = tuple("-O0" if flag == "-O2" else flag for flag in FLAGS)  # built sooner than it is run
    driver = Driver(MacDesign(four_bit_products=four_bit), SIDE, SIDE, unoptimised)
    for name, block in OCP_FORMATS.items():
        spec = ArraySpec(driver.design.spec(block.element.name), SIDE, SIDE)
        a, b = operands(name, 3, SIDE, SIDE)
        halves = [(a.codes[:, at], b.codes[:, at], a.scales[:, i], b.scales[:, i])
                  for i, at in enumerate((slice(0, 32), slice(32, 64)))]  # fmt: skip
        lanes = spec.mac.lanes
        steps = [(q[0][:, s : s + lanes], q[1][:, s : s + lanes], q[2], q[3])
                 for q in halves for s in range(0, 32, lanes)]  # fmt: skip
        acc, done = one_tile(driver, block.element.name, steps)
        found = run(spec, a, b)
        np.testing.assert_array_equal((acc << np.uint32(7)).view(np.float32), found.values)
        assert done == found.cycles


def one_tile(driver: Driver, name: str, steps: list) -> tuple[np.ndarray, int]:
    """One tile whose steps each bring their own scales: its sums, and the cycle of `done`."""
    rows: dict[str, list[int]] = {key: [] for key in driver.rtl.inputs}
    for index, (a, b, scale_a, scale_b) in enumerate([*steps, steps[-1]]):
        words = {"a": pack_lanes(driver.design, name, "a", a), "b": pack_lanes(driver.design, name, "b", b),
                 "xa": scale_a, "xb": scale_b}  # fmt: skip
        values = {f"{key}__{i}": word for key, row in words.items() for i, word in enumerate(row)}
        values |= {"valid": index < len(steps), "first": index == 0, "last": index == len(steps) - 1, "rst": 0}
        values["mode"] = driver.design.mode(name)
        for key, column in rows.items():
            column.append(int(values[key]))
    got = driver.rtl(**{key: np.array(column, np.uint64) for key, column in rows.items()})
    (done,) = np.flatnonzero(got["done"]).tolist()
    acc = np.stack([got[f"acc__{i}"][done] for i in range(driver.rows * driver.columns)])
    return acc.reshape(driver.rows, driver.columns), done


def test_an_array_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ArraySpec\.rows: got 0"):
        ArrayDesign(rows=0)
