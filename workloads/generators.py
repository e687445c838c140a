"""Seeded tensors with the value distributions that number formats are judged on.

Every generator takes a shape and a seed and returns float32. Equal arguments give equal bits for one NumPy version;
`log_normal` also depends on the processor, in the last bit of a few values, through NumPy's exp.

`crest_factor` says how hard a tensor is for a block format: the quantisation error of an integer block grows with
it, that of a floating-point block hardly does (Chen et al., arXiv 2510.25602).
"""

from collections.abc import Callable

import numpy as np

Shape = tuple[int, ...]


def normal(shape: Shape, seed: int, scale: float = 1.0) -> np.ndarray:
    """Return N(0, scale^2): weights, and activations after a random rotation."""
    return (scale * _stream(seed).standard_normal(shape)).astype(np.float32)


def student_t(shape: Shape, seed: int, freedom: float = 3.0) -> np.ndarray:
    """Return Student's t with `freedom` degrees of freedom: activations with scattered outliers, fewer the higher.

    Raises:
        ValueError: `freedom` is not positive.
    """
    if freedom <= 0:
        raise ValueError(f"student_t: freedom is {freedom}, must be positive (3 has heavy tails, 30 is near normal)")
    return _stream(seed).standard_t(freedom, shape).astype(np.float32)


def log_normal(shape: Shape, seed: int, sigma: float = 1.0) -> np.ndarray:
    """Return +-exp(N(0, sigma^2)) with random signs: gradients, whose magnitudes spread over decades.

    Raises:
        ValueError: `sigma` is negative.
    """
    if sigma < 0:
        raise ValueError(f"log_normal: sigma is {sigma}, must not be negative")
    stream = _stream(seed)
    magnitude = np.exp(sigma * stream.standard_normal(shape))
    return _signed(magnitude, stream).astype(np.float32)


def wide_exponents(shape: Shape, seed: int, lowest: int = -20, highest: int = 20) -> np.ndarray:
    """Return +-m * 2^e, m uniform in [1, 2) and e uniform over the integers lowest..highest: alignment stress.

    Raises:
        ValueError: an exponent is no normal float32 exponent (-126 to 127), or lowest is above highest.
    """
    if not -126 <= lowest <= highest <= 127:
        raise ValueError(f"wide_exponents: {lowest}..{highest} must be an ascending range within -126..127")
    stream = _stream(seed)
    # 23 random fraction bits, so that rounding to float32 never carries into the next exponent.
    fraction = stream.integers(0, 2**23, shape) / 2**23
    exponent = stream.integers(lowest, highest + 1, shape)
    return _signed(np.ldexp(1 + fraction, exponent), stream).astype(np.float32)


def outlier_channels(shape: Shape, seed: int, share: float = 0.01, gain: float = 50.0) -> np.ndarray:
    """Return N(0, 1) whose last axis has a few channels multiplied by `gain`, as in language-model activations.

    Args:
        shape: at least one axis; the last one is the channel.
        seed: of the stream.
        share: fraction of the channels that are outliers, rounded up to at least one unless 0.
        gain: factor of an outlier channel.

    Raises:
        ValueError: `share` is outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"outlier_channels: share is {share}, must be in [0, 1]")
    stream = _stream(seed)
    values = stream.standard_normal(shape)
    channels = stream.permutation(shape[-1])[: int(np.ceil(share * shape[-1]))]
    values[..., channels] *= gain
    return values.astype(np.float32)


def crest_factor(values: np.ndarray, block: int) -> np.ndarray:
    """Return max |x| / rms(x) of each run of `block` values along the last axis, 0 for a run of zeros.

    Raises:
        ValueError: the last axis is no multiple of `block`.
    """
    if values.shape[-1] % block:
        raise ValueError(f"crest_factor: the last axis has {values.shape[-1]} values, no multiple of block {block}")
    runs = np.abs(values.astype(np.float64)).reshape(*values.shape[:-1], -1, block)
    rms = np.sqrt(np.mean(runs**2, axis=-1))
    return np.divide(runs.max(-1), rms, out=np.zeros_like(rms), where=rms > 0)


GENERATORS: dict[str, Callable[..., np.ndarray]] = {
    "normal": normal,
    "student_t": student_t,
    "log_normal": log_normal,
    "wide_exponents": wide_exponents,
    "outlier_channels": outlier_channels,
}


def _stream(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _signed(magnitude: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    return np.where(stream.integers(0, 2, magnitude.shape) == 1, magnitude, -magnitude)
