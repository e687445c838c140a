"""A file of named facts and large byte sections: a JSON header, then compressed, checksummed pieces.

Layout, little-endian: 16 bytes of magic; version (u32); header length (u32); the header's BLAKE2b-128 checksum;
the header, JSON in UTF-8; the sections' stored bytes, one after another, to the end of the file. Equal sections
are stored once, and a section of zeros takes no room.

Reading trusts nothing: every size is bounded before memory is taken for it, and a checksum is compared before
anything is decompressed.
"""

import hashlib
import os
import stat
import struct
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import zstandard
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpu_model.errors import LaunchFileError

VERSION = 1
MAX_HEADER_BYTES = 16 << 20
MAX_SECTIONS = 1 << 16
_MAGIC = b"warptree launch\n"
_PREFIX = struct.Struct("<16sII16s")
_LEVEL = 3
_MAX_WINDOW_BYTES = 128 << 20
_CHECKSUM = r"^[0-9a-f]{32}$"


class Record(BaseModel):
    """A strict part of a header: no unknown fields, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Count = Annotated[int, Field(ge=0, lt=1 << 63)]


class Section(Record):
    """How one section is stored.

    Attributes:
        encoding: "zstd": one frame of that format; "zero": all bytes are zero and nothing is stored.
        size: bytes of the content.
        stored: bytes in the file.
        checksum: BLAKE2b-128 of the stored bytes, in hexadecimal.
    """

    encoding: Literal["zstd", "zero"]
    size: Count
    stored: Count
    checksum: Annotated[str, Field(pattern=_CHECKSUM)]


class Header(Record):
    """What every header holds."""

    sections: Annotated[tuple[Section, ...], Field(max_length=MAX_SECTIONS)]


HeaderType = TypeVar("HeaderType", bound=Header)


def checksum(data: Any) -> str:
    """BLAKE2b-128 of bytes, in hexadecimal."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class SectionWriter:
    """Collects sections, compressed as they come, and writes the file at the end."""

    def __init__(self) -> None:
        self.sections: list[Section] = []
        self._stored: list[bytes] = []
        self._known: dict[tuple[int, str], int] = {}

    def add(self, data: np.ndarray | bytes) -> int:
        """Add bytes (uint8[n]); returns the section's number, an earlier one if the content is the same."""
        content = np.frombuffer(data, np.uint8)
        key = len(content), checksum(content)
        if key not in self._known:
            zero = not content.any()
            stored = b"" if zero else zstandard.ZstdCompressor(level=_LEVEL).compress(content.data)
            self._known[key] = len(self.sections)
            self.sections.append(
                Section(
                    encoding="zero" if zero else "zstd",
                    size=len(content),
                    stored=len(stored),
                    checksum=checksum(stored),
                )  # fmt: skip
            )
            self._stored.append(stored)
        return self._known[key]

    def write(self, path: Path, header: Header) -> None:
        """Write the file, whole or not at all.

        Args:
            path: where.
            header: whose `sections` are this writer's.

        Raises:
            LaunchFileError: the file cannot be written.
        """
        text = header.model_dump_json().encode()
        prefix = _PREFIX.pack(_MAGIC, VERSION, len(text), bytes.fromhex(checksum(text)))
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                file.writelines([prefix, text, *self._stored])
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise LaunchFileError(f"launch file {path} cannot be written: {error.strerror}") from error


