"""`warptree rtl`: the MX MAC's hardware, one command each for its Verilog, its proof, its tests and its area."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.errors import SimError

if TYPE_CHECKING:
    from rtl.mac import MacDesign

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
rtl_app = typer.Typer(no_args_is_help=True, help="The MX MAC as hardware: Verilog, proof, tests, area.")

ElementOption = Annotated[
    list[str] | None, typer.Option("--element", help="Only these of E5M2, E4M3, E3M2, E2M3, E2M1, INT8; all if absent.")
]
MantissaOption = Annotated[int, typer.Option("--mantissa-bits", help="M of the accumulator, 12 to 23.")]
FourBitOption = Annotated[int, typer.Option("--four-bit-products", help="FP4 products a cycle, 8 or 16.")]
PartOption = Annotated[
    str,
    typer.Option(
        help="mac; array, 8 x 8 of them; requantiser, of 64 outputs; engine, array between two streams; npu, that with "
        "streamers and scratchpad."
    ),
]
TreeOption = Annotated[str, typer.Option(help="How products are summed: hybrid, fp32-addition or long-integer.")]
PipelineOption = Annotated[
    int, typer.Option(min=0, max=5, help="Places of registers inside; from 4 on a step takes more than a cycle.")
]

IssueStageOption = Annotated[
    str | None,
    typer.Option("--issue-stage", metavar="GPU", help="The issue stage of this GPU (name or TOML file) instead."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the issue stage's GPU."),
]


@rtl_app.command()
def prove(
    mantissa_bits: MantissaOption = 16,
    element: ElementOption = None,
    four_bit: FourBitOption = 8,
    tree: TreeOption = "hybrid",
) -> None:
    """Prove that the MAC equals its rule for every input, the streams' handshakes and the issue stage's control."""
    from rtl import tools

    tools.require("proofs")
    from sim.rtl_prove import run_inductions, run_proof

    equal = run_proof(_design(mantissa_bits, four_bit, tree), _names(element), typer.echo)
    raise typer.Exit(0 if equal and run_inductions(typer.echo) else 1)


@rtl_app.command()
def build(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The Verilog file; PART.v if absent.")] = None,
    mantissa_bits: MantissaOption = 16,
    four_bit: FourBitOption = 8,
    pipeline: PipelineOption = 0,
    tree: TreeOption = "hybrid",
    part: PartOption = "mac",
) -> None:
    """Write Verilog of the MAC or of what is built from it, byte for byte the same every time."""
    from rtl import tools

    tools.require("synthesis")
    from sim import rtl_checks

    rtl_checks.build(_design(mantissa_bits, four_bit, tree), output or Path(f"{part}.v"), typer.echo, pipeline, part)


@rtl_app.command("test")
def compare(
    context: typer.Context,
    mantissa_bits: MantissaOption = 16,
    element: ElementOption = None,
    dots: Annotated[int, typer.Option(min=1, help="Random dots of eight cycles, a format; 10000000 is a full run.")] = (
        100_000
    ),
    four_bit: FourBitOption = 8,
    tree: TreeOption = "hybrid",
    issue_stage: IssueStageOption = None,
    settings: SetOption = None,
) -> None:
    """Compare the MAC's RTL with the model: every product pair, random dots, and a cocotb bench on Verilator."""
    if issue_stage is not None:
        _refuse_mac_options(context)
        from sim.issue_checks import compare_kernels

        raise typer.Exit(0 if compare_kernels(issue_stage, typer.echo, settings or ()) else 1)
    if settings:
        raise SimError("--set changes the GPU of an issue stage; name it with --issue-stage")
    from sim import rtl_checks

    equal = rtl_checks.compare(_design(mantissa_bits, four_bit, tree), _names(element), dots, typer.echo)
    raise typer.Exit(0 if equal else 1)


