"""What is claimed of the NPU's streams: nothing lost or doubled, nothing too much, and what is offered stays."""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false

import z3

from hw.scratchpad import BYTE, ScratchpadSpec
from rtl.engine.control import TileControl
from rtl.npu.loops import AddressLoops
from rtl.npu.queue import WordQueue
from rtl.npu.reader import Reader
from rtl.npu.scratchpad import Scratchpad
from rtl.npu.writer import Writer
from rtl.prove.handshakes import Claims, Handshake, bit, on, wide
from rtl.prove.induction import Nets, Transition

SPEC = ScratchpadSpec(banks=4, depth=4, word_bits=16, line_words=2)
CHANNELS, LOOPS, DEPTH = 2, 3, 3


def _control_state(nets: Nets) -> Claims:
    return {"a tile is summed only while the output register is free": z3.Not(
        z3.And(on(nets("summed")), on(nets("out_valid"))))}  # fmt: skip


def _control(step: Transition) -> Claims:
    now, after = step.now, step.after

    def in_flight(nets: Nets) -> z3.BitVecRef:
        return wide(nets("summed")) + wide(nets("out_valid"))

    emitted = z3.And(on(now("out_valid")), on(now("out_ready")))
    ended = z3.And(on(now("take")), on(now("last")))
    waiting = z3.And(on(now("out_valid")), z3.Not(on(now("out_ready"))))
    return {
        "what is offered stays offered": z3.Implies(waiting, on(after("out_valid"))),
        "and its register is not written": z3.Implies(waiting, z3.Not(on(now("summed")))),
        "no output is lost or doubled": in_flight(after) == in_flight(now) + _one(ended) - _one(emitted),
        "a sum is captured the cycle after": on(after("summed")) == ended,
        "busy while anything is in flight": z3.Implies(in_flight(now) != 0, on(now("busy"))),
        "operands are taken by both sides": on(now("take"))
        == z3.And(on(now("operands_valid")), on(now("operands_ready"))),
    }


def _control_reset(step: Transition) -> Claims:
    left = step.after("summed") | step.after("out_valid") | step.after("busy")
    return {"reset forgets what is in flight": left == 0}


def _one(condition: z3.BoolRef) -> z3.BitVecRef:
    return z3.If(condition, z3.BitVecVal(1, 8), z3.BitVecVal(0, 8))


def _ring(nets: Nets, path: str = "") -> Claims:
    first, free, level = (wide(nets(f"{path}{name}")) for name in ("first", "free", "level"))
    wrapped = z3.URem(first + level, z3.BitVecVal(DEPTH, 8))
    return {
        f"{path}the ring holds `level` words": z3.And(
            z3.ULE(level, DEPTH), z3.ULT(first, DEPTH), z3.ULT(free, DEPTH), free == wrapped
        )
    }


def _queued(nets: Nets, place: z3.BitVecRef) -> z3.BitVecRef:
    """The word at a place behind the head."""
    at = z3.URem(wide(nets("first")) + place, z3.BitVecVal(DEPTH, 8))
    found = nets("word_0")
    for number in range(1, DEPTH):
        found = z3.If(at == number, nets(f"word_{number}"), found)
    return found


def _queue_given(step: Transition) -> list[z3.BoolRef]:
    level = step.now("level")
    return [z3.Implies(on(step.now("put")), z3.ULT(level, DEPTH)), z3.Implies(on(step.now("take")), level != 0)]


