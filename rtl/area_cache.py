"""Area of generated RTL, each netlist mapped once: content-addressed by the RTL itself and by how it is mapped."""

import json
from dataclasses import asdict
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib.wiring import Component

from rtl import cache, synthesis, tools
from rtl.synthesis import Area

_FILE = "area.json"


def cached_area(component: Component, name: str) -> Area:
    """`rtl.synthesis.area`, kept under `rtl.cache` by RTLIL, recipe and Yosys version.

    Raises:
        ToolError: as `area`, or a cache that cannot be written.
    """
    recipe = Path(synthesis.__file__).read_text()
    key = cache.key("area", rtlil.convert(component, name=name, emit_src=False), recipe, tools.versions("pyosys"))

    def fill(folder: Path) -> None:
        (folder / _FILE).write_text(json.dumps(asdict(synthesis.area(component, name))))

    return Area(**json.loads((cache.entry(key, fill) / _FILE).read_text()))
