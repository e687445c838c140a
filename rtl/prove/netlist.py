"""Combinational RTL as z3 terms: Yosys writes SMT-LIB, z3 reads it.

A cut net is disconnected from what drives it: it becomes a free variable for everything behind it. A proof of a whole
design is then a chain: each net equals its rule given the nets before it, which were proven to equal theirs.
"""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

from collections.abc import Sequence
from functools import cached_property

import z3
from amaranth.lib.wiring import Component

from rtl import emit, tools

_STATE = "s"


class Netlist:
    """Terms of a component's nets.

    Args:
        component: combinational.
        name: module name.
        cuts: nets to disconnect, named as in `net`.

    Raises:
        ToolError: pyosys is missing or refuses the design, or the design has state.
    """

    def __init__(self, component: Component, name: str, cuts: Sequence[str] = ()):
        self._name = name
        text = emit.smt2(component, name, cuts)
        self._widths = dict(declared_nets(text))
        if registers := [line for line in text.splitlines() if line.startswith("; yosys-smt2-register")]:
            raise tools.ToolError(f"{name} has state, must be combinational: {registers[0]}")
        self._text = text

    def net(self, path: str) -> z3.BitVecRef:
        """The value of a net, a path such as "align_add.total" below the top module, or a port's name."""
        if path not in self._terms:
            raise KeyError(f"net {path!r} is not in {self._name}; it has {', '.join(sorted(self._widths)[:12])}, ...")
        return self._terms[path]

    @cached_property
    def _terms(self) -> dict[str, z3.BitVecRef]:
        """Every named net: read in one parse, as `value_of_net = term` for fresh constants."""
        lines = [self._text, f"(declare-const {_STATE} |{self._name}_s|)"]
        for number, (path, width) in enumerate(self._widths.items()):
            call = f"(|{self._name}_n {path}| {_STATE})"
            call = f"(ite {call} #b1 #b0)" if width == 1 else call
            lines.append(f"(declare-const net{number} (_ BitVec {width})) (assert (= net{number} {call}))")
        # The module's own assertions, if any, come first.
        equations = list(z3.parse_smt2_string("\n".join(lines)))[-len(self._widths) :]
        return {path: equation.arg(1) for path, equation in zip(self._widths, equations, strict=True)}


def declared_nets(text: str) -> list[tuple[str, int]]:
    """Names and widths of the nets, from the comments that Yosys writes for this purpose."""
    found = []
    for line in text.splitlines():
        if line.startswith("; yosys-smt2-wire "):
            _, _, path, width = line.split()
            found.append((path, int(width)))
    return found
