"""The lines of a bulk copy's box, against all its bytes one by one."""

import itertools

import numpy as np
import pytest

from gpu_model.core.boxes import box_lines, most_lines
from gpu_model.core.coalesce import LINE_BYTES, SECTOR_BYTES, Regions
from gpu_model.core.pool import TRANSACTION
from gpu_model.trace import CopyWord

BASE = 0x4000
NOWHERE = Regions(*[np.zeros(0, np.int64)] * 3)  # addresses are left as they are


def words_of(**dimensions: np.ndarray) -> np.ndarray:
    """A tensor copy, as UTMALDG leaves it."""
    words = np.full(32, -1, np.int64)
    words[[CopyWord.BASE, CopyWord.ROWS]] = BASE, 0
    for name, values in dimensions.items():
        words[CopyWord[name] : CopyWord[name] + 5] = values
    return words


@pytest.mark.parametrize("seed", range(20))
def test_sectors_of_a_box_with_steps_and_ragged_edges(seed):
    rng = np.random.default_rng(seed)
    box, size = rng.integers(1, 5, 5), rng.integers(1, 8, 5)
    box[0], size[0] = rng.integers(1, 100), rng.integers(1, 200)
    step = np.array([1, *rng.integers(1, 4, 4)])
    start = np.array([rng.integers(-n, m + 1) for n, m in zip(box, size, strict=True)])
    stride = np.array([4, *16 * rng.integers(1, 300, 4)])
    touched = set()
    for index in itertools.product(*map(range, box.tolist())):
        at = start + np.array(index) * step
        if ((at >= 0) & (at < size)).all():
            touched.add((BASE + int(at @ stride)) // SECTOR_BYTES)
    words = words_of(START=start, BOX=box, SIZE=size, STRIDE=stride, STEP=step)
    lines = np.zeros(most_lines(words), TRANSACTION)
    count, outside = box_lines(words, NOWHERE, lines)
    assert outside == -1
    sectors = LINE_BYTES // SECTOR_BYTES
    found = {
        int(row["line"]) * sectors + bit for row in lines[:count] for bit in range(sectors) if row["sectors"] >> bit & 1
    }
    assert found == touched