def _queue(step: Transition) -> Claims:
    now, after = step.now, step.after
    put, take, clear = (on(now(name)) for name in ("put", "take", "clear"))
    level, moved = wide(now("level")), _one(take)
    claims = {
        "clear leaves no word": z3.Implies(clear, after("level") == 0),
        "no word is lost or doubled": z3.Implies(
            z3.Not(clear), wide(after("level")) == level + _one(put) - moved
        ),
        "the newest word is the one that was put": z3.Implies(
            z3.And(put, z3.Not(clear)), _queued(after, level - moved) == now("word")
        ),
        "the head is the oldest": z3.Implies(level != 0, now("head") == _queued(now, z3.BitVecVal(0, 8))),
        "the head stays until it is taken": z3.Implies(
            z3.And(level != 0, z3.Not(take), z3.Not(clear)), after("head") == now("head")
        ),
    }  # fmt: skip
    for place in range(DEPTH):
        there = z3.ULT(z3.BitVecVal(place, 8) + moved, level)
        claims[f"word {place} keeps its turn"] = z3.Implies(
            z3.And(there, z3.Not(clear)),
            _queued(after, z3.BitVecVal(place, 8)) == _queued(now, z3.BitVecVal(place, 8) + moved),
        )
    return claims


def _walk(nets: Nets) -> Claims:
    """Each loop's address is that of the loop around it and as many strides as it has gone round."""
    claims = {}
    for inner in range(LOOPS - 1):
        count = z3.Extract(nets("origin_0").size() - 1, 0, nets(f"count_{inner}"))
        strides = count * nets(f"add_{inner}")
        claims[f"loop {inner} is where its count says"] = (
            nets(f"origin_{inner}") == nets(f"origin_{inner + 1}") + strides
        )
    return claims


def _loops(step: Transition) -> Claims:
    now, after = step.now, step.after
    goes_on = z3.And(on(now("valid")), on(now("next")), z3.Not(on(now("start"))))
    stays = z3.And(z3.Not(on(now("start"))), z3.Not(z3.And(on(now("valid")), on(now("next")))))
    last = [now(f"count_{i}") == now(f"rounds_{i}") - 1 for i in range(LOOPS)]
    outer = LOOPS - 1
    kept = z3.And(*(after(f"address__{i}") == now(f"address__{i}") for i in range(CHANNELS)))
    claims = {
        "an address stays until it is used": z3.Implies(stays, z3.And(kept, after("valid") == now("valid"))),
        "the walk ends after the last round of every loop": z3.Implies(
            goes_on, on(after("valid")) == z3.Not(z3.And(*last))),
        "channels are a stride apart": now("address__1") == now("address__0") + now("apart"),
        "a start takes base and settings": z3.Implies(on(now("start")), z3.And(
            on(after("valid")), after("address__0") == now("settings__base"), after(f"count_{outer}") == 0)),
        "the outermost loop moves by its stride": z3.Implies(
            z3.And(goes_on, z3.Not(last[outer]), *last[:outer]),
            after(f"origin_{outer}") == now(f"origin_{outer}") + now(f"add_{outer}")),
    }  # fmt: skip
    for loop in range(LOOPS):
        inside = z3.And(goes_on, *last[:loop])
        counted = z3.If(last[loop], z3.BitVecVal(0, 16), now(f"count_{loop}") + 1)
        claims[f"loop {loop} counts when those inside have gone round"] = z3.Implies(
            goes_on, after(f"count_{loop}") == z3.If(inside, counted, now(f"count_{loop}"))
        )
    return claims


def _reader_state(nets: Nets) -> Claims:
    claims = {}
    for i in range(CHANNELS):
        room = wide(nets(f"queue_{i}.level")) + wide(nets(f"coming_{i}"))
        claims |= _ring(nets, f"queue_{i}.")
        claims[f"channel {i} asks for no more than its queue holds"] = z3.ULE(room, DEPTH)
        claims[f"channel {i} fetches only if it is used"] = z3.Implies(
            z3.Or(on(nets(f"coming_{i}")), bit(nets("done"), i)), bit(nets("used"), i)
        )
    claims["words are granted of an address only"] = z3.Implies(nets("loops.valid") == 0, nets("done") == 0)
    claims["and not all of them are behind"] = z3.Implies(on(nets("loops.valid")), z3.Or(
        nets("used") == 0, (nets("done") | ~nets("used")) != z3.BitVecVal(-1, CHANNELS)))  # fmt: skip
    return claims


