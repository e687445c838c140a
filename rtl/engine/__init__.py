"""A tile engine around the array: operands stream in, requantised blocks stream out, registers say how many.

`control` counts steps and tiles and keeps the handshakes; `tile_engine` connects it with array and requantiser.
"""

from rtl.engine.control import TileControl
from rtl.engine.tile_engine import EngineDesign, TileEngine, Tiles

__all__ = ["EngineDesign", "TileControl", "TileEngine", "Tiles"]
