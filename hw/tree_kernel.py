"""Any `ReductionTree` in integers: one Numba kernel that walks the stages of a lowered tree.

A term is five integers: significand, exponent of its last bit, the exponent it presents to an alignment
(`NO_EXPONENT` if none), whether it is a negative zero, and its kind. `hw.reference` says what each step means. Sums
that are aligned fit in 62 bits (`hw.lowering` checks); exact ones go through `hw.wide_sum` where they do not.
"""

from typing import Any

import numpy as np
from numba import njit

from hw.lowering import ALIGN, NO_EXPONENT, ROUNDING, ZERO, Format, Row
from hw.reduction_tree import Align, Rounding, Zero
from hw.wide_sum import WIDTH, add, new_register, take
from mx_formats.bits import leading_zeros
from mx_formats.element import FINITE, INFINITE, NAN

_EXACT, _ANCHOR, _WINDOW = ALIGN[Align.EXACT], ALIGN[Align.ANCHOR], ALIGN[Align.WINDOW]
_FLOOR, _NEAREST = ROUNDING[Rounding.FLOOR], ROUNDING[Rounding.NEAREST_EVEN]
_POSITIVE, _IEEE = ZERO[Zero.POSITIVE], ZERO[Zero.IEEE]
_NO_BITS = 1 << 40  # exponent of the last bit of nothing at all
_SIGNIFICAND, _LAST, _EXPONENT, _MINUS, _KIND = range(5)
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def gemm(lowered, a, b, scale_a, scale_b, out):
    """Steps of a[m, :] with b[n, :] in order of k, for every output.

    Args:
        lowered: the tree.
        a: `Elements` of shape [m, k].
        b: `Elements` of shape [n, k].
        scale_a: `Scales` of shape [m, steps, groups].
        scale_b: `Scales` of shape [n, steps, groups].
        out: uint64[m, n] patterns, read and written.
    """
    products = lowered.products
    terms = np.empty((products, 5), np.int64)
    register = new_register()
    for m in range(out.shape[0]):
        for n in range(out.shape[1]):
            for index in range(scale_a.exponent.shape[1]):
                _multiply(lowered, a, b, m, n, index * products, terms)
                out[m, n] = _step(lowered, terms, scale_a, scale_b, m, n, index, out[m, n], register)


@njit(**_OPTIONS)
def steps(lowered, a, b, scale_a, scale_b, out):
    """One step of row m of `a` with row m of `b` for every m; arguments as `gemm`, out uint64[m]."""
    terms = np.empty((lowered.products, 5), np.int64)
    register = new_register()
    for m in range(len(out)):
        _multiply(lowered, a, b, m, m, 0, terms)
        out[m] = _step(lowered, terms, scale_a, scale_b, m, m, 0, out[m], register)


@njit(**_OPTIONS)
def _multiply(lowered, a, b, m, n, first, terms):
    for i in range(lowered.products):
        k = first + i
        significand = a.significand[m, k] * b.significand[n, k]
        exponent = a.exponent[m, k] + b.exponent[n, k]
        kind = max(a.kind[m, k], b.kind[n, k])
        if kind == INFINITE and significand == 0:
            kind = NAN
        terms[i, _SIGNIFICAND] = significand
        terms[i, _LAST] = exponent - lowered.fraction_bits
        terms[i, _EXPONENT] = exponent
        terms[i, _MINUS] = a.minus[m, k] ^ b.minus[n, k]
        terms[i, _KIND] = kind


@njit(**_OPTIONS)
def _step(lowered, terms, scale_a, scale_b, m, n, index, pattern, register):
    kept = _unpack(lowered.format, pattern)
    zero = (np.int64(0), np.int64(0), np.int64(NO_EXPONENT), np.int64(0), np.int64(FINITE))
    count = lowered.products
    for level in range(len(lowered.stages)):
        stage, result = _row(lowered.stages, level), _result(lowered.results, level)
        if stage.scaled:
            _scale(terms, count, scale_a, scale_b, m, n, index)
        count //= stage.fan_in
        stride = count if stage.interleaved else 1
        for group in range(count):
            first = group if stage.interleaved else group * stage.fan_in
            length = stage.fan_in // stage.chain
            joined = kept if stage.accumulator else zero
            for part in range(stage.chain):
                start = first + part * length * stride
                joined = _join(stage, terms, start, stride, length, joined, register)
                if result.exponent_bits >= 0:
                    joined = _unpack(result, _pack(result, joined))
            _store(terms, group, joined)
    return _pack(lowered.format, _load(terms, 0))


@njit(inline="always")
def _row(stages, level):
    r = stages[level]
    return Row(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14])


@njit(inline="always")
def _result(results, level):
    r = results[level]
    return Format(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])


@njit(inline="always")
def _load(terms, i):
    return terms[i, 0], terms[i, 1], terms[i, 2], terms[i, 3], terms[i, 4]


@njit(inline="always")
def _store(terms, i, term):
    terms[i, 0], terms[i, 1], terms[i, 2], terms[i, 3], terms[i, 4] = term


