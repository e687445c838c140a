"""Seeded bugs of every kind are found and named; the same kernels, repaired, give no finding."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from gpu_model import VirtualGPU
from gpu_model.check.findings import Finding, lane_ranges
from gpu_model.decode import decode
from gpu_model.errors import ExecutionError, LaunchError
from gpu_model.execute import Machine, execute
from gpu_model.launch import Launch, Segment
from gpu_model.program import Program
from gpu_model.sass import assemble
from tests.gpu_model.ptx.harness import assemble as ptxas
from workloads.matmul import matmul

_HEAD = """
.version 8.7
.target sm_{arch}
.address_size 64
.shared .align 128 .b8 sm[8192];
.visible .entry probe(.param .u64 source, .param .u64 result) .maxnreg 64
{{
.reg .b64 src, dst, wide, state, desc; .reg .b32 tid, lane, warp, v, w, x, own, next, sm_at; .reg .pred p, q;
.reg .f32 d0, d1, d2, d3;
ld.param.u64 src, [source]; ld.param.u64 dst, [result];
cvta.to.global.u64 src, src; cvta.to.global.u64 dst, dst;
mov.u32 tid, %tid.x; and.b32 lane, tid, 31; shr.u32 warp, tid, 5; mov.u32 sm_at, sm;
mul.wide.u32 wide, tid, 16;
shl.b32 own, tid, 4; add.u32 own, own, sm_at;
xor.b32 next, tid, 32; shl.b32 next, next, 4; add.u32 next, next, sm_at;
{body}
add.u64 dst, dst, wide;
st.global.u32 [dst], v;
ret;
}}
"""


def check_ptx(body: str, arch: str = "86", threads: int = 64, host_threads: int = 2) -> tuple[Finding, ...]:
    """Findings of a kernel of one block with `own` and `next` (the other warp's) 16-byte slots in shared memory."""
    program, _ = decode(ptxas(_HEAD.format(arch=arch, body=body), int(arch.rstrip("a"))))
    return check_program(program, threads, program.shared_bytes, host_threads)


def check_sass(listing: str, threads: int = 32, shared_bytes: int = 0, local_bytes: int = 64) -> tuple[Finding, ...]:
    """Findings of a listing whose R0 is the thread and R1 four times it."""
    prologue = "S2R R0, SR_TID.X\nIMAD.SHL.U32 R1, R0, 0x4, RZ"
    program = replace(assemble(f"{prologue}\n{listing}\nEXIT"), local_bytes=local_bytes)
    return check_program(program, threads, shared_bytes)


def check_program(program: Program, threads: int, shared_bytes: int, host_threads: int = 2) -> tuple[Finding, ...]:
    """Findings of two blocks of a kernel with two parameters."""
    source, result = np.arange(16384, dtype=np.uint32) + 1, np.zeros(16384, np.uint32)
    parameters = np.array([source.ctypes.data, result.ctypes.data], np.uint64).tobytes()
    segments = sorted(
        (Segment("source", source.ctypes.data, source.nbytes), Segment("result", result.ctypes.data, result.nbytes)),
        key=lambda segment: segment.address,
    )
    launch = Launch(program, (2, 1, 1), threads, shared_bytes, parameters, tuple(segments), (source, result))
    machine = Machine(launch, check=True, threads=host_threads)
    execute(machine)
    return machine.findings


def kinds(findings: tuple[Finding, ...]) -> list[str]:
    """Their kinds, in order."""
    return sorted({finding.kind for finding in findings})


RAW, WAR, WAW = (f"shared race, {pair}" for pair in ("read after write", "write after read", "write after write"))
UNWRITTEN, UNFENCED = "uninitialised shared read", "missing proxy fence"
LOCAL, INACTIVE = "uninitialised local read", "shuffle from an inactive lane"
APART, OUTSIDE = "lanes not converged", "lane outside its mask"
FENCE = "fence.proxy.async.shared::cta;"

# name, architecture, kernel with a hole {}, what fills it (the repair), and what is found without.
HOLES = [
    ("unwritten bytes", "86", "{} bar.sync 0; ld.shared.u32 v, [own];", "st.shared.u32 [own], tid;", [UNWRITTEN]),
    ("read of another warp's word", "86",
     "setp.lt.u32 p, tid, 32; @p st.shared.u32 [own], tid; {} mov.u32 v, 0; @!p ld.shared.u32 v, [next];",
     "bar.sync 0;", [RAW]),
    ("overwritten while the other warp reads", "86",
     "st.shared.u32 [own], tid; bar.sync 0; ld.shared.u32 v, [next]; {} st.shared.u32 [own], v;", "bar.sync 0;",
     [RAW, WAR]),
    ("two warps write one word", "86",
     "setp.lt.u32 p, tid, 1; setp.eq.u32 q, tid, 33; mov.u32 v, 0; @p st.shared.u32 [sm], tid; {} "
     "@q st.shared.u32 [sm], tid;", "bar.sync 0;", [WAW]),
    ("a plain read beside atomics", "86",
     "st.shared.u32 [own], 0; bar.sync 0; atom.shared.add.u32 w, [sm], 1; {} ld.shared.u32 v, [sm];", "bar.sync 0;",
     [WAR]),
    ("copies that nobody waits for", "80",
     "add.u64 src, src, wide; cp.async.ca.shared.global [own], [src], 16; cp.async.commit_group; {} bar.sync 0;"
     "ld.shared.u32 v, [next];", "cp.async.wait_group 0;", [RAW]),
    ("a wait that leaves one group too many", "80",
     "add.u64 src, src, wide; cp.async.ca.shared.global [own], [src], 16; cp.async.commit_group;"
     "cp.async.ca.shared.global [own+2048], [src], 16; cp.async.commit_group; cp.async.wait_group 1; {} bar.sync 0;"
     "ld.shared.u32 v, [next]; ld.shared.u32 w, [next+2048]; add.u32 v, v, w;", "cp.async.wait_group 0;", [RAW]),
    ("waited for, but not by the warp that copied", "80",
     "add.u64 src, src, wide; cp.async.ca.shared.global [own], [src], 16; cp.async.commit_group;"
     "cp.async.wait_group 0; {} ld.shared.u32 v, [next];", "bar.sync 0;", [RAW, WAR, UNWRITTEN]),
    ("a copy that its own warp does not wait for", "80",
     "add.u64 src, src, wide; cp.async.ca.shared.global [own], [src], 16; cp.async.commit_group; {}"
     "ld.shared.u32 v, [own];", "cp.async.wait_group 0;", [RAW]),
    ("a copy over what is still read", "80",
     "add.u64 src, src, wide; st.shared.u32 [own], tid; bar.sync 0; ld.shared.u32 v, [next]; {}"
     "cp.async.ca.shared.global [own], [src], 16; cp.async.commit_group; cp.async.wait_group 0; bar.sync 0;",
     "bar.sync 0;", [RAW, WAR]),
    ("a warp does not wait for the arrivals", "90",
     "setp.eq.u32 p, tid, 0; @p mbarrier.init.shared.b64 [sm+4096], 32; bar.sync 0;"
     "setp.lt.u32 p, tid, 32; mov.u32 v, 0; @p bra P; {} ld.shared.u32 v, [next]; bra E;"
     "P: st.shared.u32 [own], tid; mbarrier.arrive.shared.b64 state, [sm+4096]; E:",
     "W: mbarrier.try_wait.parity.shared.b64 q, [sm+4096], 0; @!q bra W;", [RAW]),
    ("copies that arrive at an mbarrier", "90",
     "setp.eq.u32 p, tid, 0; @p mbarrier.init.shared.b64 [sm+4096], 64; bar.sync 0; add.u64 src, src, wide;"
     "cp.async.ca.shared.global [own], [src], 16; cp.async.mbarrier.arrive.noinc.shared.b64 [sm+4096]; {}"
     "ld.shared.u32 v, [next];",
     "W: mbarrier.try_wait.parity.shared.b64 q, [sm+4096], 0; @!q bra W;", [RAW, WAR, UNWRITTEN]),
    ("a bulk copy that completes elsewhere", "90",
     "setp.eq.u32 p, tid, 0; mov.u32 v, 0; @p mbarrier.init.shared.b64 [sm+4096], 1;"
     "@p mbarrier.init.shared.b64 [sm+4104], 1; @p fence.proxy.async.shared::cta; bar.sync 0; @!p bra S;"
     "mbarrier.arrive.expect_tx.shared.b64 state, [sm+4096], 1024;"
     "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [sm], [src], 1024, [sm+4096];"
     "mbarrier.arrive.expect_tx.shared.b64 state, [sm+4104], 1024;"
     "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [sm+1024], [src], 1024, [sm+4104];"
     "S: W: mbarrier.try_wait.parity.shared.b64 q, [sm+4104], 0; @!q bra W; {} ld.shared.u32 v, [own];",
     "V: mbarrier.try_wait.parity.shared.b64 q, [sm+4096], 0; @!q bra V;", [RAW]),
    ("a bulk store of what was not fenced", "90",
     "st.shared.u32 [own], tid; st.shared.u32 [own+4], tid; st.shared.v2.u32 [own+8], {{tid, tid}}; {} bar.sync 0;"
     "setp.ne.u32 p, tid, 0; mov.u32 v, 0; @p bra S;"
     "cp.async.bulk.global.shared::cta.bulk_group [dst], [sm], 1024; cp.async.bulk.commit_group;"
     "cp.async.bulk.wait_group 0; S: bar.sync 0;", FENCE, [UNFENCED]),
    ("a bulk store still reads what is overwritten", "90",
     "st.shared.v4.u32 [own], {{tid, tid, tid, tid}}; fence.proxy.async.shared::cta; bar.sync 0;"
     "setp.ne.u32 p, tid, 0; mov.u32 v, 0; @p bra S;"
     "cp.async.bulk.global.shared::cta.bulk_group [dst], [sm], 1024; cp.async.bulk.commit_group;"
     "{} S: bar.sync 0; st.shared.u32 [own], lane;", "cp.async.bulk.wait_group.read 0;", [WAR]),
]  # fmt: skip


@pytest.mark.parametrize(("arch", "body", "repair", "expected"), [h[1:] for h in HOLES], ids=[h[0] for h in HOLES])
def test_a_seeded_bug_is_found_and_its_repair_is_clean(arch, body, repair, expected):
    assert kinds(check_ptx(body.format(""), arch)) == expected
    assert check_ptx(body.format(repair), arch) == ()


# The lower lanes write, the upper ones read it; what makes them meet is missing.
EXCHANGE = """
ISETP.GE.U32.AND P0, PT, R0, 0x10, PT
{begin}
@P0 BRA `(joined)
STS [R1], R0
joined:
{meet}
ISETP.LT.U32.AND P1, PT, R0, 0x10, PT
@P1 BRA `(end)
LDS R5, [R1+-0x40]
end:
NOP
"""

LISTINGS = [
    ("unwritten local bytes", "MOV R7, 0x10\n{}\nLDL R5, [R7]", "STL [R7], R0", [LOCAL]),
    ("local bytes half written", "MOV R7, 0x10\nSTL.U16 [R7], R0\n{}\nLDL R5, [R7]", "STL.U16 [R7+0x2], R0", [LOCAL]),
    ("some bytes of a vector unwritten", "IMAD.SHL.U32 R2, R0, 0x8, RZ\nSTS [R2], R0\n{}\nLDS.64 R4, [R2]",
     "STS [R2+0x4], R0", [UNWRITTEN]),
    ("lanes that meet by chance exchange words", EXCHANGE.format(begin="NOP", meet="{}"), "WARPSYNC 0xffffffff", [RAW]),
    ("lanes of one store disagree", "{}\nSTS [RZ], R0", "MOV R0, RZ", [WAW]),
    ("a shuffle from lanes that left",
     "ISETP.GE.U32.AND P0, PT, R0, 0x10, PT\n{}\n@P0 EXIT\nSHFL.BFLY PT, R2, R0, 0x10, 0x1f",
     "ISETP.GE.U32.AND P0, PT, R0, 0x20, PT", [INACTIVE]),
    ("lanes outside the mask of their barrier", "ISETP.LT.U32.AND P0, PT, R0, 0x10, PT\n{}\nWARPSYNC 0xffff",
     "@!P0 EXIT", [OUTSIDE]),
    ("a vote of lanes that meet by chance",
     "ISETP.LT.U32.AND P0, PT, R0, 0x10, PT\n@P0 BRA `(a)\nSTS [R1], R0\nBRA `(a)\na:\n{}\nVOTE.ANY R2, PT, P0",
     "WARPSYNC 0xffffffff", [APART]),
]  # fmt: skip


@pytest.mark.parametrize(("listing", "repair", "expected"), [h[1:] for h in LISTINGS], ids=[h[0] for h in LISTINGS])
def test_a_seeded_bug_within_a_warp_is_found_and_its_repair_is_clean(listing, repair, expected):
    assert kinds(check_sass(listing.format("NOP"), shared_bytes=512)) == expected
    assert check_sass(listing.format(repair), shared_bytes=512) == ()


def test_lanes_that_converge_by_bsync_are_ordered():
    assert check_sass(EXCHANGE.format(begin="BSSY B0, `(joined)", meet="BSYNC B0"), shared_bytes=512) == ()


def test_lanes_that_never_meet_are_named():
    """The lower lanes wait at a BSYNC for the upper ones, which wait at a WARPSYNC for them."""
    listing = "ISETP.GE.U32.AND P0, PT, R0, 0x10, PT\nBSSY B0, `(a)\n@P0 BRA `(a)\nBSYNC B0\na:\nWARPSYNC 0xffffffff"
    with pytest.raises(ExecutionError, match="deadlock .* warp 0 waits for lanes to converge"):
        check_sass(listing)


@pytest.mark.parametrize("value", ["lane", "tid"])
def test_warps_that_write_the_same_value_do_not_race(value):
    body = f"mul.lo.u32 x, lane, 4; add.u32 x, x, sm_at; st.shared.u32 [x], {value}; bar.sync 0; ld.shared.u32 v, [x];"
    assert kinds(check_ptx(body)) == ([] if value == "lane" else [WAW])


@pytest.mark.parametrize(("first", "second", "expected"), [(1, 1, []), (1, 2, [RAW])])
def test_named_barriers_order_only_those_who_meet_there(first, second, expected):
    """Warps 0 and 1 hand over to warps 2 and 3, once at one barrier and once each pair at its own."""
    threads = 128 if first == second else 64
    body = (
        "setp.lt.u32 p, tid, 64; mul.lo.u32 x, tid, 4; add.u32 x, x, sm_at; mov.u32 v, 0; @p bra P;"
        f"bar.sync {second}, {threads}; ld.shared.u32 v, [x+-256]; bra E;"
        f"P: st.shared.u32 [x], tid; bar.sync {first}, {threads}; E:"
    )
    assert kinds(check_ptx(body, threads=128)) == expected


# A of 64 x 16 and B of 8 x 16 halves: 128 bytes a core matrix, k-adjacent ones 128 bytes apart, the next 8 lines 256.
_DESCRIPTOR = (256 >> 4) << 32 | (128 >> 4) << 16
PRODUCT = f"""
shl.b32 x, tid, 5; add.u32 x, x, sm_at; mov.u32 v, 0;
st.shared.v4.u32 [x], {{{{v, v, v, v}}}}; st.shared.v4.u32 [x+16], {{{{v, v, v, v}}}};
{{fence}} bar.sync 0;
shr.u32 w, sm_at, 4; cvt.u64.u32 desc, w; or.b64 desc, desc, {_DESCRIPTOR:#x};
mov.f32 d0, 0f00000000; mov.f32 d1, d0; mov.f32 d2, d0; mov.f32 d3, d0;
wgmma.fence.sync.aligned;
wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {{{{d0, d1, d2, d3}}}}, desc, desc, 1, 1, 1, 0, 0;
wgmma.commit_group.sync.aligned;
{{wait}} bar.sync 0; st.shared.u32 [x], tid; bar.sync 0;
wgmma.wait_group.sync.aligned 0;
cvt.rzi.u32.f32 v, d0;
"""


def test_matrix_products_read_shared_memory_until_they_are_waited_for():
    parts = {"fence": FENCE, "wait": "wgmma.wait_group.sync.aligned 0;"}
    assert check_ptx(PRODUCT.format(**parts), "90a", 128) == ()
    assert kinds(check_ptx(PRODUCT.format(**parts | {"fence": ""}), "90a", 128)) == [UNFENCED]
    assert kinds(check_ptx(PRODUCT.format(**parts | {"wait": ""}), "90a", 128)) == [WAR]


def test_clusters_are_refused():
    program = replace(assemble("EXIT", arch=90), cluster=(2, 1, 1))
    with pytest.raises(LaunchError, match="runs in clusters of 2 blocks"):
        check_program(program, 32, 0)


def test_instructions_that_are_not_watched_run_as_they_do():
    assert check_ptx("setmaxnreg.dec.sync.aligned.u32 40; mov.u32 v, tid;", "90a", 128) == ()


def test_a_finding_names_both_parties():
    body = "setp.lt.u32 p, tid, 32; @p st.shared.u32 [own], tid; mov.u32 v, 0; @!p ld.shared.u32 v, [next];"
    (finding,) = check_ptx(body)
    assert (finding.kernel, finding.block, finding.warp, finding.lanes) == ("probe", (0, 0, 0), 1, tuple(range(32)))
    assert (finding.address, finding.size, finding.times) == (0, 4, 64)
    assert finding.place.text.startswith("@!P0 LDS") or finding.place.text.startswith("@P0 LDS")
    assert finding.other is not None
    assert "STS" in finding.other.text
    assert (finding.other_warp, finding.other_lane) == (0, 0)
    assert finding.as_dict()["other"]["instruction"] == finding.other.text
    assert f"warp 0, lane 0, PC {finding.other.pc:#06x}: {finding.other.text}; no barrier is between" in str(finding)


@triton.jit
def _tensor_product(a, b, c, depth, BLOCK: tl.constexpr):
    row, column = tl.program_id(0) * BLOCK, tl.program_id(1) * BLOCK
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for k in tl.range(0, depth, BLOCK, num_stages=3):
        total = tl.dot(a.load([row, k]), b.load([k, column]), total)
    c.store([row, column], total.to(tl.float16))


def _launch_of(gpu: str, run: Callable) -> tuple[Launch, tuple[Finding, ...]]:
    """What `run` launches, whole, and what the checks find in it as it is."""
    kept = []
    with VirtualGPU(gpu, check=True, on_launch=kept.append):
        run()
    return kept[-1].launch, kept[-1].findings


def _pointer_matmul() -> None:
    matmul(torch.randn(64, 160).half(), torch.randn(160, 64).half())


def _tensor_matmul() -> None:
    a, b, c = torch.randn(64, 320).half(), torch.randn(320, 64).half(), torch.empty(64, 64).half()
    a, b, c = (TensorDescriptor.from_tensor(tensor, [64, 64]) for tensor in (a, b, c))
    _tensor_product[(1, 1)](a, b, c, 320, 64, num_warps=4)


# GPU, what is run, opcodes of it that must be there, and for each kind of instruction taken out what is found then.
KERNELS = [
    ("rtx_a6000", _pointer_matmul, ("LDGSTS", "HMMA"), {"DEPBAR": [RAW], "BAR": [RAW, WAR]}),
    ("h100_sxm", _pointer_matmul, ("LDGSTS", "HGMMA"), {"DEPBAR": [RAW], "FENCE": [UNFENCED]}),
    ("h100_sxm", _tensor_matmul, ("UTMALDG", "HGMMA"), {"WARPGROUP": [WAR], "FENCE": [UNFENCED]}),
    ("rtx_5090", _tensor_matmul, ("UTMALDG", "HMMA"), {"FENCE": [UNFENCED]}),
]


@pytest.mark.parametrize(("gpu", "run", "opcodes", "without"), KERNELS)
def test_pipelined_products_are_clean_until_their_synchronisation_is_taken_out(gpu, run, opcodes, without):
    launch, found = _launch_of(gpu, run)
    assert found == ()
    assert set(opcodes) <= set(launch.program.rows["opcode"])
    for opcode, expected in without.items():
        rows = launch.program.rows.copy()
        rows["opcode"][rows["opcode"] == opcode] = "NOP"
        machine = Machine(replace(launch, program=replace(launch.program, rows=rows)), check=True)
        execute(machine)
        assert set(expected) <= set(kinds(machine.findings)), opcode
        # Triton's cache keeps the folder of whoever compiled a kernel first; only the file's name is sure.
        assert all(re.search(r"\b(test_check|matmul)\.py:\d+", f.place.line) for f in machine.findings)


def test_findings_do_not_depend_on_threads():
    body = "setp.lt.u32 p, tid, 32; @p st.shared.u32 [own], tid; mov.u32 v, 0; @!p ld.shared.u32 v, [next];"
    assert check_ptx(body, host_threads=1) == check_ptx(body, host_threads=2)


def test_lane_ranges():
    assert lane_ranges([3]) == "lane 3"
    assert lane_ranges([0, 1, 2, 7, 9, 10]) == "lanes 0-2, 7, 9-10"
