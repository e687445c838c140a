"""All state of the simulated chip as plain structured arrays: it serialises, and kernels take it as arguments.

A hardware warp slot is (sub-core, local); `local` indexes the per-warp columns of a sub-core.
"""

from typing import NamedTuple

import numpy as np

from gpu_model.core.opcodes import Pipe
from hw.gpu_spec import GpuSpec

SUB_CORES = 4
LOCALS = 16  # warp slots of a sub-core, at most
BUFFER = 8  # instruction-buffer entries, at most
COUNTERS = 6
PRODUCT_COUNTER = COUNTERS  # behind them: groups of warpgroup products
ALL_COUNTERS = COUNTERS + 1
GROUPS = 64  # LDGSTS groups of a warp in flight, at most
QUEUE = 16
REQUESTS = 128
PRODUCTS = 16  # warpgroup products of a sub-core that wait, at most
COPIES = 64  # bulk copies of an SM in flight, at most
MBARRIERS = 64  # of a block, at most
UPDATES = 256  # of mbarriers of an SM under way, at most
READ_RING = 64  # cycles ahead for which read ports can be booked
WRITE_RING = 128
IDEAL_PORTS = 32  # more than one instruction a cycle can use
POLICIES = ("cggty", "gto", "lrr")
DEPENDENCES = 524  # registers of a warp that a scoreboard covers: R, UR, P, UP without their constant ones
READERS = 57  # variable-latency instructions of a warp that have yet to read their sources, at most
UNLIMITED = 1 << 15
BLOCK_SLOTS = 32
NAMED_BARRIERS = 16
HEAP = 4096
NEVER = 1 << 60

_CONFIG_FIELDS = (
    "quantum sub_cores buffer barrier_cycles barrier_interval branch_redirect warps",
    "read_ports write_ports reuse_cache",
    "queue_entries accept_interval pending_requests",
    "icache_perfect line_rows l0_sets l0_ways l1_sets l1_ways network_cycles icache_miss_cycles prefetch_lines",
    "constant_perfect constant_sets constant_ways constant_miss constant_hold",
    "perfect_l1 data_sets data_ways l1_bytes_per_cycle",
    "l2_sets l2_ways l2_slices l2_cycles l2_sector_ticks dram_channels dram_cycles dram_sector_ticks "
    "dram_turnaround_ticks",
    "block_launch_cycles log_bound check_hazards",
    "policy scoreboard consumers",
    "mbarrier_wake copy_start copy_bytes_per_cycle product_queue",
)
CONFIG = np.dtype([(name, "i8") for line in _CONFIG_FIELDS for name in line.split()])

ALL_SECTORS = 0b1111  # of a line, one bit each
TICKS = 64  # fractions of a cycle in which L2 and DRAM service times are counted

