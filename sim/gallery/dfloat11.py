"""DFloat11: how few bits the exponents of bfloat16 weights carry, and that none is lost."""

from collections.abc import Iterator

import numpy as np
import torch

from mx_formats.transforms.dfloat11 import compress, expand
from sim.gallery.claim import Check, Entry, exactly, within
from workloads.generators import normal

_SHAPE = (2048, 2048)


def _checks() -> Iterator[Check]:
    weights = _patterns(torch.from_numpy(normal(_SHAPE, 1, scale=0.02)))
    every = np.arange(1 << 16, dtype=np.uint16)
    for what, patterns in (("of normal weights", weights), ("of every pattern, NaN and infinity too", every)):
        lost = np.bitwise_count(expand(compress(patterns)) ^ patterns).sum()
        yield exactly(f"bits {what} that differ after a round trip", 0, int(lost))
    share = np.bincount((weights >> 7 & 0xFF).ravel(), minlength=256) / weights.size
    entropy = -float((share[share > 0] * np.log2(share[share > 0])).sum())
    bits = compress(weights).bits_per_value
    yield within("entropy of the exponent, of its 8 bits", 2.6, entropy, 5, "bit")
    yield within("bits a weight", 11, bits, 5, "bit")
    yield within("size of bfloat16's", 70, 100 * bits / 16, 6, "%")


def _patterns(values: torch.Tensor) -> np.ndarray:
    return values.bfloat16().view(torch.int16).numpy().view(np.uint16)


ENTRY = Entry(
    "dfloat11",
    "the exponents of bfloat16 weights carry 2.6 of their 8 bits, so that Huffman codes store a weight in 11 bits, "
    "losing nothing",
    "Zhang et al., 70% Size, 100% Accuracy, arXiv 2504.11651, over language models",
    f"normal weights, {_SHAPE[0]} x {_SHAPE[1]}; without the offsets that parallel decoding needs",
    simulated=False,
    checks=_checks,
)