def _reader(step: Transition) -> Claims:
    now, after = step.now, step.after
    start = on(now("start"))
    taken = z3.And(on(now("valid")), on(now("take")))
    claims: dict[str, z3.BoolRef] = {}
    for i in range(CHANNELS):
        asked, ready = on(now(f"memory__{i}__valid")), on(now(f"memory__{i}__ready"))
        granted, used = z3.And(asked, ready), bit(now("used"), i)
        level = wide(now(f"queue_{i}.level"))
        room_now, room_after = (wide(nets(f"queue_{i}.level")) + wide(nets(f"coming_{i}")) for nets in (now, after))
        claims |= {
            f"channel {i}: a request stays until it is granted": z3.Implies(
                z3.And(asked, z3.Not(ready), z3.Not(start)),
                z3.And(
                    on(after(f"memory__{i}__valid")), after(f"memory__{i}__address") == now(f"memory__{i}__address")
                ),
            ),
            f"channel {i}: no address is asked for twice": z3.Implies(
                z3.And(granted, z3.Not(start)), z3.Or(on(now("next")), bit(after("done"), i))
            ),
            f"channel {i}: none is left out": z3.Implies(
                z3.And(on(now("next")), on(now("loops.valid")), used), z3.Or(granted, bit(now("done"), i))
            ),
            f"channel {i}: its queue does not overflow": z3.Implies(on(now(f"queue_{i}.put")), z3.ULT(level, DEPTH)),
            f"channel {i}: nor underflow": z3.Implies(on(now(f"queue_{i}.take")), level != 0),
            f"channel {i}: what was granted comes the cycle after": z3.Implies(
                z3.Not(start), on(after(f"queue_{i}.put")) == granted
            ),
            f"channel {i}: no word is lost or doubled": z3.Implies(
                z3.Not(start), room_after == room_now + _one(granted) - _one(z3.And(taken, used))
            ),
            f"channel {i}: a word that is offered stays": z3.Implies(
                z3.And(on(now("valid")), z3.Not(taken), z3.Not(start)),
                z3.And(on(after("valid")), after(f"words__{i}") == now(f"words__{i}")),
            ),
            f"channel {i}: a start forgets all words": z3.Implies(start, room_after == 0),
        }
    return claims


def _writer(step: Transition) -> Claims:
    now, after = step.now, step.after
    accepted = z3.And(on(now("valid")), on(now("ready")))
    waiting, granted = now("waiting"), now("granted")
    left = waiting & ~granted
    claims = {
        "a block is taken only when the one before is written": z3.Implies(on(now("ready")), left == 0),
        "and always then": z3.Implies(left == 0, on(now("ready"))),
        "each word of a block is written once": after("waiting") == z3.If(accepted, now("used"), left),
        "the addresses go on with the block's last word": on(now("last")) == z3.And(waiting != 0, left == 0),
    }
    for i in range(CHANNELS + 1):
        asked, ready = on(now(f"memory__{i}__valid")), on(now(f"memory__{i}__ready"))
        same = z3.And(*(after(f"memory__{i}__{part}") == now(f"memory__{i}__{part}")
                        for part in ("address", "data", "bytes")))  # fmt: skip
        claims |= {
            f"channel {i}: a request stays until it is granted": z3.Implies(
                z3.And(asked, z3.Not(ready), z3.Not(on(now("start")))), z3.And(on(after(f"memory__{i}__valid")), same)
            ),
            f"channel {i}: a request is a word that waits": asked == bit(waiting, i),
        }
        block = now(f"words__{i}") if i < CHANNELS else z3.Concat(now("scale"), now("scale"))
        claims[f"channel {i}: its data are the block's"] = z3.Implies(accepted, after(f"memory__{i}__data") == block)
    return claims


ASKING = ("write__0", "read__0", "read__1")


def _bank(nets: Nets, who: str) -> z3.BitVecRef:
    return z3.Extract(1, 0, nets(f"{who}__address"))


def _dma_bank(nets: Nets, bank: z3.BitVecRef) -> z3.BoolRef:
    return z3.And(on(nets("dma__valid")), z3.Extract(0, 0, nets("dma__address")) == z3.Extract(1, 1, bank))


