"""`warptree rtl`: the MX MAC's hardware, one command each for its Verilog, its proof, its tests and its area."""

from typing import TYPE_CHECKING, Annotated

import typer

from sim.errors import SimError

if TYPE_CHECKING:
    from rtl.mac import MacDesign

rtl_app = typer.Typer(no_args_is_help=True, help="The MX MAC as hardware: Verilog, proof, tests, area.")

ElementOption = Annotated[
    list[str] | None, typer.Option("--element", help="Only these of E5M2, E4M3, E3M2, E2M3, E2M1, INT8; all if absent.")
]
MantissaOption = Annotated[int, typer.Option("--mantissa-bits", help="M of the accumulator, 12 to 23.")]


@rtl_app.command()
def prove(mantissa_bits: MantissaOption = 16, element: ElementOption = None) -> None:
    """Prove that the MAC's RTL equals its rule for every input; show a failing input otherwise."""
    from rtl import tools

    tools.require("proofs")
    from sim.rtl_prove import run_proof

    raise typer.Exit(0 if run_proof(_design(mantissa_bits), _names(element), typer.echo) else 1)


def _design(mantissa_bits: int) -> "MacDesign":
    from rtl.mac import MacDesign

    try:
        return MacDesign(mantissa_bits)
    except ValueError as error:
        raise SimError(str(error)) from None


def _names(element: list[str] | None) -> tuple[str, ...]:
    """Names of elements, checked; all where none is given."""
    from rtl.mac import MacDesign

    design = MacDesign()
    for name in element or ():
        try:
            design.mode(name)
        except ValueError as error:
            raise SimError(f"--element: {error}") from None
    return tuple(dict.fromkeys(element)) if element else design.names
