"""Allocate: when an instruction's operands can be read, with the register file's read ports and the reuse cache.

Two banks by register number modulo two; an instruction goes on once all its reads fit into the free ports of the
cycles in which it may read (Huerta et al., MICRO 2025).
"""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false
# pyright: reportReturnType=false

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from rtl.issue_stage.design import BANKS, SLOTS, WARP_BITS, IssueDesign
from rtl.issue_stage.instruction import MOST_REGISTERS, OPERAND

NEED_BITS = (SLOTS * MOST_REGISTERS // BANKS).bit_length()
WAITING_BITS = 3


def bank_of(register: Value) -> Value:
    """The bank that holds a register."""
    return register[0]


class ReuseCache(Component):
    """One register for each operand slot and bank, kept when its reuse bit says so (Huerta et al., MICRO 2025).

    Ports:
        start: warp slots that get a new warp, whose registers are not those kept.
        warp, operands: of the instruction in Allocate.
        use: it goes on: each of its reads replaces what was kept for that slot and bank.
        need: reads that the ports must serve, a bank. Combinational.
    """

    def __init__(self, design: IssueDesign):
        self._design = design
        super().__init__({
            "start": In(design.warps),
            "warp": In(WARP_BITS),
            "operands": In(data.ArrayLayout(OPERAND, SLOTS)),
            "use": In(1),
            "need": Out(NEED_BITS).array(BANKS),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the six entries."""
        m = Module()
        for bank in range(BANKS):
            m.d.comb += self.need[bank].eq(sum(self._slot(m, slot, bank) for slot in range(SLOTS)))
        return m

    def _slot(self, m: Module, slot: int, bank: int) -> Value:
        """One entry; returns the reads that it leaves to the bank's ports."""
        operand = self.operands[slot]
        # An operand's registers follow one another, so they alternate between the banks.
        first_here = bank_of(operand.register) == bank
        reads = Signal(2, name=f"reads_{slot}_{bank}")
        first, last = (Signal(8, name=f"{name}_{slot}_{bank}") for name in ("first", "last"))
        m.d.comb += [
            reads.eq((operand.count + first_here) >> 1),
            first.eq(operand.register + ~first_here),
            last.eq(first + ((reads - 1) << 1)),
        ]
        valid = Signal(name=f"valid_{slot}_{bank}")
        warp = Signal(WARP_BITS, name=f"warp_{slot}_{bank}")
        register = Signal(8, name=f"register_{slot}_{bank}")
        with m.If(self.use & (reads != 0)):
            m.d.sync += [valid.eq(operand.reuse), warp.eq(self.warp), register.eq(last)]
        with m.Elif(self.start.bit_select(warp, 1)):
            m.d.sync += valid.eq(0)
        hit = (reads != 0) & valid & (warp == self.warp) & (register == first)
        return reads - hit if self._design.reuse_cache else reads


class ReadPorts(Component):
    """Bookings of the read ports of both banks for the cycles to come.

    A fixed-latency instruction books all its reads at once, earliest cycles first, when they fit its window. A
    variable-latency instruction, which comes behind it, takes a port of each bank in the first cycle that has both;
    while an instruction before it still waits in Allocate, only the next cycle is sure to be free for it.

    Ports:
        valid, wide, need: an instruction is in Allocate, its window, and its reads a bank.
        read: a variable-latency instruction that reads registers leaves Control.
        leaves: the instruction in Allocate goes on. Combinational.
        overflow: a booking was lost; no legal input does that.
    """

    valid: In(1)
    wide: In(1)
    need: In(NEED_BITS).array(BANKS)
    read: In(1)
    leaves: Out(1)
    overflow: Out(1)

    def __init__(self, design: IssueDesign):
        self._design = design
        self._ports = design.read_ports or 0
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        """Build the bookings: of the instruction in Allocate, then of those that wait for a read."""
        m = Module()
        if not self._ports:
            m.d.comb += self.leaves.eq(self.valid)
            return m
        horizon = self._design.horizon
        booked = [
            [Signal(range(self._ports + 1), name=f"booked_{b}_{i}") for i in range(horizon)] for b in range(BANKS)
        ]
        fits = [self._fits(booked[bank], self.need[bank]) for bank in range(BANKS)]
        m.d.comb += self.leaves.eq(self.valid & fits[0] & fits[1])
        after = [self._book(m, bank, booked[bank], Mux(self.leaves, self.need[bank], 0)) for bank in range(BANKS)]
        after = self._book_waiting(m, after)
        for bank in range(BANKS):
            m.d.sync += [now.eq(then) for now, then in zip(booked[bank], [*after[bank][1:], 0], strict=True)]
        return m

    def _fits(self, booked: list[Signal], need: Value) -> Value:
        narrow, wide = (
            sum(self._ports - ports for ports in booked[:cycles])
            for cycles in (self._design.read_cycles, self._design.wide_read_cycles)
        )
        return Mux(self.wide, wide, narrow) >= need

    def _book(self, m: Module, bank: int, booked: list[Signal], reads: Value) -> list[Signal]:
        """Take ports for so many reads; the window is known to have them."""
        after = []
        for i, ports in enumerate(booked):
            then, rest = Signal.like(ports, name=f"then_{bank}_{i}"), Signal(NEED_BITS, name=f"rest_{bank}_{i}")
            free = self._ports - ports
            taken = Mux(reads < free, reads, free)
            m.d.comb += [then.eq(ports + taken), rest.eq(reads - taken)]
            after.append(then)
            reads = rest
        return after

    def _book_waiting(self, m: Module, booked: list[list[Signal]]) -> list[list[Signal]]:
        """Take a port of each bank for each instruction that waits for a read, in the first cycles that have both."""
        waiting, stuck = Signal(WAITING_BITS), Signal()
        m.d.comb += stuck.eq(self.valid & ~self.leaves)
        reads: Value = Signal(WAITING_BITS + 1, name="reads")
        m.d.comb += reads.eq(waiting + self.read)
        after: list[list[Signal]] = [[], []]
        for i, pair in enumerate(zip(*booked, strict=True)):
            free = [self._ports - ports for ports in pair]
            both = Mux(free[0] < free[1], free[0], free[1])
            taken, rest = (Signal(WAITING_BITS + 1, name=f"{name}_{i}") for name in ("taken", "waits"))
            m.d.comb += [taken.eq(Mux(stuck if i else 0, 0, Mux(reads < both, reads, both))), rest.eq(reads - taken)]
            for bank in range(BANKS):
                then = Signal.like(pair[bank], name=f"behind_{bank}_{i}")
                m.d.comb += then.eq(pair[bank] + taken)
                after[bank].append(then)
            reads = rest
        m.d.sync += waiting.eq(reads)
        with m.If((~stuck & (reads != 0)) | (reads >> WAITING_BITS).any()):
            m.d.sync += self.overflow.eq(1)
        return after