def _word(nets: Nets, address: z3.BitVecRef) -> z3.BitVecRef:
    """What lies at an address."""
    found = nets("bank_0[0]")
    for place in range(1, SPEC.words):
        row, bank = divmod(place, SPEC.banks)
        found = z3.If(address == place, nets(f"bank_{bank}[{row}]"), found)
    return found


def _scratchpad(step: Transition) -> Claims:
    now, after = step.now, step.after
    claims = {}
    before = []
    for who in ASKING:
        asked, ready, bank = on(now(f"{who}__valid")), on(now(f"{who}__ready")), _bank(now, who)
        earlier = [z3.And(on(now(f"{other}__valid")), _bank(now, other) == bank) for other in before]
        claims[f"{who}: granted unless the DMA or an earlier one wants its bank"] = ready == z3.And(
            asked, z3.Not(z3.Or(_dma_bank(now, bank), *earlier))
        )
        if who.startswith("read"):
            claims[f"{who}: the word that lies there comes the cycle after"] = z3.Implies(
                ready, after(f"{who}__data") == _word(now, now(f"{who}__address"))
            )
        before.append(who)
    for bank in range(SPEC.banks):
        port = f"crossbar.bank__{bank}__"
        claims[f"bank {bank} is read or written, not both"] = z3.Or(now(f"{port}read") == 0, now(f"{port}write") == 0)
    line = now("dma__address")
    words = [_word(now, z3.Concat(line, z3.BitVecVal(place, 1))) for place in (1, 0)]
    reading = z3.And(on(now("dma__valid")), now("dma__write") == 0)
    claims["the DMA's line comes the cycle after"] = z3.Implies(reading, after("dma__read_data") == z3.Concat(*words))
    for place in range(SPEC.words):
        row, bank = divmod(place, SPEC.banks)
        by_dma = z3.And(on(now("dma__valid")), on(now("dma__write")), line == place // SPEC.line_words)
        by_writer = z3.And(on(now("write__0__ready")), now("write__0__address") == place)
        part = place % SPEC.line_words * SPEC.word_bits
        pieces = []
        for number in reversed(range(SPEC.word_bits // BYTE)):
            high, low = number * BYTE + BYTE - 1, number * BYTE
            mine = z3.And(by_writer, bit(now("write__0__bytes"), number))
            kept = z3.Extract(high, low, now(f"bank_{bank}[{row}]"))
            pieces.append(z3.If(by_dma, z3.Extract(part + high, part + low, now("dma__data")),
                                z3.If(mine, z3.Extract(high, low, now("write__0__data")), kept)))  # fmt: skip
        claims[f"word {place} changes only when it is written"] = after(f"bank_{bank}[{row}]") == z3.Concat(*pieces)
    return claims


def _nothing(_: object) -> Claims:
    return {}


def handshakes() -> list[Handshake]:
    """Of the tile engine and of everything between it and the scratchpad's banks."""
    return [
        Handshake("tile control", TileControl, _control_state, lambda _: [], _control, _control_reset),
        Handshake("queue", lambda: WordQueue(SPEC.word_bits, DEPTH), _ring, _queue_given, _queue),
        Handshake("address loops", lambda: AddressLoops(4, LOOPS, CHANNELS), _walk, lambda _: [], _loops),
        Handshake("reader", lambda: Reader(SPEC, CHANNELS, 2, DEPTH), _reader_state, lambda _: [], _reader,
                  lambda step: {"reset forgets all words": z3.And(step.after("valid") == 0, *(
                      step.after(f"memory__{i}__valid") == 0 for i in range(CHANNELS)))}),
        Handshake("writer", lambda: Writer(SPEC, CHANNELS, 2), _nothing,
                  lambda step: [z3.Implies(on(step.now("start")), step.now("busy") == 0)], _writer,
                  lambda step: {"reset forgets the block": step.after("busy") == 0}),
        Handshake("scratchpad", lambda: Scratchpad(SPEC, 1, 2), _nothing, lambda _: [], _scratchpad),
    ]  # fmt: skip
