"""Functions that kernels call on the host: vprintf (`tl.device_print`) and __assertfail (`tl.device_assert`)."""

import re
import struct

import numpy as np

from gpu_model.errors import ExecutionError
from gpu_model.launch import Launch
from gpu_model.machine.window import LOCAL_WINDOW

_MOST_CHARACTERS = 4096
_CONVERSION = re.compile(r"%([-+ #0]*)(\*|\d+)?(?:\.(\*|\d+))?(hh|h|ll|l|z|j|t)?([diouxXcsfFeEgGaAp%])")


def _pointer(registers: np.ndarray, first: int) -> int:
    if first + 1 >= len(registers):
        raise ExecutionError(f"a kernel of {len(registers)} registers calls the host with an argument in R{first}")
    return int(registers[first]) | int(registers[first + 1]) << 32


def _text(launch: Launch, address: int) -> str:
    """A zero-terminated string in the kernel's own global data.

    Raises:
        ExecutionError: the address is elsewhere.
    """
    data, offset = launch.program.global_data, address - launch.global_address
    if not 0 <= offset < len(data):
        raise ExecutionError(f"kernel {launch.program.name} passes a string at {address:#x}, outside its own data")
    return data[offset : offset + _MOST_CHARACTERS].split(b"\0")[0].decode(errors="replace")


class _Arguments:
    """A va_list in local memory: each argument aligned to its size."""

    def __init__(self, data: bytes):
        self._data, self._offset = data, 0

    def take(self, form: str) -> int | float:
        """Read the next argument, of a `struct` format."""
        size = struct.calcsize(form)
        self._offset = -(-self._offset // size) * size
        (value,) = struct.unpack_from(form, self._data, self._offset)
        self._offset += size
        return value


def _format_one(launch: Launch, match: re.Match, arguments: _Arguments) -> str:
    flags, width, precision, length, conversion = match.groups()
    if conversion == "%":
        return "%"
    width, precision = (arguments.take("<i") if size == "*" else size for size in (width, precision))
    width, precision = (size if size is None else int(size) for size in (width, precision))
    if max(abs(width or 0), precision or 0) > _MOST_CHARACTERS:
        raise ExecutionError(
            f"kernel {launch.program.name}: printf pads to {width}, precision {precision}; at most {_MOST_CHARACTERS}"
        )
    precision = None if precision is not None and precision < 0 else precision  # as C has it
    spec = "%" + flags + ("" if width is None else str(width)) + ("" if precision is None else f".{precision}")
    if conversion in "fFeEgG":
        return (spec + conversion) % arguments.take("<d")
    if conversion in "aA":
        return float(arguments.take("<d")).hex()
    if conversion == "s":
        return (spec + "s") % _text(launch, int(arguments.take("<Q")))
    if conversion == "p":
        return hex(int(arguments.take("<Q")))
    size = "q" if length in ("l", "ll", "z", "j", "t") else "i"
    value = int(arguments.take("<" + (size if conversion in "di" else size.upper())))
    if conversion == "c":
        return (spec + "c") % (value & 0xFF)
    return (spec + ("d" if conversion == "u" else conversion)) % value


def printf(launch: Launch, registers: np.ndarray, local: np.ndarray) -> str:
    """What one thread's vprintf prints.

    Args:
        launch: whose data holds the format string.
        registers: uint32, the thread's registers from R0; R4:R5 points to the format, R6:R7 to the arguments.
        local: uint8, the thread's local memory.

    Raises:
        ExecutionError: a pointer outside the kernel's data or local memory, or too few arguments.
    """
    template = _text(launch, _pointer(registers, 4))
    where = _pointer(registers, 6)
    if where and not 0 <= where - LOCAL_WINDOW <= len(local):
        raise ExecutionError(
            f"kernel {launch.program.name} passes arguments of printf at {where:#x}, outside its local memory"
        )
    data = local[where - LOCAL_WINDOW :].tobytes() if where else b""
    arguments = _Arguments(data)
    try:
        return _CONVERSION.sub(lambda match: _format_one(launch, match, arguments), template)
    except struct.error as error:
        raise ExecutionError(f"kernel {launch.program.name}: printf {template!r} has too few arguments") from error


def assertion(launch: Launch, registers: np.ndarray, thread: str) -> str:
    """The message of a failed device_assert: text, file, line and function are in R4 to R11."""
    message, file, function = (_text(launch, _pointer(registers, first)) for first in (4, 6, 10))
    return f"device assertion failed: {message} ({file}:{int(registers[8])}, in {function}; {thread})"