@rtl_app.command()
def synth(
    context: typer.Context,
    mantissa_bits: MantissaOption = 16,
    blocks: Annotated[bool, typer.Option("--blocks", help="Each block's area too.")] = False,
    liberty: Annotated[
        list[Path] | None, typer.Option("--liberty", help="Area in um2 too, in this library's cells; may be repeated.")
    ] = None,
    four_bit: FourBitOption = 8,
    pipeline: PipelineOption = 0,
    tree: TreeOption = "hybrid",
    part: Annotated[str, typer.Option(help="mac, or npu: of MACs, requantiser, streamers and crossbar each.")] = "mac",
    issue_stage: IssueStageOption = None,
) -> None:
    """Area of the MAC in NAND2 equivalents, beside the published ones, or of what is around it."""
    from rtl import tools

    tools.require("synthesis")
    if issue_stage is not None:
        _refuse_mac_options(context)
        from sim.issue_synth import synth_issue_stage

        return synth_issue_stage(issue_stage, typer.echo)
    from sim import rtl_checks

    if part not in ("mac", "npu"):
        raise SimError(f"--part: got {part!r}, legal mac, npu")
    if part == "npu":
        if blocks or liberty or pipeline:
            raise SimError("--blocks, --liberty and --pipeline are the MAC's; leave them or --part npu out")
        return rtl_checks.synth_npu(_design(mantissa_bits, four_bit, tree), typer.echo)
    return rtl_checks.synth(_design(mantissa_bits, four_bit, tree), blocks, liberty or (), typer.echo, pipeline)


@rtl_app.command(context_settings=PASS_ON)
def power(
    context: typer.Context,
    script: Annotated[
        Path | None, typer.Argument(help="A Triton script whose dot products to run, and its arguments.")
    ] = None,
    technology: Annotated[str, typer.Option(help="22nm, 16nm, 12nm, 7nm, 5nm, or a TOML file.")] = "22nm",
    mantissa_bits: MantissaOption = 16,
    element: ElementOption = None,
    glitches: Annotated[bool, typer.Option("--glitches", help="One unit of delay a gate; slower, an upper bound.")] = (
        False
    ),
    tree: TreeOption = "hybrid",
    tiles: Annotated[int, typer.Option(min=1, help="8 x 8 tiles of dot products to run.")] = 16,
    gpu: Annotated[str, typer.Option("--gpu", help="A name from `warptree gpus`, or a TOML file.")] = "rtx_a6000",
    liberty: Annotated[
        list[Path] | None,
        typer.Option("--liberty", help="Map to this library's cells and charge its energies; may be repeated."),
    ] = None,
    system: Annotated[
        bool, typer.Option("--system", help="Scratchpad, streams and requantiser too, beside the published system.")
    ] = False,
    clock: Annotated[
        float | None,
        typer.Option(min=1, help="MHz that the MAC is mapped for in a library's cells; area alone if absent."),
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="How far the technology's table is from the library.")
    ] = False,
) -> None:
    """Energy per operation of the MAC array, from the toggles of its gates on a script's operands."""
    from hw.technology import load_technology
    from rtl import tools

    tools.require("synthesis")
    from sim.console import Console
    from sim.rtl_power import gaussian_tiles, report_power, report_system, script_tiles

    if calibrate and not liberty:
        raise SimError("--calibrate compares with a library; give its files with --liberty")
    if clock and not liberty:
        raise SimError("--clock is a target for a library's cells; give its files with --liberty")
    if system and (liberty or glitches):
        raise SimError(
            "--system is charged by a technology's table, without glitches; leave --liberty and --glitches out"
        )
    if liberty and glitches:
        raise SimError("--glitches counts with one delay a gate, which a library's cells do not have; leave one out")
    node, design, names = load_technology(technology), _design(mantissa_bits, tree=tree), _names(element)
    if script is None:
        typer.echo("operands: standard normal, as no script was given")
        operands = gaussian_tiles(tiles)
    else:
        operands = script_tiles(script, context.args, gpu, tiles, Console())
    if not liberty:
        report_power(design, names, operands, node, typer.echo, glitches=glitches)
        if system:
            report_system(design, names, operands, node, typer.echo)
        return
    from rtl.liberty_cells import load_library
    from sim.rtl_calibrate import calibrate as compare

    library = load_library(liberty)
    if calibrate:
        compare(design, names, operands, node, library, typer.echo)
    else:
        report_power(design, names, operands, library, typer.echo, megahertz=clock)


def _refuse_mac_options(context: typer.Context) -> None:
    """SimError if an option was given beside --issue-stage, which has none of the MAC's."""
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name not in ("issue_stage", "settings") and source is not None and source.name == "COMMANDLINE":
            raise SimError(f"{option.opts[0]} is the MAC's, --issue-stage another circuit; leave one of them out")


def _design(mantissa_bits: int, four_bit_products: int = 8, tree: str = "hybrid") -> "MacDesign":
    from rtl.mac import MacDesign, Tree

    if tree not in (names := [known.value for known in Tree]):
        raise SimError(f"--tree: got {tree!r}, legal {', '.join(names)}")
    try:
        return MacDesign(mantissa_bits, four_bit_products=four_bit_products, tree=Tree(tree))
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