SUB = np.dtype(
    [
        ("wake", "i8"),  # first cycle at which this sub-core may do something
        ("issue_free", "i8"),  # the latch between Issue and Control is free
        ("issue_reason", "i8"),  # why it is not
        ("control_free", "i8"),
        ("allocate_free", "i8"),
        ("hold_until", "i8"),  # a constant miss keeps the issue slot
        ("last", "i8"),  # local that issued last, or -1
        ("fetch_last", "i8"),  # the same, as the fetch stage knows it
        ("warps", "i8"),
        ("order", "i8", (LOCALS,)),  # locals, youngest first
        ("pipe_free", "i8", (len(Pipe),)),
        ("stage_free", "i8", (4,)),  # memory-unit stages
        ("return_free", "i8"),
        ("queue_count", "i8"),
        ("queue_head", "i8"),
        ("queue_started", "i8"),  # entries past operand read
        ("queue_start", "i8", (QUEUE,)),  # earliest operand read
        ("queue_ready", "i8", (QUEUE,)),  # cycle at which the entry may leave the sub-core
        ("queue_row", "i8", (QUEUE,)),
        ("queue_access", "i8", (QUEUE,)),
        ("queue_local", "i8", (QUEUE,)),
        ("queue_generation", "i8", (QUEUE,)),  # of its warp, which may be gone before the entry is
        ("queue_group", "i8", (QUEUE,)),  # group of LDGSTS or bulk stores, or -1
        ("queue_block", "i8", (QUEUE,)),  # block slot of its warp
        ("read_ring", "i8", (2, READ_RING)),  # cycle * 64 + ports taken
        ("write_ring", "i8", (2, WRITE_RING)),
        ("product_count", "i8"),  # warpgroup products issued
        ("product_start", "i8", (PRODUCTS,)),  # when the last of them start, by number modulo PRODUCTS
        ("reuse", "i8", (3, 2)),  # slot, bank -> warp and register, 0 = empty
        ("constant_tag", "i8", (16, 8)),
        ("constant_ready", "i8", (16, 8)),
        ("constant_used", "i8", (16, 8)),
        ("stream_line", "i8"),  # head of the prefetch stream
        ("stream_count", "i8"),
        ("stream_ready", "i8", (64,)),
        # Per-warp columns.
        ("warp", "i8", (LOCALS,)),  # index into the pool's warps, or -1
        ("age", "i8", (LOCALS,)),
        ("generation", "i8", (LOCALS,)),
        ("block", "i8", (LOCALS,)),  # block slot of the SM
        ("position", "i8", (LOCALS,)),  # trace entry to issue next
        ("end", "i8", (LOCALS,)),
        ("row", "i8", (LOCALS,)),  # its program row
        ("not_before", "i8", (LOCALS,)),
        ("reason", "i8", (LOCALS,)),  # why not before
        ("since", "i8", (LOCALS,)),  # cycles before are accounted for
        ("fetched", "i8", (LOCALS,)),  # trace entry to fetch next
        ("available", "i8", (LOCALS, BUFFER)),  # when a buffered entry can issue
        ("fetch_at", "i8", (LOCALS,)),  # next fetch, after a miss or redirect
        ("wrong_path", "i8", (LOCALS,)),  # buffer entries fetched past a taken branch; -1 = none pending
        ("line", "i8", (LOCALS,)),  # instruction line fetched last
        ("count", "i8", (LOCALS, ALL_COUNTERS)),
        ("count_reason", "i8", (LOCALS, ALL_COUNTERS)),
        ("visible_at", "i8", (LOCALS,)),  # when the last instruction's increments show
        ("pending_write", "i8", (LOCALS,)),
        ("pending_read", "i8", (LOCALS,)),
        ("barrier", "i8", (LOCALS,)),  # named barrier it waits at, NAMED_BARRIERS more once that is complete, or -1
        ("group", "i8", (LOCALS,)),  # group of LDGSTS or bulk stores being filled
        ("group_head", "i8", (LOCALS,)),  # oldest group not complete
        ("group_open", "i8", (LOCALS, GROUPS)),  # its instructions in flight
        ("group_counter", "i8", (LOCALS, GROUPS)),  # counter to release, once closed
        ("turn", "i8"),  # local that round robin looks at last
        # Per-warp columns of a scoreboard.
        ("result_at", "i8", (LOCALS, DEPENDENCES)),  # first issue of a consumer; NEVER = not known yet
        ("result_reason", "i1", (LOCALS, DEPENDENCES)),  # StallReason of one that waits
        ("readers", "i2", (LOCALS, DEPENDENCES)),
        ("reader_row", "i4", (LOCALS, READERS)),  # rows of those under way, or -1
    ],
    align=True,
)

SM = np.dtype(
    [
        ("clock", "i8"),
        ("next", "i8"),
        ("error", "i8"),
        ("heap_count", "i8"),
        ("heap", "i8", (HEAP,)),
        ("accept_free", "i8"),
        ("accept_turn", "i8"),
        ("pipe_free", "i8", (len(Pipe),)),  # units the sub-cores share
        ("network_free", "i8"),
        ("barrier_free", "i8"),
        ("blocks", "i8"),
        ("block", "i8", (BLOCK_SLOTS,)),  # pool block of a slot, or -1
        ("block_free_at", "i8", (BLOCK_SLOTS,)),  # first fetch of the next block there
        ("block_live", "i8", (BLOCK_SLOTS,)),
        ("block_arrived", "i8", (BLOCK_SLOTS, NAMED_BARRIERS)),
        ("block_wanted", "i8", (BLOCK_SLOTS, NAMED_BARRIERS)),  # warps a named barrier needs, 0 for all
        ("block_generation", "i8", (BLOCK_SLOTS,)),
        ("mbarriers", "i8", (BLOCK_SLOTS,)),
        ("mbarrier_address", "i8", (BLOCK_SLOTS, MBARRIERS)),  # shared
        ("mbarrier_word", "u8", (BLOCK_SLOTS, MBARRIERS)),
        ("age", "i8"),
        ("request_count", "i8"),
        ("request_used", "i8", (REQUESTS,)),
        ("request_sub", "i8", (REQUESTS,)),
        ("request_local", "i8", (REQUESTS,)),
        ("request_generation", "i8", (REQUESTS,)),
        ("request_row", "i8", (REQUESTS,)),
        ("request_group", "i8", (REQUESTS,)),
        ("request_late", "i8", (REQUESTS,)),  # latest fill it waits for
        ("request_after", "i8", (REQUESTS,)),  # from the data's arrival to the return transfer
        (
            "request_mbarrier",
            "i8",
            (REQUESTS,),
        ),  # slot * MBARRIERS + index of the mbarrier whose phase it waits for, or -1
        ("update_next", "i8"),  # place of the last update entered
        ("update_used", "i8", (UPDATES,)),
        ("update_slot", "i8", (UPDATES,)),
        ("update_generation", "i8", (UPDATES,)),
        ("update_address", "i8", (UPDATES,)),
        ("update_arrivals", "i8", (UPDATES,)),
        ("update_bytes", "i8", (UPDATES,)),
        ("update_drop", "i8", (UPDATES,)),
        ("copies", "i8"),  # in flight
        ("copy_used", "i8", (COPIES,)),
        ("copy_row", "i8", (COPIES,)),
        ("copy_access", "i8", (COPIES,)),
        ("copy_sub", "i8", (COPIES,)),
        ("copy_local", "i8", (COPIES,)),
        ("copy_generation", "i8", (COPIES,)),  # of its warp
        ("copy_group", "i8", (COPIES,)),
        ("copy_slot", "i8", (COPIES,)),
        ("copy_slot_generation", "i8", (COPIES,)),
        ("copy_ready", "i8", (COPIES,)),  # earliest request
        ("copy_next", "i8", (COPIES,)),  # line to ask for next
        ("copy_late", "i8", (COPIES,)),  # latest arrival so far
        ("engine_head", "i8"),  # the copy engine's queue
        ("engine_count", "i8"),
        ("engine_queue", "i8", (COPIES,)),
        ("first_cycle", "i8"),
        ("last_cycle", "i8"),
        ("issued", "i8"),
        ("message_count", "i8"),
        ("log_count", "i8"),
        ("hazards", "i8"),
        ("bytes", "i8", (12,)),  # Traffic
    ],
    align=True,
)