@njit(**_OPTIONS)
def _scale(terms, count, scale_a, scale_b, m, n, index):
    """Multiply by the scales; term i of `count` belongs to group i * groups // count."""
    groups = scale_a.exponent.shape[2]
    for i in range(count):
        group = i * groups // count
        exponent = scale_a.exponent[m, index, group] + scale_b.exponent[n, index, group]
        factor = scale_a.significand[m, index, group] * scale_b.significand[n, index, group]
        if scale_a.nan[m, index, group] or scale_b.nan[n, index, group] or terms[i, _KIND] == INFINITE and factor == 0:
            terms[i, _KIND] = NAN
        if factor == 0:
            terms[i, _MINUS] |= terms[i, _SIGNIFICAND] < 0
            terms[i, _EXPONENT] = NO_EXPONENT
        terms[i, _SIGNIFICAND] *= factor
        terms[i, _LAST] += exponent - 2 * scale_a.fraction_bits
        terms[i, _EXPONENT] += exponent


@njit(**_OPTIONS)
def _join(stage, terms, start, stride, length, kept, register):
    """One group and the accumulator `kept` to one term; `kept` is zero where none joins."""
    joins = stage.accumulator or stage.chain > 1
    largest, lowest, highest = np.int64(NO_EXPONENT), np.int64(_NO_BITS), np.int64(-_NO_BITS)
    plus, minus, nan, zeros_minus = False, False, kept[_KIND] == NAN, not joins or kept[_MINUS] != 0
    for j in range(length):
        i = start + j * stride
        significand = terms[i, _SIGNIFICAND]
        finite = terms[i, _KIND] == FINITE and significand != 0
        if finite and _exponent_of(significand, terms[i, _LAST]) >= stage.overflow:
            terms[i, _KIND] = INFINITE
        if terms[i, _KIND] == INFINITE:
            plus, minus = plus or significand > 0, minus or significand < 0
        nan = nan or terms[i, _KIND] == NAN
        zeros_minus = zeros_minus and terms[i, _MINUS] != 0
        if significand != 0 or stage.zeros_join:  # a sum that nothing joined presents NO_EXPONENT, the least
            largest = max(largest, terms[i, _EXPONENT])
        if significand != 0:
            lowest = min(lowest, terms[i, _LAST])
            highest = max(highest, _exponent_of(significand, terms[i, _LAST]))
    if kept[_KIND] == INFINITE:
        plus, minus = plus or kept[_SIGNIFICAND] > 0, minus or kept[_SIGNIFICAND] < 0
    if nan or plus or minus:
        sign = np.int64(-1 if minus else 1)
        kind = np.int64(NAN if nan or (plus and minus) else INFINITE)
        return sign, np.int64(0), np.int64(NO_EXPONENT), np.int64(0), kind
    if stage.align == _WINDOW:
        return _join_window(stage, _load(terms, start), kept)
    if kept[_SIGNIFICAND] != 0:
        largest, lowest = max(largest, kept[_EXPONENT]), min(lowest, kept[_LAST])
        highest = max(highest, _exponent_of(kept[_SIGNIFICAND], kept[_LAST]))
    exponent = max(largest, stage.lowest)
    if stage.align == _ANCHOR and largest > NO_EXPONENT // 2:
        exponent = np.int64(stage.anchor)
    if lowest == _NO_BITS:
        return np.int64(0), np.int64(0), exponent, np.int64(zeros_minus), np.int64(FINITE)
    if stage.align == _EXACT:
        total, last = _sum_exactly(terms, start, stride, length, kept, lowest, highest, register)
        exponent = _exponent_of(total, last) if total != 0 else np.int64(NO_EXPONENT)
    else:
        last = lowest if stage.fraction_bits < 0 else exponent - stage.fraction_bits
        total = _aligned_accumulator(stage, kept, exponent, last)
        for j in range(length):
            i = start + j * stride
            total += _cut(terms[i, _SIGNIFICAND], terms[i, _LAST] - last, stage.rounding)
    return total, last, exponent, np.int64(0), np.int64(FINITE)


@njit(inline="always")
def _exponent_of(significand, last):
    return last + 63 - leading_zeros(np.uint64(abs(significand)))


@njit(**_OPTIONS)
def _sum_exactly(terms, start, stride, length, kept, lowest, highest, register):
    """The sum and the exponent of its last bit; if wider than 62 bits, cut with an odd last bit."""
    grown = np.int64(64) - leading_zeros(np.uint64(length + 1))
    if highest + 1 - lowest + grown <= WIDTH:
        total = kept[_SIGNIFICAND] << max(kept[_LAST] - lowest, 0)
        for j in range(length):
            i = start + j * stride
            total += terms[i, _SIGNIFICAND] << max(terms[i, _LAST] - lowest, 0)
        return total, lowest
    if kept[_SIGNIFICAND] != 0:
        add(register, kept[_SIGNIFICAND], kept[_LAST] - lowest)
    for j in range(length):
        i = start + j * stride
        if terms[i, _SIGNIFICAND] != 0:
            add(register, terms[i, _SIGNIFICAND], terms[i, _LAST] - lowest)
    total, position = take(register)
    return total, position + lowest


