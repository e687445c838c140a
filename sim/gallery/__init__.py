"""Published claims, each a short file: what was claimed, on what it is run here, and how ours is held against it.

`NAMES` lists them; `warptree reproduce NAME` runs one.
"""

from importlib import import_module

from sim.gallery.claim import Entry

NAMES = (
    "control-bits",
    "core-ablations",
    "deft",
    "dfloat11",
    "flash-traffic",
    "gpu-core",
    "hydragen",
    "int-or-float",
    "lean-attention",
    "npu-utilisation",
    "olive",
    "scalable-mac",
    "softmax-passes",
    "tree-invariance",
    "tree-invariance-mx",
    "xquant",
)


def entry(name: str) -> Entry:
    """The entry called `name`; KeyError if there is none."""
    if name not in NAMES:
        raise KeyError(name)
    return import_module(f"sim.gallery.{name.replace('-', '_')}").ENTRY
