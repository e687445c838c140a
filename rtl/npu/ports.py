"""How a streamer asks the scratchpad for a word."""

from amaranth.lib.wiring import In, Out, Signature

from hw.scratchpad import BYTE, ScratchpadSpec


def address_bits(spec: ScratchpadSpec) -> int:
    """Width of a word's address."""
    return (spec.words - 1).bit_length()


def byte_address_bits(spec: ScratchpadSpec) -> int:
    """Width of a byte's address."""
    return (spec.bytes - 1).bit_length()


class ReadPort(Signature):
    """A word is read.

    Members, as the one who asks sees them:
        valid, address: asked for; both stay until granted.
        ready: granted in this cycle.
        data: the word, in the cycle after it was granted and only then.
    """

    def __init__(self, spec: ScratchpadSpec):
        super().__init__({
            "valid": Out(1),
            "address": Out(address_bits(spec)),
            "ready": In(1),
            "data": In(spec.word_bits),
        })  # fmt: skip


class WritePort(Signature):
    """Bytes of a word are written.

    Members, as the one who asks sees them:
        valid, address, data, bytes: asked for; all stay until granted; `bytes` has a bit for each byte to write.
        ready: granted in this cycle, at whose end the bytes are written.
    """

    def __init__(self, spec: ScratchpadSpec):
        super().__init__({
            "valid": Out(1),
            "address": Out(address_bits(spec)),
            "data": Out(spec.word_bits),
            "bytes": Out(spec.word_bits // BYTE),
            "ready": In(1),
        })  # fmt: skip


class LinePort(Signature):
    """The DMA's: a line of words, aligned, read or written; it never waits.

    Members, as the DMA sees them:
        valid, write, address, data: a line in this cycle; the address counts lines.
        read_data: the line, in the cycle after it was read and only then.
    """

    def __init__(self, spec: ScratchpadSpec):
        line = spec.line_words * spec.word_bits
        super().__init__({
            "valid": Out(1),
            "write": Out(1),
            "address": Out((spec.words // spec.line_words - 1).bit_length()),
            "data": Out(line),
            "read_data": In(line),
        })  # fmt: skip


class BankPort(Signature):
    """One bank's.

    Members, as the crossbar sees them:
        address, data, write, read: a row; bytes to write, one bit each; whether to read. Never both in a cycle.
        read_data: the word, from the cycle after it was read until the next read.
    """

    def __init__(self, spec: ScratchpadSpec):
        super().__init__({
            "address": Out((spec.depth - 1).bit_length()),
            "data": Out(spec.word_bits),
            "write": Out(spec.word_bits // BYTE),
            "read": Out(1),
            "read_data": In(spec.word_bits),
        })  # fmt: skip
