"""Cubin to `Program`: nvdisasm names the operations, the encodings give control bits and immediates.

nvdisasm ships in Triton's wheel. It knows every opcode of every architecture, so the decoder has one
grammar (`gpu_model.sass`) instead of one table an architecture.
"""

import functools
import hashlib
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from gpu_model.cubin import Cubin, read_cubin
from gpu_model.errors import CubinError, SassError
from gpu_model.program import INSTRUCTION, INSTRUCTION_BYTES, Program
from gpu_model.sass import parse_instruction, set_control

_INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;?\s*/\* 0x([0-9a-f]{16}) \*/$")
_HIGH_WORD = re.compile(r"^\s*/\* 0x([0-9a-f]{16}) \*/$")
_LABEL = re.compile(r"^(\S+):$")
_LINE = re.compile(r'//## File "(.*?)", line (\d+)')
_TIMEOUT_S = 120


@functools.cache
def nvdisasm_path() -> Path:
    """Find the disassembler inside Triton's wheel.

    Raises:
        CubinError: this Triton carries no nvdisasm.
    """
    import triton.backends.nvidia

    path = Path(triton.backends.nvidia.__file__).parent / "bin" / "nvdisasm"
    if not path.is_file():
        raise CubinError(f"Triton's wheel has no nvdisasm at {path}; install the pinned triton with pip")
    return path


def disassemble(image: bytes) -> str:
    """Run nvdisasm on a cubin: text with encodings, and with source lines unless the line table makes it crash.

    PTX may name source lines without naming their file; what ptxas makes of that, nvdisasm does not survive.

    Raises:
        CubinError: nvdisasm refuses the file or does not finish.
    """
    handle, name = tempfile.mkstemp(suffix=".cubin")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(image)
        command = [str(nvdisasm_path()), "-c", "-hex", name]
        done = subprocess.run([*command, "-g"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        if done.returncode == -signal.SIGSEGV:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise CubinError(f"nvdisasm did not finish within {_TIMEOUT_S} s") from error
    finally:
        os.unlink(name)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise CubinError(f"nvdisasm refuses the cubin: {reason[-1].replace(name, 'cubin')}")
    return done.stdout


class _Listing:
    """nvdisasm's text, split into instructions, labels and source lines."""

    def __init__(self, text: str):
        self.instructions: list[tuple[int, str, int, int]] = []  # pc, text, low word, high word
        self.lines: list[tuple[int, int]] = []  # file, line of each instruction
        self.labels: dict[str, int] = {}
        self.files: list[str] = [""]
        place = (0, 0)
        pending: tuple[int, str, int] | None = None
        for raw in text.splitlines():
            if match := _INSTRUCTION.match(raw):
                pending = int(match[1], 16), match[2], int(match[3], 16)
            elif pending and (match := _HIGH_WORD.match(raw)):
                self.instructions.append((*pending, int(match[1], 16)))
                self.lines.append(place)
                pending = None
            elif match := _LINE.search(raw):
                place = self._file(match[1]), int(match[2])
            elif match := _LABEL.match(raw):
                self.labels[match[1]] = len(self.instructions) * INSTRUCTION_BYTES

    def _file(self, name: str) -> int:
        if name not in self.files:
            self.files.append(name)
        return self.files.index(name)


def _rows(listing: _Listing, cubin: Cubin) -> np.ndarray:
    rows = np.zeros(len(listing.instructions), INSTRUCTION)
    for row, (pc, text, low, high), (file, line) in zip(rows, listing.instructions, listing.lines, strict=True):
        row["pc"], row["file"], row["line"] = pc, file, line
        set_control(row, high >> 41 & 0x1FFFF)
        try:
            parse_instruction(row, text, low >> 32, listing.labels)
        except (SassError, ValueError) as error:
            raise CubinError(f"kernel {cubin.kernel}, PC {pc:#06x}, {text!r}: {error}") from error
    return rows


def _check_against_code(listing: _Listing, cubin: Cubin) -> None:
    """The listing must be this cubin's code, word for word."""
    words = np.frombuffer(cubin.code, "<u8").reshape(-1, 2)
    listed = np.array([(low, high) for _, _, low, high in listing.instructions], "<u8").reshape(-1, 2)
    if len(listed) != len(words) or (listed != words).any():
        raise CubinError(f"disassembly of kernel {cubin.kernel} does not match its code ({len(words)} instructions)")


@functools.lru_cache(maxsize=256)
def _decode_cached(digest: bytes, image: bytes) -> tuple[Program, Cubin]:
    cubin = read_cubin(image)
    listing = _Listing(disassemble(image))
    _check_against_code(listing, cubin)
    sizes = [parameter.offset + parameter.size for parameter in cubin.parameters]
    program = Program(
        name=cubin.kernel,
        arch=cubin.arch,
        rows=_rows(listing, cubin),
        text=tuple(text for _, text, _, _ in listing.instructions),
        files=tuple(listing.files),
        registers=cubin.registers,
        shared_bytes=cubin.shared_bytes,
        local_bytes=cubin.local_bytes,
        parameter_base=cubin.parameter_base,
        parameter_bytes=max(sizes, default=0),
        constants=cubin.constants,
        barriers=16,
        global_data=cubin.global_data,
        relocations=cubin.relocations,
        cluster=cubin.cluster,
    )
    return program, cubin


def decode(image: bytes) -> tuple[Program, Cubin]:
    """Decode a cubin's one kernel.

    Returns:
        The program, and the cubin's resources (parameter layout among them). Cached by content.

    Raises:
        CubinError: corrupt, truncated or foreign file, or an instruction outside the grammar.
    """
    return _decode_cached(hashlib.sha256(image).digest(), image)
