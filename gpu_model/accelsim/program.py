"""The program behind a trace: from the cubin beside it, or made up from the instructions that the trace shows.

A trace has no control bits, predicates or uniform registers. Without the cubin the core tracks the registers that the
trace names with a scoreboard; every dependence through a predicate or a uniform register counts as ready.
"""

from gpu_model.accelsim.read import Instruction, KernelTrace
from gpu_model.core.opcodes import MEMORY_OPCODES, Space
from gpu_model.core.state import GROUPS
from gpu_model.decode import decode
from gpu_model.errors import SassError, TraceFormatError
from gpu_model.program import INSTRUCTION_BYTES, ZERO_REGISTER, Program
from gpu_model.sass import assemble
from hw.gpu_spec import GpuSpec

_NAMED_BARRIERS = 16
_GROUP_COUNTER = "[B------:R-:W0:-:S02] "  # groups of LDGSTS count on SB0, seen after two cycles
# Their first operand is a predicate, so the tracer counts the register behind it among the sources.
_PREDICATE_FIRST = ("SHFL", "ATOM", "ATOMG", "ATOMS", "LOP3")


def cubin_program(kernel: KernelTrace) -> Program | None:
    """Decode `kernel-N.cubin` beside `kernel-N.traceg`; None if there is none.

    Raises:
        CubinError: a file that is no cubin.
        TraceFormatError: a cubin of another kernel or architecture.
    """
    path = kernel.path.parent / (kernel.path.name.partition(".traceg")[0] + ".cubin")
    if not path.is_file():
        return None
    program, _ = decode(path.read_bytes())
    if (program.name, program.arch) != (kernel.header.name, kernel.header.arch):
        raise TraceFormatError(
            f"{path.name} is kernel {program.name} for sm_{program.arch}, expected {kernel.header.name} for "
            f"sm_{kernel.header.arch}; take the cubin away to time the trace without it"
        )
    return program


def check_program(kernel: KernelTrace, program: Program) -> None:
    """Compare the instructions that a trace shows with a program.

    Raises:
        TraceFormatError: a PC that the program does not have, or another opcode there.
    """
    for row, instruction in kernel.instructions.items():
        found = "nothing"
        if row < len(program):
            found = ".".join(filter(None, (str(program.rows[row]["opcode"]), str(program.rows[row]["modifiers"]))))
        if found != instruction.opcode:
            raise TraceFormatError(
                f"{instruction.place}: got {instruction.opcode}, expected {found}, which the cubin has at PC "
                f"{row * INSTRUCTION_BYTES:#x}"
            )


def shown_program(kernel: KernelTrace) -> Program:
    """Make a program of the instructions that a trace shows; what lies between them is NOP.

    Raises:
        TraceFormatError: a barrier whose number the trace does not hold, or an operand outside the grammar.
    """
    shown, header = kernel.instructions, kernel.header
    groups = any(instruction.base == "LDGDEPBAR" for instruction in shown.values())
    texts = ["NOP"] * (max(shown, default=0) + 1)
    for row, instruction in shown.items():
        texts[row] = _text(instruction, groups)
    try:
        program = assemble(texts, arch=header.arch, name=header.name)
    except SassError as error:
        raise TraceFormatError(f"{kernel.path.name}: {error}") from error
    for row, instruction in shown.items():
        program.rows[row]["line"] = instruction.source_line
    files = ("",) if not header.source_lines else ("source",)
    return Program(
        header.name, header.arch, program.rows, program.text, files, max(header.registers, 1), 0, 0, 0, 0, {}, 16
    )


def _text(instruction: Instruction, groups: bool) -> str:
    """SASS of an instruction with the operands that the trace has."""
    base, sources = instruction.base, [_register(number) for number in instruction.sources]
    destinations = [_register(number) for number in instruction.destinations]
    if base == "BAR":
        return f"{instruction.opcode} {_barrier(instruction):#x}"
    if base == "LDGDEPBAR":
        return _GROUP_COUNTER + instruction.opcode
    if base == "DEPBAR":
        return f"{instruction.opcode} SB0, {_groups(instruction):#x}" if groups else "NOP"
    if base in _PREDICATE_FIRST and not destinations and sources:
        destinations = ["PT", sources.pop(0)]
    space = MEMORY_OPCODES.get(base, (Space.NONE,))[0]
    if space in (Space.GLOBAL, Space.SHARED):
        wide = ".64" if space == Space.GLOBAL and "E" in instruction.opcode.split(".") else ""
        bases = sources[: 2 if base == "LDGSTS" else 1]
        sources[: len(bases)] = [
            f"[{register}{wide if i == len(bases) - 1 else ''}]" for i, register in enumerate(bases)
        ]
    return f"{instruction.opcode} {', '.join(destinations + sources)}".strip()


def _groups(instruction: Instruction) -> int:
    """Groups of copies that a DEPBAR lets wait."""
    if not 0 <= instruction.immediate < GROUPS:
        raise TraceFormatError(
            f"{instruction.place}: got {instruction.opcode} for {instruction.immediate} groups, expected at most "
            f"{GROUPS - 1}"
        )
    return instruction.immediate


def _register(number: int) -> str:
    return "RZ" if number == ZERO_REGISTER else f"R{number}"


def _barrier(instruction: Instruction) -> int:
    """Number of the barrier: the only immediate, unless that counts threads."""
    if instruction.sources or not 0 <= instruction.immediate < _NAMED_BARRIERS:
        raise TraceFormatError(
            f"{instruction.place}: got {instruction.opcode} for {instruction.immediate} threads or a barrier in a "
            "register, expected the barrier's number, which the trace does not hold; try with kernel-N.cubin beside it"
        )
    return instruction.immediate


def with_scoreboard(spec: GpuSpec) -> GpuSpec:
    """The GPU with a scoreboard in place of the control bits that a trace does not have."""
    dependence = spec.core.dependence.model_copy(update={"mechanism": "scoreboard"})
    return spec.model_copy(update={"core": spec.core.model_copy(update={"dependence": dependence})})
