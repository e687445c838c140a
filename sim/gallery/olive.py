"""OliVe: outliers may take their neighbours' place, because the neighbours matter less."""

from collections.abc import Iterator

import numpy as np

from mx_formats.error import qsnr_db
from mx_formats.transforms.clipping import best_clip
from mx_formats.transforms.olive import IDENTIFIER, THRESHOLD, OlivePairs, best_pairs, decode_pairs
from sim.gallery.claim import Check, Entry, counted, direction
from workloads.generators import outlier_channels, student_t

_SHAPE = (256, 1024)
_TENSORS = {"heavy tails": student_t(_SHAPE, 1), "outlier channels": outlier_channels(_SHAPE, 1)}


def _checks() -> Iterator[Check]:
    for what, x in _TENSORS.items():
        outlier = np.abs(x) > 3 * x.std()
        both = outlier.reshape(-1, 2).all(1).mean()
        yield direction(f"{what}: pairs of two outliers", "rare", f"{100 * both:.3f} %", both < 1e-3)
        victims = np.where(outlier[..., _neighbours(x.shape[-1])] & ~outlier, 0, x)
        clipped = np.clip(x, -3 * x.std(), 3 * x.std())
        pruned, cut = qsnr_db(x, victims), qsnr_db(x, clipped)
        yield direction(f"{what}: without the outliers' neighbours, against outliers cut at 3 sigma",
                        "accuracy kept against lost", f"{pruned:.1f} > {cut:.1f}", pruned > cut, "dB")  # fmt: skip
        pairs = best_pairs(x)
        yield from _rule(what, x, pairs)
        paired = qsnr_db(x, decode_pairs(pairs))
        limit = best_clip(x, 4)
        plain = qsnr_db(x, np.clip(np.rint(x * (7 / limit)), -7, 7) * (limit / 7))
        yield direction(f"{what}: 4-bit pairs against int4, clipped where it is best", "better",
                        f"{paired:.2f} > {plain:.2f}", paired > plain, "dB")  # fmt: skip


def _rule(what: str, x: np.ndarray, pairs: OlivePairs) -> Iterator[Check]:
    """What a 4-bit code must do: fit, give up one value of a pair with an outlier, keep the other pairs as int4."""
    yield counted(f"{what}: bits of the longest code", 4, int(pairs.codes.max()).bit_length(), "bit")
    decoded, named = (array.reshape(-1, 2) for array in (decode_pairs(pairs), pairs.codes == IDENTIFIER))
    limit = THRESHOLD * pairs.scale
    outliers = np.abs(x.reshape(-1, 2)) > limit
    yield counted(f"{what}: pairs that name an outlier", int(outliers.any(1).sum()), int(named.any(1).sum()))
    yield counted(f"{what}: their neighbours that are not dropped", 0, int(np.count_nonzero(decoded[named])))
    plain = ~outliers.any(1)
    off = np.abs(decoded - x.reshape(-1, 2))[plain].max() / (limit / 7)
    yield direction(f"{what}: largest error of the other pairs, in steps of int4", "as int4, at most half",
                    f"{off:.3f}", off <= 0.5 * (1 + 1e-12))  # fmt: skip


def _neighbours(size: int) -> np.ndarray:
    """Index of each channel's partner in its pair."""
    return np.arange(size) ^ 1


ENTRY = Entry(
    "olive",
    "an outlier's neighbour can be dropped at little cost, and its 4-bit code then tells that the other is an outlier",
    "Guo et al., OliVe, ISCA 2023, by the accuracy of language models; here by QSNR",
    "Student-t tensors (3 degrees of freedom), and normal ones with 1 % of channels 50 times as large",
    simulated=False,
    checks=_checks,
)
