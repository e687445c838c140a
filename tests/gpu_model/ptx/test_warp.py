"""Instructions between the lanes of a warp, by the PTX ISA (chapters 9.7.9 and 9.7.13)."""

import itertools

import numpy as np
import pytest

from tests.gpu_model.ptx.harness import ARCHES, Op, bits_of, run
from tests.gpu_model.ptx.test_integers import read, wrap

FULL = 0xFFFFFFFF
RNG = np.random.default_rng(6)


def warp_check(cases: list[tuple[Op, object]], operands: np.ndarray, arch: int) -> None:
    """Like `check`, for rules that see the 32 lanes of every source at once and give 32 results."""
    cases = [(op, rule) for op, rule in cases if op.since <= arch]
    results = run([op for op, _ in cases], operands, arch, threads=32)
    wrong = []
    for (op, rule), row in zip(cases, results, strict=True):
        for start in range(0, operands.shape[1], 32):
            sources = [column[start : start + 32].tolist() for column in operands[: len(op.ins)]]
            sources = [[x & (1 << bits_of(k)) - 1 for x in s] for s, k in zip(sources, op.ins, strict=True)]
            want, got = [int(x) for x in rule(*sources)], row[start : start + 32].tolist()
            if want != got:
                lane = next(i for i in range(32) if want[i] != got[i])
                wrong.append(f"{op.name}, lane {lane} of {[hex(s[lane]) for s in sources]}: got {got[lane]:#x}, "
                             f"expected {want[lane]:#x}")  # fmt: skip
    assert not wrong, f"sm_{arch}, {len(wrong)} wrong:\n" + "\n".join(wrong[:20])


def shuffle(mode: str, value: list[int], lane_or_offset: list[int], control: int) -> tuple[list[int], list[int]]:
    """shfl's pseudocode: the value taken and whether the lane was in range."""
    taken, inside = [], []
    for lane in range(32):
        b, clamp, segment = lane_or_offset[lane] & 31, control & 31, control >> 8 & 31
        most = lane & segment | clamp & ~segment
        least = lane & segment
        source = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": least | b & ~segment & 31}[mode]
        ok = source >= most if mode == "up" else source <= most
        taken.append(value[source if ok else lane])
        inside.append(int(ok))
    return taken, inside


def shuffle_cases() -> list[tuple[Op, object]]:
    cases = []
    controls = {"up": (0x0, 0x1800, 0x1C00), "other": (0x1F, 0x181F, 0x1C1F, 0x0F)}
    for mode in ("up", "down", "bfly", "idx"):
        for control in controls.get(mode, controls["other"]):
            text = f"shfl.sync.{mode}.b32 {{d}}, {{a}}, {{b}}, {control}, -1;"
            cases.append((Op(f"shfl.{mode} {control:#x}", "b32", ("b32", "b32"), None, text),
                          lambda a, b, m=mode, c=control: shuffle(m, a, b, c)[0]))  # fmt: skip
            text = f"shfl.sync.{mode}.b32 t|{{d}}, {{a}}, {{b}}, {control}, -1;"
            cases.append((Op(f"shfl.{mode} {control:#x} predicate", "pred", ("b32", "b32"), None, text),
                          lambda a, b, m=mode, c=control: shuffle(m, a, b, c)[1]))  # fmt: skip
    for mode, offset in (("up", 1), ("down", 16), ("bfly", 5), ("idx", 7)):
        control = 0 if mode == "up" else 31
        text = f"shfl.sync.{mode}.b32 {{d}}, {{a}}, {offset}, {control}, -1;"
        cases.append((Op(f"shfl.{mode} by {offset}", "b32", ("b32",), None, text),
                      lambda a, m=mode, o=offset, c=control: shuffle(m, a, [o] * 32, c)[0]))  # fmt: skip
    return cases


@pytest.mark.parametrize("arch", ARCHES)
def test_shuffles(arch):
    operands = np.zeros((3, 128), np.uint64)
    operands[0] = RNG.integers(0, 1 << 32, 128)
    operands[1] = np.concatenate([RNG.integers(0, 32, 64), np.arange(32)[::-1], RNG.integers(0, 1 << 32, 32)])
    warp_check(shuffle_cases(), operands, arch)


def ballot(bits: list[int]) -> int:
    return sum(bool(bit) << lane for lane, bit in enumerate(bits))


