"""A Liberty cell's Boolean function as gates of `rtl.power.mapped`.

Operators, tightest first: ! (or ' behind), ^, & (or *, or nothing between two factors), | (or +).
"""

import re
from collections.abc import Callable

from rtl.tools import ToolError

_WORD = re.compile(r"\s*([A-Za-z_][\w\[\]]*|[01]|[!'^&*|+()])")
Bit = int | str
Emit = Callable[[str, dict[str, Bit]], Bit]  # type of gate and its inputs to the net it drives


def gates_of(function: str, pins: dict[str, Bit], emit: Emit) -> Bit:
    """Emit gates that compute `function` of the nets on a cell's input pins; returns the net that holds it.

    Raises:
        ToolError: not an expression, or one of a pin the cell does not have.
    """
    words, position = [], 0
    text = function.strip()
    while position < len(text):
        found = _WORD.match(text, position)
        if found is None:
            raise ToolError(f"Liberty function {function!r}: {text[position:]!r} is no part of an expression")
        words.append(found[1])
        position = found.end()
    return _Parser(function, words, pins, emit).whole()


class _Parser:
    def __init__(self, function: str, words: list[str], pins: dict[str, Bit], emit: Emit) -> None:
        self._function, self._words, self._pins, self._emit, self._next = function, words, pins, emit, 0

    def whole(self) -> Bit:
        net = self._sum(0)
        if self._next != len(self._words):
            raise self._wrong()
        return net

    def _peek(self) -> str:
        return self._words[self._next] if self._next < len(self._words) else ""

    def _wrong(self) -> ToolError:
        return ToolError(f"Liberty function {self._function!r}: {self._peek() or 'its end'!r} comes where it must not")

    def _pair(self, gate: str, a: Bit, b: Bit) -> Bit:
        return self._emit(gate, {"A": a, "B": b})

    def _sum(self, depth: int) -> Bit:
        net = self._product(depth)
        while self._peek() in ("|", "+"):
            self._next += 1
            net = self._pair("$_OR_", net, self._product(depth))
        return net

    def _product(self, depth: int) -> Bit:
        net = self._difference(depth)
        while (word := self._peek()) and word not in ("|", "+", ")"):
            if word in ("&", "*"):
                self._next += 1
            net = self._pair("$_AND_", net, self._difference(depth))
        return net

    def _difference(self, depth: int) -> Bit:
        net = self._factor(depth)
        while self._peek() == "^":
            self._next += 1
            net = self._pair("$_XOR_", net, self._factor(depth))
        return net

    def _factor(self, depth: int) -> Bit:
        word = self._peek()
        if depth > 50:
            raise ToolError(f"Liberty function {self._function!r} is nested more than 50 deep")
        self._next += 1
        if word == "!":
            net = self._emit("$_NOT_", {"A": self._factor(depth + 1)})
        elif word == "(":
            net = self._sum(depth + 1)
            if self._peek() != ")":
                raise self._wrong()
            self._next += 1
        elif word in ("0", "1"):
            net = word
        elif word in self._pins:
            net = self._pins[word]
        else:
            self._next -= 1
            raise self._wrong()
        while self._peek() == "'":
            self._next += 1
            net = self._emit("$_NOT_", {"A": net})
        return net
