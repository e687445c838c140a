# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false
"""Broken MACs: what was found wrong in published hybrid MACs (functional check of the KU Leuven RTL), and likely slips.

Each is a module, an attribute of it, and what to put there.
"""

import rtl.mac.align_add
import rtl.mac.step
from rtl.mac import MacDesign
from rtl.mac.normalise import Normalise

_right_offset = rtl.mac.step._offset


def _wrong_bias(design: MacDesign, name: str) -> int:
    return _right_offset(design, name) - (4 if name == "E2M3" else 0)


class _SignLost(Normalise):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.sign.eq(0)
        return m


E2M3_BIAS = (rtl.mac.step, "_offset", _wrong_bias)
SIGN_OF_THE_SUM = (rtl.mac.step, "Normalise", _SignLost)
INT8_DIGIT_WEIGHTS = (rtl.mac.align_add, "INTEGER_SHIFTS", (8, 4, 4, 1))
FP4_ANCHOR = (rtl.mac.align_add, "PAIR_SHIFT", 0)
