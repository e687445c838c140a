"""Random words that depend on a key and a counter alone: Philox4x32-10 (Salmon et al., SC 2011)."""

import numpy as np
from numba import njit

_u32, _u64 = np.uint32, np.uint64
_MULTIPLIERS = _u64(0xD2511F53), _u64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = _u64(0xFFFFFFFF)


@njit(inline="always")
def _round(c, k0, k1, number):
    p0, p1 = _MULTIPLIERS[0] * _u64(c[0]), _MULTIPLIERS[1] * _u64(c[2])
    key0, key1 = _u32(k0 + _u32(number * _WEYL[0])), _u32(k1 + _u32(number * _WEYL[1]))
    high0, high1 = _u32(p0 >> _u64(32)), _u32(p1 >> _u64(32))
    return _u32(high1 ^ c[1] ^ key0), _u32(p1 & _LOW), _u32(high0 ^ c[3] ^ key1), _u32(p0 & _LOW)


@njit(inline="always")
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Ten rounds: counter and key words (uint32) to four random uint32 words."""
    # Written out: a loop inside would keep callers from working on vectors of counters.
    c = _round((c0, c1, c2, c3), k0, k1, 0)
    c = _round(c, k0, k1, 1)
    c = _round(c, k0, k1, 2)
    c = _round(c, k0, k1, 3)
    c = _round(c, k0, k1, 4)
    c = _round(c, k0, k1, 5)
    c = _round(c, k0, k1, 6)
    c = _round(c, k0, k1, 7)
    c = _round(c, k0, k1, 8)
    return _round(c, k0, k1, 9)


@njit(cache=True, nogil=True)
def random_word(seed, index):
    """Word `index` (uint64) of the stream of `seed` (uint64), four words a counter, as uint32."""
    counter = index >> _u64(2)
    words = philox4x32(
        _u32(counter & _LOW), _u32(counter >> _u64(32)), _u32(0), _u32(0), _u32(seed & _LOW), _u32(seed >> _u64(32))
    )
    return words[index & _u64(3)]