def read_sections(path: Path, kind: type[HeaderType], max_bytes: int) -> tuple[HeaderType, list[np.ndarray]]:
    """Read a file that `SectionWriter` wrote.

    Args:
        path: a regular file.
        kind: model of its header.
        max_bytes: most bytes that the sections may hold together, decompressed.

    Returns:
        The header, and each section's content, uint8[size], read-only.

    Raises:
        LaunchFileError: not such a file, of a newer version, truncated, damaged or too large.
    """
    try:
        with open(path, "rb", opener=_open_regular) as file:
            length = os.fstat(file.fileno()).st_size
            header = _read_header(path, kind, file.read(_PREFIX.size), file)
            _check_sizes(path, header, length - file.tell(), max_bytes)
            stored = [file.read(section.stored) for section in header.sections]
    except OSError as error:
        raise LaunchFileError(f"launch file {path} cannot be read: {error.strerror}") from error
    contents = []
    for number, (section, data) in enumerate(zip(header.sections, stored, strict=True)):
        contents.append(_content(f"launch file {path}, section {number}", section, data))
    return header, contents


def _open_regular(path: str, flags: int) -> int:
    """Open without waiting for a pipe's other end; refuse what is not a plain file."""
    handle = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise LaunchFileError(f"launch file {path} is not a regular file")
    return handle


def _read_header(path: Path, kind: type[HeaderType], prefix: bytes, file: Any) -> HeaderType:
    if len(prefix) < _PREFIX.size or not prefix.startswith(_MAGIC):
        raise LaunchFileError(
            f"{path} is not a launch file: it starts with {prefix[:16]!r}, expected {_MAGIC!r}; "
            "`warptree run --save-launches DIR` and `warptree capture` write them"
        )
    _, version, length, digest = _PREFIX.unpack(prefix)
    if version != VERSION:
        raise LaunchFileError(
            f"launch file {path} is of version {version}, this warptree reads {VERSION}; save it again or update"
        )
    if length > MAX_HEADER_BYTES:
        raise LaunchFileError(f"launch file {path}: a header of {length} bytes, at most {MAX_HEADER_BYTES}")
    text = file.read(length)
    if len(text) < length:
        raise LaunchFileError(f"launch file {path} is truncated: {len(text)} bytes of header, expected {length}")
    if checksum(text) != digest.hex():
        raise LaunchFileError(f"launch file {path} is damaged: the header's checksum differs")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "header"
        raise LaunchFileError(f"launch file {path}, {where}: {first['msg']}, got {first['input']!r:.80}") from error


def _check_sizes(path: Path, header: Header, left: int, max_bytes: int) -> None:
    stored, size = (sum(getattr(section, name) for section in header.sections) for name in ("stored", "size"))
    if stored != left:
        state = "truncated" if left < stored else "longer than it says"
        raise LaunchFileError(f"launch file {path} is {state}: {left} bytes of sections, expected {stored}")
    if size > max_bytes:
        raise LaunchFileError(
            f"launch file {path} holds {size} bytes of memory, at most {max_bytes} are accepted; "
            "if you trust it, raise the limit (--max-bytes)"
        )


def _content(where: str, section: Section, data: bytes) -> np.ndarray:
    if len(data) != section.stored or checksum(data) != section.checksum:
        raise LaunchFileError(f"{where} is damaged: its checksum differs")
    if section.encoding == "zero":
        if data:
            raise LaunchFileError(f"{where}: {len(data)} bytes stored for zeros, expected none")
        content = np.zeros(section.size, np.uint8)
    else:
        content = np.frombuffer(_decompress(where, section.size, data), np.uint8)
    content.flags.writeable = False
    return content


def _decompress(where: str, size: int, data: bytes) -> bytes:
    """One frame of exactly `size` bytes; the frame's own claims are checked before memory is taken."""
    try:
        frame = zstandard.get_frame_parameters(data)
        if frame.content_size != size or frame.window_size > max(_MAX_WINDOW_BYTES, size):
            raise LaunchFileError(
                f"{where}: a frame of {frame.content_size} bytes with a window of {frame.window_size}, "
                f"expected {size} bytes and a window of at most {_MAX_WINDOW_BYTES}"
            )
        content = zstandard.ZstdDecompressor().decompress(data, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise LaunchFileError(f"{where} does not decompress: {error}") from error
    if len(content) != size:
        raise LaunchFileError(f"{where} holds {len(content)} bytes, expected {size}")
    return content
