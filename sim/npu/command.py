"""`warptree npu`: a network's products on the NPU, layer by layer."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from hw.mac import MacSpec
from hw.mac_array import ArraySpec
from hw.npu import NpuSpec, Product, ProductRun, run
from mx_formats.block import BLOCK_FORMATS
from sim.console import Console
from sim.errors import SimError
from sim.npu.networks import NETWORKS, training
from sim.page import figure_number


@dataclass(frozen=True)
class NetworkRun:
    """A network on the NPU.

    Attributes:
        npu: the machine.
        layers: every product with what it takes.
    """

    npu: NpuSpec
    layers: list[tuple[Product, ProductRun]]

    @property
    def cycles(self) -> int:
        """Of all products, one after the other."""
        return sum(found.cycles for _, found in self.layers)

    @property
    def utilisation(self) -> float:
        """Products asked for over those that all cycles had room for, 0 to 1."""
        return sum(work.products for work, _ in self.layers) / (self.cycles * self.npu.array.products_per_cycle)


def machine(block_format: str) -> NpuSpec:
    """The published NPU with operands and outputs of one format.

    Raises:
        SimError: a format that its MACs do not take.
    """
    if block_format not in BLOCK_FORMATS:
        raise SimError(f"format {block_format!r} is not known; there are {', '.join(BLOCK_FORMATS)}")
    element = BLOCK_FORMATS[block_format].element
    try:
        return NpuSpec(ArraySpec(MacSpec(element)), output_bits=element.bits)
    except ValueError as error:
        raise SimError(f"format {block_format}: {error}") from None


def run_network(network: str, block_format: str, batch: int, *, train: bool) -> NetworkRun:
    """All products of a network, for inference or for a step of training.

    Raises:
        SimError: a network or format that is not there.
    """
    if network not in NETWORKS:
        raise SimError(f"network {network!r} is not known; there are {', '.join(NETWORKS)}")
    npu, products = machine(block_format), NETWORKS[network](batch)
    return NetworkRun(npu, [(work, run(npu, work)) for work in (training(products) if train else products)])


def tell(found: NetworkRun, title: str, console: Console) -> None:
    """Show the layers and the sum on the terminal."""
    shown = Table(title=title, title_justify="left")
    shown.add_column("product")
    for name in ("times", "m x n x k", "panels", "cycles", "utilisation, %", "DMA, MB"):
        shown.add_column(name, justify="right")
    for work, taken in found.layers:
        shape, panels = f"{work.m:,} x {work.n:,} x {work.k:,}", f"{taken.panels[0]} x {taken.panels[1]}"
        shown.add_row(work.name, str(work.count), shape, panels, figure_number(taken.cycles),
                      f"{100 * taken.utilisation:.2f}", f"{taken.dma_bytes / 1e6:,.1f}")  # fmt: skip
    console.show(shown)
    npu, seconds = found.npu, found.cycles / found.npu.clock_hz
    console.line(
        f"{found.cycles:,} cycles, {seconds * 1e3:,.1f} ms at {npu.clock_hz / 1e6:g} MHz, utilisation "
        f"{100 * found.utilisation:.2f} % of {npu.peak_gops:g} GOPS; simulated (hw/npu.py states the rules)"
    )


def report(network: str, block_format: str, batch: int, *, train: bool, say: Callable[[str], None] | None) -> None:
    """Run a network and show it; as one line of JSON through `say`, if given."""
    found = run_network(network, block_format, batch, train=train)
    if say is None:
        task = "one step of training" if train else "inference"
        tell(found, f"{network}, {block_format}, batch {batch}, {task}", Console(to_stdout=True))
        return
    rows = [
        {"product": work.name, "count": work.count, "m": work.m, "n": work.n, "k": work.k, "cycles": taken.cycles,
         "array_cycles": taken.array_cycles, "dma_bytes": taken.dma_bytes, "utilisation": taken.utilisation}
        for work, taken in found.layers
    ]  # fmt: skip
    say(json.dumps({"cycles": found.cycles, "utilisation": found.utilisation, "peak_gops": found.npu.peak_gops,
                    "layers": rows}))  # fmt: skip
