"""Fields of a GPU by dotted name: `core.rf.read_ports=2` as a user writes it, and the names that there are."""

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

NEAREST = 4  # names that an error about an unknown one lists


class GpuSpecError(ValueError):
    """A GPU description that is missing, malformed or impossible; names field, value and legal range."""


# A field that others leave without effect: settings of the fields below a prefix are refused then.
_WITHOUT_EFFECT = (
    ("core.icache.", "core.icache.perfect", True),
    ("core.constant.", "core.constant.perfect", True),
    ("memory.l1_ways", "memory.perfect_l1", True),
    ("core.dependence.consumers", "core.dependence.mechanism", "control_bits"),
)


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`FIELD=VALUE` texts to overrides for `load_gpu`; a value is TOML, and a bare word is a text.

    Raises:
        GpuSpecError: no `=`, a value that is not TOML, or a field set twice.
    """
    overrides: dict[str, Any] = {}
    for setting in settings:
        field, equals, text = setting.partition("=")
        field, text = field.strip(), text.strip()
        if not (equals and field and text):
            raise GpuSpecError(f"setting {setting!r} is not FIELD=VALUE; for example core.rf.read_ports=2")
        if field in overrides:
            raise GpuSpecError(f"field {field} is set twice, to {overrides[field]!r} and to {text}; give it once")
        overrides[field] = _value(field, text)
    return overrides


def _value(field: str, text: str) -> Any:
    word = text.replace("_", "").replace("-", "")
    if word.isalnum() and not word[0].isdigit() and text not in ("true", "false", "inf", "nan"):
        return text
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        read = {}
    if set(read) != {"value"}:
        raise GpuSpecError(
            f"{field}: {text!r} is no TOML value; expected a number, true, false, a word, or a list such as [1, 2]"
        )
    return read["value"]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of the fields of nested tables, in their order; what a GPU lacks is left out."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value


def override(tree: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Set fields of a complete tree of tables, in place.

    Raises:
        GpuSpecError: a field that is not there, with the nearest that are; or a change that another field
            leaves without effect.
    """
    names = dict(flatten(tree))
    for field, value in overrides.items():
        *parents, leaf = field.split(".")
        node: Any = tree
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf not in node:
            raise GpuSpecError(f"a GPU has no field {field!r}; nearest: {', '.join(_nearest(field, names))}")
        if isinstance(node[leaf], dict) and not isinstance(value, dict):
            inside = ", ".join(f"{field}.{name}" for name in node[leaf])
            raise GpuSpecError(f"{field} is a table, not a field; set one of {inside}")
        node[leaf] = value
    effective = dict(flatten(tree))
    for prefix, switch, state in _WITHOUT_EFFECT:
        idle = [f for f, v in overrides.items() if f.startswith(prefix) and f != switch and names.get(f) != v]
        if idle and effective.get(switch) == state:
            raise GpuSpecError(
                f"{idle[0]} = {overrides[idle[0]]!r} has no effect with {switch} = {_toml(state)}; set {switch} too"
            )


def _nearest(field: str, names: Iterable[str]) -> list[str]:
    """Names of the same last part first, then those spelled most like it."""
    leaf = field.rsplit(".", 1)[-1]
    names = list(names)
    same = [name for name in names if name.rsplit(".", 1)[-1] == leaf]
    leaves = {name.rsplit(".", 1)[-1] for name in names}
    alike = difflib.get_close_matches(leaf, leaves, NEAREST, 0.7)
    spelled = [name for close in alike for name in names if name.rsplit(".", 1)[-1] == close]
    spelled.sort(key=lambda name: -difflib.SequenceMatcher(None, field, name).ratio())
    whole = difflib.get_close_matches(field, names, NEAREST, 0.0)
    return list(dict.fromkeys([*same, *spelled, *whole]))[:NEAREST]


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def setting_text(field: str, value: Any) -> str:
    """A field and its value as `--set` takes them."""
    return f"{field}={_toml(list(value) if isinstance(value, tuple) else value)}"
