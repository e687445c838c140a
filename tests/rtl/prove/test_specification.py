"""The bit-vector rule against the value model that it restates."""

import numpy as np
import pytest
import z3

from rtl.equality import model_step
from rtl.mac import MacDesign, Tree
from rtl.prove import float_add_rule, long_integer_rule
from rtl.prove import specification as rule

RULES = {
    Tree.HYBRID: rule.mac_step,
    Tree.FP32_ADDITION: float_add_rule.mac_step,
    Tree.LONG_INTEGER: long_integer_rule.mac_step,
}


@pytest.mark.parametrize("tree", Tree)
@pytest.mark.parametrize("m", [12, 16, 23])
@pytest.mark.parametrize("name", MacDesign().names)
def test_rule_is_the_model_s(name: str, m: int, tree: Tree, cycles) -> None:
    design = MacDesign(m, tree=tree)
    spec = design.spec(name)
    inputs = cycles(design, name, 60 if tree is Tree.HYBRID else 40, seed=41).inputs()
    expected = model_step(design, name, **inputs)
    a, b = ([z3.BitVec(f"{side}{i}", spec.element.bits) for i in range(spec.lanes)] for side in "ab")
    xa, xb, acc = z3.BitVec("xa", 8), z3.BitVec("xb", 8), z3.BitVec("acc", spec.bits)
    formula = RULES[tree](spec, a, b, xa, xb, acc)
    variables = [*a, *b, xa, xb, acc]
    for row, wanted in enumerate(expected):
        values = [*inputs["a"][row], *inputs["b"][row], inputs["xa"][row], inputs["xb"][row], inputs["acc"][row]]
        pairs = [(v, z3.BitVecVal(int(value), v.size())) for v, value in zip(variables, values, strict=True)]
        assert z3.simplify(z3.substitute(formula, *pairs)).as_long() == wanted


def test_a_special_is_decided_before_the_sum() -> None:
    spec = MacDesign().spec("E5M2")
    infinity, zero = z3.BitVecVal(0x7C, 8), z3.BitVecVal(0, 8)
    one = z3.BitVecVal(127, 8)
    lanes = [infinity, zero, zero, zero]
    formula = rule.mac_step(spec, lanes, [zero] * 4, one, one, z3.BitVecVal(0, spec.bits))
    assert z3.simplify(formula).as_long() == spec.nan  # infinity * 0
    ones = [z3.BitVecVal(0x3C, 8), zero, zero, zero]
    formula = rule.mac_step(spec, lanes, ones, one, one, z3.BitVecVal(0, spec.bits))
    assert z3.simplify(formula).as_long() == np.uint32(spec.infinity)
