"""Where a number comes from: its unit, its origin and the configuration that produced it."""

import hashlib
import importlib.metadata
import json
from dataclasses import asdict, dataclass, is_dataclass
from enum import StrEnum
from typing import Any


class Origin(StrEnum):
    """How a number came to be."""

    MEASURED = "measured"  # on this machine, by a clock, or counted in an RTL simulation
    SIMULATED = "simulated"  # computed by a model of ours
    PUBLISHED = "published"  # stated by the named source


@dataclass(frozen=True)
class Number:
    """One public number.

    Attributes:
        name: what it is, as the report names it.
        value: the number itself.
        unit: "cycles", "dB", "bytes"; "" for a pure number.
        origin: measured, simulated or published.
        basis: the rule, model or source behind it.
    """

    name: str
    value: float
    unit: str
    origin: Origin
    basis: str


def configuration_hash(*specs: Any) -> str:
    """Name a configuration by its content: 12 hex digits of SHA-256 over the specs and the release.

    Each spec is a dataclass, a pydantic model or plain data; equal content gives an equal hash.
    """
    content = [importlib.metadata.version("warptree"), *(_plain(spec) for spec in specs)]
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(spec: Any) -> Any:
    if hasattr(spec, "model_dump"):
        return spec.model_dump(mode="json")
    if is_dataclass(spec) and not isinstance(spec, type):
        return asdict(spec)
    return spec