@njit(**_OPTIONS)
def _aligned_accumulator(stage, kept, exponent, last):
    if kept[_SIGNIFICAND] == 0 or kept[_EXPONENT] - exponent <= -stage.right:
        return np.int64(0)
    coarser = exponent - stage.accumulator_bits if stage.fraction_bits >= 0 else last
    return _cut(kept[_SIGNIFICAND], kept[_LAST] - coarser, stage.rounding) << (coarser - last)


@njit(**_OPTIONS)
def _join_window(stage, term, kept):
    if term[_SIGNIFICAND] == 0:
        return kept
    difference = kept[_EXPONENT] - term[_EXPONENT]
    if kept[_SIGNIFICAND] == 0 or difference <= -stage.right:
        return term
    if difference >= stage.left:
        return kept
    # An accumulator that is not the smaller one ends above the last bit kept.
    last = min(term[_LAST], term[_EXPONENT] - stage.fraction_bits if difference < 0 else kept[_LAST])
    total = term[_SIGNIFICAND] << (term[_LAST] - last)
    total += _cut(kept[_SIGNIFICAND], kept[_LAST] - last, stage.rounding)
    return total, last, term[_EXPONENT], np.int64(0), np.int64(FINITE)


@njit(**_OPTIONS)
def _cut(significand, shift, rounding):
    """significand * 2**shift as an integer."""
    if significand == 0:
        return np.int64(0)
    if shift >= 0:
        return significand << shift
    down = min(-shift, 63)
    if rounding == _FLOOR:
        return significand >> down
    magnitude = abs(significand)
    magnitude = _nearest(magnitude, down) if rounding == _NEAREST else magnitude >> down
    return -magnitude if significand < 0 else magnitude


@njit(**_OPTIONS)
def _nearest(magnitude, down):
    if down > 62:
        return np.int64(0)
    odd = (magnitude >> down) & 1
    return (magnitude + (np.int64(1) << (down - 1)) - 1 + odd) >> down


@njit(**_OPTIONS)
def _unpack(fmt, pattern):
    """The term of a pattern."""
    bits = np.int64(pattern)
    if fmt.exponent_bits == 0:
        sign = np.int64(1) << (fmt.bits - 1)
        value = (bits ^ sign) - sign
        return value, np.int64(-fmt.mantissa_bits), np.int64(NO_EXPONENT), np.int64(0), np.int64(FINITE)
    m = fmt.mantissa_bits
    mantissa = bits & ((np.int64(1) << m) - 1)
    top_field = (np.int64(1) << fmt.exponent_bits) - 1
    field = (bits >> m) & top_field
    negative = (bits >> (m + fmt.exponent_bits)) & 1
    sign = np.int64(-1 if negative else 1)
    if field == top_field:
        return sign, np.int64(0), np.int64(NO_EXPONENT), np.int64(0), np.int64(NAN if mantissa else INFINITE)
    if field == 0 and (mantissa == 0 or not fmt.subnormals):
        return np.int64(0), np.int64(0), np.int64(NO_EXPONENT), negative, np.int64(FINITE)
    significand = mantissa | (np.int64(1) << m if field > 0 else 0)
    exponent = max(field, 1) - (top_field >> 1)
    return sign * significand, exponent - m, exponent, np.int64(0), np.int64(FINITE)


@njit(**_OPTIONS)
def _pack(fmt, term):
    """The pattern a term rounds to."""
    significand, last = term[_SIGNIFICAND], term[_LAST]
    if fmt.exponent_bits == 0:
        return _pack_integer(fmt, significand, last)
    m = fmt.mantissa_bits
    infinity = ((np.int64(1) << fmt.exponent_bits) - 1) << m
    sign = np.int64(1) << (m + fmt.exponent_bits) if significand < 0 else np.int64(0)
    if term[_KIND] != FINITE:
        return np.uint64(fmt.nan if term[_KIND] == NAN else infinity | sign)
    if significand == 0:
        minus = fmt.zero == _IEEE and term[_MINUS] != 0
        return np.uint64(np.int64(1) << (m + fmt.exponent_bits) if minus else 0)
    to_zero = np.uint64(0 if fmt.zero == _POSITIVE else sign)
    bias = (1 << (fmt.exponent_bits - 1)) - 1
    exponent = _exponent_of(significand, last)
    if exponent < 1 - bias and not fmt.subnormals:
        return to_zero
    exponent = max(exponent, 1 - bias)
    kept = abs(_cut(significand, last - exponent + m, fmt.rounding))
    magnitude = min(kept + (min(exponent - 1 + bias, (np.int64(1) << fmt.exponent_bits) - 2) << m), infinity)
    return np.uint64(sign | magnitude) if magnitude != 0 else to_zero


@njit(**_OPTIONS)
def _pack_integer(fmt, significand, last):
    number = significand << (last + fmt.mantissa_bits) if significand != 0 else np.int64(0)
    limit = np.int64(1) << (fmt.bits - 1)
    if fmt.saturate:
        number = min(max(number, -limit), limit - 1)
    return np.uint64(number & (2 * limit - 1))
