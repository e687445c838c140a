"""Random words that depend on a key and a counter alone: Philox4x32-10 (Salmon et al., SC 2011)."""

import numpy as np
from numba import njit

_u32, _u64 = np.uint32, np.uint64
_MULTIPLIERS = _u64(0xD2511F53), _u64(0xCD9E8D57)
_WEYL = _u32(0x9E3779B9), _u32(0xBB67AE85)
_LOW = _u64(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Ten rounds: counter and key words (uint32) to four random uint32 words."""
    for _ in range(10):
        p0, p1 = _MULTIPLIERS[0] * _u64(c0), _MULTIPLIERS[1] * _u64(c2)
        high0, high1 = _u32(p0 >> _u64(32)), _u32(p1 >> _u64(32))
        c0, c1, c2, c3 = _u32(high1 ^ c1 ^ k0), _u32(p1 & _LOW), _u32(high0 ^ c3 ^ k1), _u32(p0 & _LOW)
        k0, k1 = _u32(k0 + _WEYL[0]), _u32(k1 + _WEYL[1])
    return c0, c1, c2, c3


@njit(cache=True, nogil=True)
def random_word(seed, index):
    """Word `index` (uint64) of the stream of `seed` (uint64), four words a counter, as uint32."""
    counter = index >> _u64(2)
    words = philox4x32(
        _u32(counter & _LOW), _u32(counter >> _u64(32)), _u32(0), _u32(0), _u32(seed & _LOW), _u32(seed >> _u64(32))
    )
    return words[index & _u64(3)]
