"""INT against FP at fine block granularity: where they cross, and which wins on which data."""

from collections.abc import Iterator

from mx_formats.block import BLOCK_FORMATS
from mx_formats.conversion import OCP, Conversion, ScaleRule
from mx_formats.error import qsnr_db
from mx_formats.quantize import round_trip
from mx_formats.theory import crossover, qsnr_of
from sim.gallery.claim import Check, Curve, Entry, direction, exactly, within
from workloads.generators import normal, student_t

_CROSSINGS = (("MXINT8", "MXFP8_E4M3", 7.55, 31.86), ("MXINT4", "MXFP4", 2.04, 19.14))
_SHAPE = (512, 1024)
# Published averages over tensors of models; the orderings are what synthetic data can show.
_ORDERINGS = (
    ("MXINT8", "MXFP8_E4M3", "40.35 > 31.50", True),
    ("MXINT6", "MXFP6_E2M3", "28.57 < 30.39", False),
    ("MXINT4", "MXFP4", "15.89 < 17.98", False),
)


def _checks() -> Iterator[Check | Curve]:
    for integer, floating, kappa, decibels in _CROSSINGS:
        found, level = crossover(BLOCK_FORMATS[integer], BLOCK_FORMATS[floating])
        yield exactly(f"crest factor where {integer} and {floating} cross", kappa, round(found, 2))
        yield exactly(f"QSNR of {integer} and {floating} there", decibels, round(level, 2), "dB")
    found, level = crossover(BLOCK_FORMATS["MXINT6"], BLOCK_FORMATS["MXFP6_E2M3"])
    yield exactly("crest factor where MXINT6 and MXFP6_E2M3 cross", 1.96, round(found, 2))
    found, level = crossover(BLOCK_FORMATS["NVINT4"], BLOCK_FORMATS["NVFP4"])
    yield within("crest factor where NVINT4 and NVFP4 cross, by the printed formula", 2.39, round(found, 2), 4)
    tails = {name: _quality(name, student_t(_SHAPE, 1)) for name in BLOCK_FORMATS}
    for integer, floating, published, wins in _ORDERINGS:
        ours = tails[integer], tails[floating]
        text = f"{ours[0]:.2f} {'>' if ours[0] > ours[1] else '<'} {ours[1]:.2f}"
        what = f"{integer} against {floating}, heavy tails"
        yield direction(what, published, text, (ours[0] > ours[1]) == wins, "dB")
    gaussian = {name: _quality(name, normal(_SHAPE, 1)) for name in ("NVINT4", "NVFP4")}
    for what, published, found, wins in (("heavy tails", "20.55 < 20.60", tails, False),
                                         ("normal, as after a rotation", "21.65 > 20.35", gaussian, True)):  # fmt: skip
        integer, floating = found["NVINT4"], found["NVFP4"]
        text = f"{integer:.2f} {'>' if integer > floating else '<'} {floating:.2f}"
        yield direction(f"NVINT4 against NVFP4, {what}", published, text, (integer > floating) == wins, "dB")
    factors = [1 + step / 4 for step in range(45)]
    for integer, floating, _, _ in _CROSSINGS:
        yield Curve(f"{integer} and {floating}, closed form", "crest factor of a block", "QSNR, dB",
                    {name: [(k, qsnr_of(BLOCK_FORMATS[name], k)) for k in factors] for name in (integer, floating)},
                    )  # fmt: skip


def _quality(name: str, x) -> float:
    block = BLOCK_FORMATS[name]
    rule = Conversion(ScaleRule.ROUND_UP) if block.scale.is_power_of_two else OCP
    return qsnr_db(x, round_trip(x, block, conversion=rule))


ENTRY = Entry(
    "int-or-float",
    "MXINT8 beats MXFP8, MXFP6 and MXFP4 beat their integers; NVINT4 beats NVFP4 once outliers are rotated away",
    "Chen et al., INT v.s. FP, arXiv 2510.25602",
    "closed forms; Student-t tensors (3 degrees of freedom) for outliers, normal ones for rotated tensors",
    simulated=False,
    checks=_checks,
)