def matches(value: list[int]) -> list[int]:
    return [sum((other == mine) << lane for lane, other in enumerate(value)) for mine in value]


def vote_cases() -> list[tuple[Op, object]]:
    def vote(mode: str, text_d: str = "{d}") -> str:
        return f"setp.ne.u32 q, {{a}}, 0;\nvote.sync.{mode} {text_d}, q, -1;"

    cases = [
        (Op("vote.all", "pred", ("u32",), None, vote("all.pred")), lambda a: [all(a)] * 32),
        (Op("vote.any", "pred", ("u32",), None, vote("any.pred")), lambda a: [any(a)] * 32),
        (Op("vote.uni", "pred", ("u32",), None, vote("uni.pred")), lambda a: [all(a) or not any(a)] * 32),
        (Op("vote.ballot", "b32", ("u32",), None, vote("ballot.b32")), lambda a: [ballot(a)] * 32),
        (Op("activemask", "b32", ("u32",), None, "activemask.b32 {d};"), lambda a: [FULL] * 32),
    ]
    for width in (32, 64):
        kind = f"b{width}"
        cases += [
            (Op(f"match.any.{kind}", "b32", (kind,), None, f"match.any.sync.{kind} {{d}}, {{a}}, -1;"), matches),
            (Op(f"match.all.{kind}", "b32", (kind,), None, f"match.all.sync.{kind} {{d}}, {{a}}, -1;"),
             lambda a: [FULL if len(set(a)) == 1 else 0] * 32),
            (Op(f"match.all.{kind} predicate", "pred", (kind,), None, f"match.all.sync.{kind} t|{{d}}, {{a}}, -1;"),
             lambda a: [len(set(a)) == 1] * 32),
        ]  # fmt: skip
    return cases


@pytest.mark.parametrize("arch", ARCHES)
def test_votes_and_matches(arch):
    operands = np.zeros((3, 160), np.uint64)
    operands[0] = np.concatenate([RNG.integers(0, 3, 32), np.zeros(32), np.full(32, 7), RNG.integers(0, 2, 32) << 33,
                                  RNG.integers(0, 1 << 60, 32)])  # fmt: skip
    warp_check(vote_cases(), operands, arch)


def reductions() -> list[tuple[Op, object]]:
    def reduced(function, kind):
        def rule(a: list[int]) -> list[int]:
            values = [read(x, kind) for x in a]
            total = values[0]
            for value in values[1:]:
                total = function(total, value)
            return [wrap(total, 32)] * 32

        return rule

    cases = []
    for name, kind, function in (
        ("add", "u32", lambda x, y: x + y), ("add", "s32", lambda x, y: x + y), ("min", "u32", min),
        ("min", "s32", min), ("max", "u32", max), ("max", "s32", max),
        ("and", "b32", lambda x, y: x & y), ("or", "b32", lambda x, y: x | y),
        ("xor", "b32", lambda x, y: x ^ y),
    ):  # fmt: skip
        text = f"redux.sync.{name}.{kind} {{d}}, {{a}}, -1;"
        cases.append((Op(f"redux.{name}.{kind}", kind, (kind,), None, text, 80), reduced(function, kind)))
    return cases


@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch >= 80])
def test_reductions(arch):
    operands = np.zeros((3, 128), np.uint64)
    operands[0] = np.concatenate([RNG.integers(0, 1 << 32, 96), np.full(32, 0x80000000)])
    warp_check(reductions(), operands, arch)


GROUPS = [0x0000FFFF] * 16 + [0xFFFF0000] * 16, [0x55555555, 0xAAAAAAAA] * 16, [1 << lane for lane in range(32)]


