"""Liberty's grammar: groups of attributes and of groups, read in one pass; groups nobody asks for are skipped.

    kind (name) { attribute : value ; attribute (value, ...) ; kind (name) { ... } }

A statement may lack its semicolon at the end of a line, as many libraries have it.
"""

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from rtl.tools import ToolError

_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:[^"\\]|\\.)*"|[{};]', re.DOTALL)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_SIMPLE = re.compile(r"(\w+)\s*:\s*(.*)", re.DOTALL)
_COMPLEX = re.compile(r"(\w+)\s*\((.*)\)", re.DOTALL)


@dataclass
class Group:
    """A group.

    Attributes:
        kind: such as "cell".
        name: what its parentheses hold, without quotes.
        attributes: text of each attribute, without outer quotes; the last one where a name comes again.
        groups: those inside it that were asked for.
    """

    kind: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    groups: "list[Group]" = field(default_factory=list)

    def of(self, *kinds: str) -> "Iterator[Group]":
        """The groups inside it of some kinds."""
        return (group for group in self.groups if group.kind in kinds)

    def number(self, name: str, default: float | None = None) -> float:
        """An attribute's number; ToolError where it is none, or absent without a default."""
        text = self.attributes.get(name)
        if text is None and default is not None:
            return default
        value = _finite((text or "").strip())
        if value is None:
            raise ToolError(f"Liberty {self.kind} {self.name}: {name} is {text!r}, expected a number")
        return value

    def numbers(self, name: str) -> list[float]:
        """All numbers of an attribute's list of quoted lists; empty where it is absent."""
        words = self.attributes.get(name, "").replace('"', " ").replace("\\", " ").replace(",", " ").split()
        values = [value for value in map(_finite, words) if value is not None]
        if len(values) != len(words):
            raise ToolError(f"Liberty {self.kind} {self.name}: {name} holds something that is no number")
        return values


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_groups(text: str, wanted: Collection[str]) -> Group:
    """The library: its outermost group with all groups of `wanted` kinds that lie in such groups.

    Raises:
        ToolError: braces that do not match, or no library.
    """
    root, start, skipped = Group("", ""), 0, 0
    stack = [root]
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark not in ("{", "}", ";"):
            continue
        if skipped:
            skipped += {"{": 1, "}": -1, ";": 0}[mark]
            start = token.end()
            continue
        statements = _statements(text[start : token.start()])
        start = token.end()
        opening = statements.pop() if mark == "{" and statements else ""
        for statement in statements:
            _attribute(stack[-1], statement)
        if mark == "}":
            if len(stack) == 1:
                raise ToolError("Liberty: a closing brace too many")
            stack.pop()
        elif mark == "{":
            found = _COMPLEX.fullmatch(opening)
            kind, name = (found[1], found[2]) if found else (opening, "")
            if kind in wanted:
                group = Group(kind, name.replace('"', "").strip())
                stack[-1].groups.append(group)
                stack.append(group)
            else:
                skipped = 1
    if len(stack) > 1 or skipped:
        raise ToolError("Liberty: a brace is not closed")
    library = next(root.of("library"), None)
    if library is None:
        raise ToolError("Liberty: no library (...) { in it")
    return library


def _statements(text: str) -> list[str]:
    """What lies between two marks, a statement a line unless parentheses are open."""
    lines = _COMMENT.sub(" ", text).replace("\\\n", " ").split("\n")
    found, depth = [""], 0
    for line in lines:
        found[-1] += " " + line.strip()
        depth += line.count("(") - line.count(")")
        if depth <= 0 and found[-1].strip():
            found.append("")
    return [statement.strip() for statement in found if statement.strip()]


def _attribute(group: Group, statement: str) -> None:
    if found := _SIMPLE.fullmatch(statement):
        group.attributes[found[1]] = found[2].strip().strip('"')
    elif found := _COMPLEX.fullmatch(statement):
        group.attributes[found[1]] = found[2].strip()
