"""Dropout equals the script's NumPy generator bit for bit, and that generator equals Random123's published vectors."""

import numpy as np
import pytest
import torch

from workloads.dropout import dropout, expected, philox4x32

# philox4x32 with 10 rounds from kat_vectors of the Random123 distribution (Salmon et al., SC'11): counter, key, words.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_known_answers(counter, key, words):
    low, high = (int(word, 16) for word in key.split())
    got = philox4x32(np.array([[int(word, 16) for word in counter.split()]], np.uint32), high << 32 | low)
    assert [f"{word:08x}" for word in got[0]] == words.split()


@pytest.mark.parametrize("seed", [0, 1, 123, 2**31, 0x123456789ABCDEF])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_equals_numpy(gpu, seed, p):
    x = torch.randn(3000, generator=torch.Generator().manual_seed(seed % 97))
    np.testing.assert_array_equal(dropout(x, p, seed).numpy(), expected(x.numpy(), p, seed))


def test_mask_does_not_depend_on_block(gpu):
    x = torch.ones(2000)
    assert torch.equal(dropout(x, 0.5, 7, block=128), dropout(x, 0.5, 7, block=512))


def test_share_kept(gpu):
    # 20000 draws: six standard deviations of a binomial with p = 0.25 are 0.0184.
    kept = float(dropout(torch.ones(20000), 0.25, 99).ne(0).float().mean())
    assert abs(kept - 0.75) < 0.0184


def test_p_zero_keeps_all(gpu):
    # A draw of exactly 0 is not above p = 0; none of the first 4096 words of this seed is 0 or -1.
    x = torch.arange(1.0, 4097.0)
    assert torch.equal(dropout(x, 0.0, 5), x)


def test_p_one_is_refused():
    with pytest.raises(ValueError, match=r"p is 1.0, must be in \[0, 1\)"):
        dropout(torch.ones(4), 1.0, 0)