def group_cases() -> list[tuple[Op, object]]:
    """Lanes name in b whom they act with."""

    def among(function):
        def rule(a: list[int], b: list[int]) -> list[int]:
            return [function([a[i] for i in range(32) if b[lane] >> i & 1], lane, a, b) for lane in range(32)]

        return rule

    def ballot(values, lane, a, b):
        return sum(1 << i for i in range(32) if b[lane] >> i & 1 and a[i] & 1)

    def same(values, lane, a, b):
        return sum(1 << i for i in range(32) if b[lane] >> i & 1 and a[i] == a[lane])

    odd = "and.b32 t, {a}, 1;\nsetp.ne.u32 p, t, 0;\n"
    return [
        (Op("redux.add", "u32", ("u32", "u32"), None, "redux.sync.add.u32 {d}, {a}, {b};", 80),
         among(lambda values, *_: wrap(sum(values), 32))),
        (Op("redux.max", "u32", ("u32", "u32"), None, "redux.sync.max.u32 {d}, {a}, {b};", 80),
         among(lambda values, *_: max(values))),
        (Op("ballot", "b32", ("b32", "b32"), None, odd + "vote.sync.ballot.b32 {d}, p, {b};"), among(ballot)),
        (Op("all", "pred", ("b32", "b32"), None, odd + "vote.sync.all.pred {d}, p, {b};"),
         among(lambda values, *_: int(all(x & 1 for x in values)))),
        (Op("any", "pred", ("b32", "b32"), None, odd + "vote.sync.any.pred {d}, p, {b};"),
         among(lambda values, *_: int(any(x & 1 for x in values)))),
        (Op("match.any", "b32", ("b32", "b32"), None, "match.any.sync.b32 {d}, {a}, {b};"), among(same)),
    ]  # fmt: skip


@pytest.mark.parametrize("group", range(len(GROUPS)))
@pytest.mark.parametrize("arch", ARCHES)
def test_groups_of_lanes(arch, group):
    """Several groups of one warp at the same instruction, each by itself."""
    operands = np.zeros((3, 64), np.uint64)
    operands[0] = RNG.integers(0, 7, 64)
    operands[1] = np.resize(GROUPS[group], 64)
    warp_check(group_cases(), operands, arch)


SPECIALS = {
    "laneid": lambda lane: lane,
    "lanemask_eq": lambda lane: 1 << lane,
    "lanemask_lt": lambda lane: (1 << lane) - 1,
    "lanemask_le": lambda lane: (2 << lane) - 1,
    "lanemask_gt": lambda lane: wrap(-2 << lane, 32),
    "lanemask_ge": lambda lane: wrap(-1 << lane, 32),
    "ntid.x": lambda lane: 32,
    "ntid.y": lambda lane: 1,
    "nctaid.x": lambda lane: 2,
    "nctaid.y": lambda lane: 1,
    "ctaid.y": lambda lane: 0,
    "tid.x": lambda lane: lane,
    "tid.z": lambda lane: 0,
    "warpid": lambda lane: 0,
}


@pytest.mark.parametrize("arch", ARCHES)
def test_special_registers(arch):
    cases = [
        (Op(f"%{name}", "u32", (), None, f"mov.u32 {{d}}, %{name};"), lambda value=value: [value(i) for i in range(32)])
        for name, value in SPECIALS.items()
    ]
    warp_check(cases, np.zeros((3, 64), np.uint64), arch)


@pytest.mark.parametrize("arch", ARCHES)
def test_divergent_lanes_vote_apart(arch):
    """Lanes that branched apart see only each other until they meet again."""
    text = """
setp.lt.u32 p, lane, {c};
mov.u32 {d}, 0;
@p bra low_{n};
activemask.b32 t;
vote.sync.ballot.b32 u, 1, t;
add.u32 {d}, u, 0;
bra met_{n};
low_{n}:
activemask.b32 t;
popc.b32 u, t;
add.u32 {d}, u, 1000;
met_{n}:
bar.warp.sync -1;
"""
    cases = []
    for n, split in enumerate((1, 7, 16, 31)):
        body = text.replace("{c}", str(split)).replace("{n}", str(n))
        low, high = 1000 + split, wrap(FULL << split, 32)
        cases.append((Op(f"split at {split}", "u32", (), None, body),
                      lambda low=low, high=high, s=split: [low] * s + [high] * (32 - s)))  # fmt: skip
    warp_check(cases, np.zeros((3, 32), np.uint64), arch)


def test_every_shuffle_rule_is_total():
    """The oracle never reads outside the warp."""
    lanes = list(range(32))
    for mode, control, offset in itertools.product(("up", "down", "bfly", "idx"), (0, 0x1F, 0x181F), range(32)):
        taken, inside = shuffle(mode, lanes, [offset] * 32, control)
        assert all(0 <= lane < 32 for lane in taken)
        assert set(inside) <= {0, 1}