LINE = np.dtype([("tag", "i8"), ("used", "i8"), ("ready", "i8", (4,))], align=True)
L2_LINE = np.dtype([("tag", "i8"), ("used", "i8"), ("valid", "i4"), ("dirty", "i4")], align=True)
MESSAGE = np.dtype(
    [
        ("time", "i8"),
        ("line", "i8"),
        ("sectors", "i4"),
        ("request", "i4"),  # or -1; from REQUESTS on, a bulk copy
        ("set", "i4"),  # L1 line to fill, or -1
        ("way", "i4"),
        ("kind", "i4"),
        ("last", "i4"),  # of its request
    ],
    align=True,
)
MESSAGE_READ, MESSAGE_MERGE, MESSAGE_WRITE = range(3)

POOL_WARP = np.dtype(
    [
        ("block", "i8"),  # linear block index
        ("warp", "i4"),
        ("sm", "i4"),
        ("sub_core", "i4"),
        ("slot", "i4"),
        ("start", "i8"),  # trace entries
        ("end", "i8"),
        ("start_cycle", "i8"),
        ("end_cycle", "i8"),
        ("issued", "i8"),
    ],
    align=True,
)
ACCESS = np.dtype(
    [
        ("first", "i8"),  # first TRANSACTION
        ("lines", "i4"),
        ("sectors", "i4"),
        ("wavefronts", "i4"),  # of a shared-memory access
        ("lanes", "i4"),
    ],
    align=True,
)
TRANSACTION = np.dtype([("line", "i8"), ("sectors", "i8")], align=True)
POOL_BLOCK = np.dtype([("first_warp", "i8"), ("warps", "i8"), ("done", "i8")], align=True)
ENTRY = np.dtype([("row", "i4"), ("access", "i4"), ("active", "i1"), ("taken", "i1")], align=True)
LOG = np.dtype(
    [("cycle", "i8"), ("control", "i8"), ("sm", "i4"), ("sub_core", "i4"), ("warp", "i4"), ("row", "i4")], align=True
)
HAZARD = np.dtype([("cycle", "i8"), ("ready", "i8"), ("warp", "i4"), ("row", "i4"), ("register", "i4")], align=True)

TRAFFIC = (
    "l1_read", "l1_write", "l1_hit", "l2_read", "l2_write", "l2_hit", "dram_read", "dram_write",
    "shared_read", "shared_write", "constant_read", "instruction_read",
)  # fmt: skip
(
    L1_READ, L1_WRITE, L1_HIT, L2_READ, L2_WRITE, L2_HIT, DRAM_READ, DRAM_WRITE,
    SHARED_READ, SHARED_WRITE, CONSTANT_READ, INSTRUCTION_READ,
) = range(12)  # fmt: skip


class Memory(NamedTuple):
    """What the memory unit of one SM works on."""

    accesses: np.ndarray  # ACCESS of the pool
    lines: np.ndarray  # TRANSACTION of the pool
    cache: np.ndarray  # LINE[sets, ways] of this SM
    messages: np.ndarray  # MESSAGE to L2 of this SM


class Instructions(NamedTuple):
    """Instruction caches of one SM, indexed by code line; `NEVER` = absent."""

    l0_ready: np.ndarray  # int64[4, lines]
    l0_used: np.ndarray
    l1_ready: np.ndarray  # int64[lines]
    l1_used: np.ndarray


