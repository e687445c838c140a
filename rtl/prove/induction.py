"""A clocked component's step from one state to the next as z3 terms, for properties proven by induction.

What holds after reset, and after any cycle before which it held, holds always.
"""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable

import z3
from amaranth.lib.wiring import Component

from rtl import emit
from rtl.prove.netlist import declared_nets
from rtl.tools import ToolError

Nets = Callable[[str], z3.BitVecRef]
SECONDS = 120


class Transition:
    """Nets of a clocked component in one cycle and in the next.

    Args:
        component: with one clock; its reset, if any, is the net `rst`.
        name: module name.

    Raises:
        ToolError: pyosys is missing or refuses the design.
    """

    def __init__(self, component: Component, name: str):
        text = emit.smt2(component, name)
        widths = dict(declared_nets(text))
        lines = [text, f"(declare-const now |{name}_s|) (declare-const after |{name}_s|)"]
        lines += [f"(assert (|{name}_t| now after))", f"(assert (|{name}_i| now))"]
        for state in ("now", "after"):
            for number, (path, width) in enumerate(widths.items()):
                call = f"(|{name}_n {path}| {state})"
                call = f"(ite {call} #b1 #b0)" if width == 1 else call
                lines.append(f"(declare-const {state}{number} (_ BitVec {width})) (assert (= {state}{number} {call}))")
        found = list(z3.parse_smt2_string("\n".join(lines)))
        step, initial, *equations = found[-2 - 2 * len(widths) :]
        terms = [equation.arg(1) for equation in equations]
        self._step, self._initial = step, initial
        self._now = dict(zip(widths, terms[: len(widths)], strict=True))
        self._after = dict(zip(widths, terms[len(widths) :], strict=True))

    def now(self, path: str) -> z3.BitVecRef:
        """A net's value in a cycle."""
        return self._now[path]

    def after(self, path: str) -> z3.BitVecRef:
        """Its value in the next."""
        return self._after[path]

    def refute_step(self, goal: z3.BoolRef, *given: z3.BoolRef) -> dict[str, int] | None:
        """Nets of a cycle after which `goal` fails although the `given` hold; None if there is none."""
        return self.refute(goal, self._step, *given)

    def refute_start(self, goal: z3.BoolRef) -> dict[str, int] | None:
        """Nets of the state after power-up for which `goal` fails; None if there is none."""
        return self.refute(goal, self._initial)

    def refute(self, goal: z3.BoolRef, *given: z3.BoolRef) -> dict[str, int] | None:
        """Nets of the first of any two states, related by the `given` alone, for which `goal` fails."""
        solver = z3.Solver()
        solver.set("timeout", SECONDS * 1000)
        solver.add(*given, z3.Not(goal))
        answer = solver.check()
        if answer == z3.unknown:
            raise ToolError(f"z3 could not decide {goal} in {SECONDS} s")
        if answer == z3.unsat:
            return None
        model = solver.model()
        return {path: model.eval(term, model_completion=True).as_long() for path, term in self._now.items()}
