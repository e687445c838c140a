"""One design on one workload's operands: a row of the table, whatever happens."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from hw.technology import TechnologyError
from rtl.tools import ToolError
from sim.accuracy import FormatAccuracy, evaluate_tree
from sim.codesign.cost import cost
from sim.codesign.design import FIELDS, Design
from sim.codesign.energy import energy_pj
from sim.codesign.fingerprint import fingerprint
from sim.codesign.mapping import products_of
from sim.codesign.recording import Operands, load

OK, INFEASIBLE, FAILED = "ok", "infeasible", "failed"
_CODE = ("mx_formats", "hw", "rtl", "sim/accuracy.py", "sim/dots.py", "sim/codesign/evaluate.py",
         "sim/codesign/cost.py", "sim/codesign/energy.py", "sim/codesign/mapping.py",
         "sim/codesign/design.py")  # fmt: skip

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_DESIGN_TYPES = {"block_size": _WHOLE, "mantissa_bits": _WHOLE, "four_bit_products": _WHOLE, "rows": _WHOLE,
                 "columns": _WHOLE}  # fmt: skip
SCHEMA = pa.schema(
    [("key", _TEXT), *((name, _DESIGN_TYPES.get(name, _TEXT)) for name in FIELDS), ("status", _TEXT), ("reason", _TEXT)]
    + [(name, _REAL) for name in ("qsnr_db", "cast_qsnr_db", "tensor_core_qsnr_db", "max_abs_err", "max_abs_err_tree",
                                  "bits_per_element")]
    + [("dots", _WHOLE), ("products", _WHOLE), ("array_cycles", _WHOLE), ("utilisation", _REAL)]
    + [("mac_nand2", _REAL), ("nand2", _REAL), ("flip_flops", _WHOLE), ("nand2_cycles", _REAL)]
    + [(name, _REAL) for name in ("energy", "pj_per_mac", "pj_per_output")] + [("rtl_note", _TEXT)]
    + [("gpu_cycles", _WHOLE), ("gpu_microseconds", _REAL), ("covered", _REAL), ("operands", _TEXT), ("code", _TEXT)]
)  # fmt: skip
"""Columns of the table. What a design lacks (area and energy without RTL, anything of one that failed) is null."""


def code_version() -> str:
    """Hash of the sources that a row depends on."""
    return fingerprint(*_CODE)


def evaluate_all(operands: Operands | Path, designs: list[Design]) -> list[dict[str, Any]]:
    """Rows of designs, in their order; what goes wrong is a row with its reason.

    Args:
        operands: of the designs' GPU; a path is read once a process.
        designs: those that share a datapath profit from following each other.
    """
    known = _loaded(operands) if isinstance(operands, Path) else operands
    return [_row(known, design) for design in designs]


def _row(operands: Operands, design: Design) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    row |= design.as_dict()
    row |= {"key": design.key(operands.digest, code_version()), "status": OK, "reason": ""}
    row |= {"gpu_cycles": operands.gpu_cycles, "gpu_microseconds": operands.gpu_microseconds}
    row |= {"covered": operands.covered, "operands": operands.digest, "code": code_version()}
    try:
        measured = _measure(operands, design)
    except ValueError as error:
        return row | {"status": INFEASIBLE, "reason": str(error)}
    except (ToolError, TechnologyError, OSError, MemoryError, ArithmeticError) as error:
        return row | {"status": FAILED, "reason": f"{type(error).__name__}: {error}"}
    return row | measured


def _measure(operands: Operands, design: Design) -> dict[str, Any]:
    array = design.array_spec
    accuracy = _accuracy(operands, design.datapath, design)
    shapes = _shapes(operands)
    cycles = sum(count * array.cycles(*shape) for shape, count in shapes.items())
    done = sum(count * m * n * k for (m, n, k), count in shapes.items())
    spent = cost(design)
    macs = design.rows * design.columns
    nand2 = None if spent.mac_nand2 is None else spent.mac_nand2 * macs
    total_pj = energy_pj(design, operands.dots, operands.digest, shapes)
    return {
        "qsnr_db": accuracy.qsnr_db,
        "cast_qsnr_db": accuracy.cast_qsnr_db,
        "tensor_core_qsnr_db": accuracy.tensor_core_qsnr_db,
        "max_abs_err": accuracy.max_abs_err,
        "max_abs_err_tree": accuracy.max_abs_err_tree,
        "bits_per_element": design.block_format.bits_per_element,
        "dots": accuracy.dots,
        "products": accuracy.products,
        "array_cycles": cycles,
        "utilisation": done / (cycles * array.products_per_cycle),
        "mac_nand2": spent.mac_nand2,
        "nand2": nand2,
        "flip_flops": None if spent.mac_flip_flops is None else spent.mac_flip_flops * macs,
        "nand2_cycles": None if nand2 is None else nand2 * cycles,
        "energy": None if total_pj is None else total_pj / 1000,
        "pj_per_mac": None if total_pj is None else total_pj / done,
        "pj_per_output": None if total_pj is None else total_pj / accuracy.dots,
        "rtl_note": spent.note,
    }


_known_accuracy: dict[tuple, FormatAccuracy] = {}


def _accuracy(operands: Operands, datapath: tuple, design: Design) -> FormatAccuracy:
    """Accuracy of a datapath; the last one is kept, since designs that share it come together."""
    key = operands.digest, datapath
    if key not in _known_accuracy:
        found = evaluate_tree(operands.dots, design.block_format, design.reduction_tree)
        _known_accuracy.clear()
        _known_accuracy[key] = found
    return _known_accuracy[key]


_known_shapes: dict[str, Any] = {}


def _shapes(operands: Operands) -> Any:
    if operands.digest not in _known_shapes:
        _known_shapes.clear()
        _known_shapes[operands.digest] = products_of(operands.dots)
    return _known_shapes[operands.digest]


@lru_cache(maxsize=4)
def _loaded(path: Path) -> Operands:
    return load(path)