class Account(NamedTuple):
    """Where a launch's counts go."""

    issued: np.ndarray  # int64[rows]
    stalled: np.ndarray  # int64[rows, StallReason]
    log: np.ndarray  # LOG[bound] of this SM
    hazards: np.ndarray  # HAZARD[bound]
    ready: np.ndarray  # int64[64, 256] register ready cycles, or [0, 0] when hazards are not checked


ERROR_HEAP, ERROR_GROUPS, ERROR_MESSAGES, ERROR_READERS = 1, 2, 3, 4
ERROR_MBARRIERS, ERROR_UPDATES, ERROR_UNKNOWN_MBARRIER = 5, 6, 7


def configuration(spec: GpuSpec, *, l1_data_bytes: int, log_bound: int, check_hazards: bool) -> np.ndarray:
    """Flatten a spec to one `CONFIG` record (an array of length 1)."""
    core, memory = spec.core, spec.memory
    data_sets = max(1, memory.l1_bytes // 128 // memory.l1_ways)
    values = {
        # The longest within which no reply of L2 and no new block can reach an SM that asked for it.
        "quantum": min(memory.l2_cycles, spec.block_launch_cycles),
        "sub_cores": core.sub_cores,
        "buffer": core.instruction_buffer,
        "read_ports": IDEAL_PORTS if core.rf.read_ports == "ideal" else core.rf.read_ports,
        "write_ports": core.rf.write_ports,
        "reuse_cache": core.rf.reuse_cache,
        "barrier_cycles": core.barrier_cycles,
        "barrier_interval": core.barrier_interval,
        "branch_redirect": core.branch_redirect,
        "queue_entries": core.memory.queue_entries + 1,
        "accept_interval": core.memory.accept_interval,
        "pending_requests": core.memory.pending_requests,
        "warps": spec.limits.warps,
        "icache_perfect": core.icache.perfect,
        "line_rows": core.icache.line_bytes // 16,
        "l0_sets": core.icache.l0_sets,
        "l0_ways": core.icache.l0_ways,
        "l1_sets": core.icache.l1_sets,
        "l1_ways": core.icache.l1_ways,
        "network_cycles": core.icache.network_cycles,
        "icache_miss_cycles": core.icache.miss_cycles,
        "prefetch_lines": core.icache.prefetch_lines,
        "constant_perfect": core.constant.perfect,
        "constant_sets": core.constant.sets,
        "constant_ways": core.constant.ways,
        "constant_miss": core.constant.miss_cycles,
        "constant_hold": core.constant.hold_cycles,
        "perfect_l1": memory.perfect_l1,
        "data_sets": data_sets,
        "data_ways": max(1, l1_data_bytes // 128 // data_sets),
        "l1_bytes_per_cycle": memory.l1_bytes_per_cycle,
        "l2_sets": memory.l2.sets,
        "l2_ways": memory.l2.ways,
        "l2_slices": memory.l2_slices,
        "l2_cycles": memory.l2_cycles,
        "l2_sector_ticks": round(32 * TICKS * memory.l2_slices / memory.l2_bytes_per_cycle),
        "dram_channels": memory.dram_channels,
        "dram_cycles": memory.dram_cycles,
        "dram_sector_ticks": round(32 * TICKS * memory.dram_channels / memory.dram_bytes_per_cycle),
        "dram_turnaround_ticks": round(memory.dram_turnaround_cycles * TICKS),
        "block_launch_cycles": spec.block_launch_cycles,
        "log_bound": log_bound,
        "check_hazards": check_hazards,
        "policy": POLICIES.index(core.issue_policy),
        "scoreboard": core.dependence.mechanism == "scoreboard",
        "consumers": UNLIMITED if core.dependence.consumers == "unlimited" else core.dependence.consumers,
        "mbarrier_wake": core.copies.barrier_wake if core.copies else 0,
        "copy_start": core.copies.start if core.copies else 0,
        "copy_bytes_per_cycle": core.copies.bytes_per_cycle if core.copies else 1,
        "product_queue": core.products.queue if core.products else 1,
    }
    config = np.zeros(1, CONFIG)
    for name, value in values.items():
        config[name] = value
    return config


def new_sms(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Idle SMs and their sub-cores: `SM[count]` and `SUB[count, 4]`."""
    sms, subs = np.zeros(count, SM), np.zeros((count, SUB_CORES), SUB)
    sms["next"] = NEVER
    sms["first_cycle"] = -1
    sms["block"] = -1
    for field in ("last", "fetch_last", "warp", "line", "barrier", "constant_tag", "wrong_path"):
        subs[field] = -1
    subs["wake"] = NEVER
    subs["not_before"] = NEVER
    subs["fetch_at"] = NEVER
    return sms, subs
