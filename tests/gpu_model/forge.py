"""Launch files taken apart and put together by hand, after docs/launch-file.md: how tests damage them on purpose."""

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


@dataclass
class Forged:
    """A launch file's parts."""

    header: dict[str, Any]
    stored: list[bytes]

    @classmethod
    def take_apart(cls, image: bytes) -> "Forged":
        magic, version, length = struct.unpack_from("<16sII", image)
        assert (magic, version) == (b"warptree launch\n", 1)
        text = image[40 : 40 + length]
        assert image[24:40] == digest(text)
        header, at, stored = json.loads(text), 40 + length, []
        for section in header["sections"]:
            stored.append(image[at : at + section["stored"]])
            assert section["checksum"] == digest(stored[-1]).hex()
            at += section["stored"]
        assert at == len(image)
        return cls(header, stored)

    def store(self, number: int, data: bytes, **fields: Any) -> None:
        """Put other stored bytes in a section, with lengths and checksum that fit."""
        self.stored[number] = data
        self.header["sections"][number] |= {"stored": len(data), "checksum": digest(data).hex()} | fields

    def join(self) -> bytes:
        """The file, with every checksum of the header right."""
        return join(json.dumps(self.header).encode(), self.stored)


def join(text: bytes, stored: list[bytes], version: int = 1) -> bytes:
    """A file of any header text."""
    prefix = struct.pack("<16sII", b"warptree launch\n", version, len(text))
    return prefix + digest(text) + text + b"".join(stored)
