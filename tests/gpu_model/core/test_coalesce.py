import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_model.core.coalesce import Regions, lines_of, local_lines_of, rebase, wavefronts_of
from gpu_model.core.state import TRANSACTION

ADDRESSES = st.lists(st.one_of(st.just(-1), st.integers(0, 4096).map(lambda word: 4 * word)), min_size=32, max_size=32)


def lanes(function) -> np.ndarray:
    return np.array([function(lane) for lane in range(32)], np.int64)


@settings(deadline=None)  # the first call compiles
@given(ADDRESSES)
def test_lines_and_sectors_are_the_distinct_ones(addresses):
    out = np.zeros(32, TRANSACTION)
    count, sectors = lines_of(np.array(addresses, np.int64), out)
    active = [address for address in addresses if address >= 0]
    assert sorted(out["line"][:count]) == sorted({address // 128 for address in active})
    assert sectors == len({address // 32 for address in active})


@pytest.mark.parametrize(
    ("addresses", "width", "wavefronts"),
    [
        (lanes(lambda i: 4 * i), 4, 1),
        (lanes(lambda i: 64), 4, 1),  # broadcast
        (lanes(lambda i: 8 * i), 4, 2),
        (lanes(lambda i: 128 * i), 4, 32),
        (lanes(lambda i: 132 * i), 4, 1),  # a padded column
        (lanes(lambda i: 8 * i), 8, 2),
        (lanes(lambda i: 16 * i), 16, 4),
        (lanes(lambda i: 128 * i), 16, 32),
        (lanes(lambda i: -1), 4, 0),
    ],
)
def test_shared_memory_wavefronts(addresses, width, wavefronts):
    assert wavefronts_of(addresses, width) == wavefronts


@settings(deadline=None)  # the first call compiles
@given(ADDRESSES)
def test_32_bit_wavefronts_are_the_fullest_bank(addresses):
    words = {address // 4 for address in addresses if address >= 0}
    fullest = max((sum(1 for word in words if word % 32 == bank) for bank in range(32)), default=0)
    assert wavefronts_of(np.array(addresses, np.int64), 4) == fullest


def test_a_local_word_of_all_lanes_is_one_line():
    out = np.zeros(128, TRANSACTION)
    assert local_lines_of(np.full(32, 8, np.int64), 4, 0, out) == (1, 4)
    assert local_lines_of(np.full(32, 16, np.int64), 16, 0, out) == (4, 16)


def test_rebase_moves_addresses_to_their_region_and_finds_strays():
    regions = Regions(np.array([1000, 5000]), np.array([2000, 6000]), np.array([0, 1 << 21]))
    addresses = np.full(32, -1, np.int64)
    addresses[:2] = 1004, 5008
    assert rebase(addresses, regions) == -1
    assert addresses[:3].tolist() == [4, (1 << 21) + 8, -1]
    assert rebase(np.full(32, 3000, np.int64), regions) == 3000
