"""Accel-Sim text traces: the format as its tracer writes it, the way there and back, and files one should not trust.

The lines of `SHOWN` are those of MGPUSim's reader test of the format and of Accel-Sim's own tracer documentation.
"""

import lzma
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_model import VirtualGPU
from gpu_model.accelsim.addresses import MAX_ADDRESS, NO_ADDRESS, read_addresses, write_addresses
from gpu_model.accelsim.read import KernelTrace, kernel_files
from gpu_model.accelsim.replay import time_traces
from gpu_model.accelsim.write import AccelSimWriter
from gpu_model.errors import GpuError, TraceFormatError, UnsupportedInstruction
from gpu_model.launch import Launch
from gpu_model.sass import assemble
from gpu_model.timing import issue_cycles
from hw.gpu_spec import load_gpu
from workloads.matmul import matmul
from workloads.softmax import softmax

FULL = 0xFFFFFFFF
HEADER = """-kernel name = shown
-kernel id = 1
-grid dim = (2,1,1)
-block dim = (64,1,1)
-shmem = 0
-nregs = 32
-binary version = 86
-cuda stream id = 0
-shmem base_addr = 0x00007f0000000000
-local mem base_addr = 0x00007f1000000000
-nvbit version = 1.5.5
-accelsim tracer version = 5
-enable lineinfo = 0

#traces format = [line_num] PC mask dest_num [reg_dests] opcode src_num [reg_srcs] mem_width [mode] [mem_addresses] imm
"""
SHOWN = """0000 ffffffff 1 R1 IMAD.MOV.U32 2 R255 R255 0
0010 ffffffff 1 R6 S2R 0 0
0020 ffffffff 1 R3 S2R 0 0
0030 ffffffff 1 R6 IMAD 2 R6 R3 0
0040 ffffffff 0 ISETP.GE.AND 1 R6 0
0050 00000000 0 EXIT 0 0
0060 ffffffff 1 R4 IADD3 2 R6 R255 0
0070 ffffffff 0 ULDC.64 0 0
0080 ffffffff 1 R5 LEA.HI.X.SX32 1 R6 0
0090 ffffffff 1 R0 LDG.E.U8 1 R4 1 1 0x7fc841520200 1
00a0 ffffffff 0 ISETP.NE.AND 2 R0 R255 0
00b0 ffffffff 0 SHFL.IDX 4 R7 R0 R255 R255 0
00c0 ffffffff 1 R24 LDG.E.128.CONSTANT.SYS 1 R4 16 2 0x7efe7b60c300 16 16 16 2000 16 16 16 976 16 16 16 2000 \
16 16 16 6096 16 16 16 4048 16 16 16 3024 16 16 16 976 16 16 16
00d0 ffffffff 0 EXIT 0 0"""


def block(number: int, warps: list[str]) -> str:
    parts = [f"\n#BEGIN_TB\n\nthread block = {number},0,0\n"]
    for warp, lines in enumerate(warps):
        parts.append(f"\nwarp = {warp}\ninsts = {len(lines.splitlines())}\n{lines}\n")
    return "".join([*parts, "\n#END_TB\n"])


def folder_of(folder: Path, text: str, name: str = "kernel-1.traceg") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "kernelslist.g").write_text(f"MemcpyHtoD,0x00007fc841520200,64\n{name}\n")
    (folder / name).write_text(text)
    return folder


def shown(lines: str = SHOWN, header: str = HEADER) -> str:
    return header + block(0, [lines] * 2) + block(1, [lines] * 2)


def timed(folder: Path, text: str, **overrides):
    (result,) = time_traces(folder_of(folder, text), load_gpu("rtx_a6000", overrides))
    return result


@given(
    mask=st.integers(0, FULL),
    first=st.integers(0, MAX_ADDRESS // 2),
    steps=st.one_of(st.integers(0, 64).map(lambda step: [step] * 32), st.lists(st.integers(-9, 99), min_size=32)),
    compress=st.booleans(),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_addresses_survive_every_mode(mask, first, steps, compress):
    lanes = [first + 10_000 + sum(steps[:i]) for i in range(32)]
    text = write_addresses(lanes, mask, compress=compress)
    got, taken = read_addresses([*text.split(), "7"], mask)
    assert taken == len(text.split())
    assert got == [lanes[i] if mask >> i & 1 else NO_ADDRESS for i in range(32)]


def test_modes_are_written_as_the_tracer_does():
    lanes = [0x7FC841520200 + lane for lane in range(32)]
    assert write_addresses(lanes, FULL) == "1 0x7fc841520200 1"
    assert write_addresses(lanes, 0b1011) == "2 0x7fc841520200 1 2"  # not one run of lanes
    assert write_addresses(lanes, 0b100) == "2 0x7fc841520202"  # one lane has no stride
    assert write_addresses(lanes, 0) == "1 0x0 0"
    assert write_addresses(lanes, 0b11, compress=False) == "0 0x00007fc841520200 0x00007fc841520201"


def test_shown_lines_are_read(tmp_path):
    kernel = KernelTrace(folder_of(tmp_path, shown()) / "kernel-1.traceg")
    traces = list(kernel.blocks())
    assert (kernel.header.grid, kernel.header.threads, kernel.header.arch) == ((2, 1, 1), 64, 86)
    assert [trace.block for trace in traces] == [0, 1]
    first = traces[0]
    assert first.start.tolist() == [0, 14, 28]
    assert first.row[:14].tolist() == list(range(14))
    assert first.mask[5] == 0
    assert first.access[:14].tolist() == [-1] * 9 + [0, -1, -1, 1, -1]
    assert first.address[0].tolist() == [0x7FC841520200 + lane for lane in range(32)]
    assert first.address[1][:5].tolist() == [0x7EFE7B60C300 + offset for offset in (0, 16, 32, 48, 2048)]
    assert kernel.instructions[12].sources == (4,)


def test_a_trace_without_its_binary_waits_for_the_registers_it_names(tmp_path):
    # Two warps on two sub-cores, a chain of FFMA with a load at its end; the same code by hand, under a scoreboard.
    code = ["FFMA R4, R4, R5, R6"] * 20 + ["LDS R8, [R4]", "FADD R9, R8, R8", "EXIT"]
    pc = [f"{16 * i:04x} ffffffff" for i in range(len(code))]
    lines = [f"{at} 1 R4 FFMA 3 R4 R5 R6 0 0" for at in pc[:20]]
    lines += [f"{pc[20]} 1 R8 LDS 1 R4 4 1 0x0 4 0", f"{pc[21]} 1 R9 FADD 2 R8 R8 0 0", f"{pc[22]} 0 EXIT 0 0 0"]
    header = HEADER.replace("(2,1,1)", "(1,1,1)")
    warm = {"core.icache.perfect": True, "core.constant.perfect": True}
    result = timed(tmp_path, header + block(0, ["\n".join(lines)] * 2), **warm)
    spec = load_gpu("rtx_a6000", warm | {"core.dependence.mechanism": "scoreboard"})
    record = issue_cycles(assemble("\n".join(code)), spec, warps=2)
    assert result.dependences == "scoreboard"
    assert result.timing.cycles == max(int(cycles[-1]) for cycles in record.cycle) + 1
    assert result.timing.cycles > 20 * 4 + 24  # four cycles an FFMA, and what a shared load takes


def test_copies_and_their_groups_are_waited_for(tmp_path):
    copy = "0000 ffffffff 0 LDGSTS.E.BYPASS.128 2 R6 R8 16 1 0x100 16 0\n0000 ffffffff 0 LDGSTS.E.BYPASS.128 2 R6 R8"
    wait = "0020 ffffffff 0 DEPBAR.LE 0 0 0\n0030 ffffffff 0 BAR.SYNC 0 0 0\n0040 ffffffff 0 EXIT 0 0 0"
    lines = f"{copy} 16 1 0x200000 16 0\n0010 ffffffff 0 LDGDEPBAR 0 0 0\n{wait}"
    kernel = KernelTrace(folder_of(tmp_path, shown(lines)) / "kernel-1.traceg")
    trace = next(kernel.blocks())
    assert trace.row[:5].tolist() == [0, 1, 2, 3, 4]
    assert (trace.address[0][1], trace.address[1][1]) == (0x200010, 0x110)  # global, then shared
    (result,) = time_traces(tmp_path, load_gpu("rtx_a6000"))
    assert result.timing.cycles > 218 + 300  # a miss in L2
    assert result.timing.traffic_bytes["dram_read"] == 512


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with traces of two kernels, LDGSTS, HMMA, barriers and reductions in them; and their times."""
    folder = tmp_path_factory.mktemp("traces") / "new"
    random = torch.Generator().manual_seed(0)
    with VirtualGPU("rtx_a6000", timing=True, traces=AccelSimWriter(folder)) as gpu:
        softmax(torch.randn((40, 300), generator=random))
        matmul(*(torch.randn((64, 64), generator=random).half() for _ in range(2)))
    return folder, [launch.timing for launch in gpu.launches]


def test_there_and_back_with_the_cubin_is_exact(exported):
    folder, timings = exported
    assert [path.name for path in kernel_files(folder)] == ["kernel-1.traceg", "kernel-2.traceg"]
    for timing, back in zip(timings, time_traces(folder, load_gpu("rtx_a6000")), strict=True):
        assert back.dependences == "control bits"
        assert back.timing.kernel == timing.kernel
        assert back.timing.cycles == timing.cycles
        assert back.timing.traffic_bytes == timing.traffic_bytes
        assert (back.timing.stalled == timing.stalled).all()
        assert (back.timing.counts == timing.counts).all()


def test_there_and_back_without_the_cubin_issues_the_same(exported, tmp_path):
    folder, timings = exported
    for path in folder.iterdir():
        if path.suffix != ".cubin":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    for timing, back in zip(timings, time_traces(tmp_path, load_gpu("rtx_a6000")), strict=True):
        assert back.dependences == "scoreboard"
        assert (back.timing.issued == timing.issued[: len(back.timing.issued)]).all()
        assert back.timing.traffic_bytes["l1_read"] == timing.traffic_bytes["l1_read"]
        assert back.timing.traffic_bytes["shared_write"] == timing.traffic_bytes["shared_write"]
        assert back.timing.cycles == pytest.approx(timing.cycles, rel=0.15)  # predicates wait for nothing


def test_compressed_files_are_read(exported, tmp_path):
    folder, timings = exported
    packed = lzma.compress((folder / "kernel-1.traceg").read_bytes())
    (tmp_path / "kernel-1.traceg.xz").write_bytes(packed)
    (tmp_path / "kernel-1.cubin").write_bytes((folder / "kernel-1.cubin").read_bytes())
    (tmp_path / "kernelslist.g").write_text("kernel-1.traceg.xz\n")
    (back,) = time_traces(tmp_path, load_gpu("rtx_a6000"))
    assert back.timing.cycles == timings[0].cycles
    (tmp_path / "kernel-1.traceg.xz").write_bytes(packed[:-200])
    with pytest.raises(TraceFormatError, match=r"kernel-1\.traceg\.xz, line \d+"):
        list(time_traces(tmp_path, load_gpu("rtx_a6000")))


def test_a_cubin_of_other_code_is_refused(exported, tmp_path):
    folder, _ = exported
    text = (folder / "kernel-1.traceg").read_text()
    (tmp_path / "kernel-1.cubin").write_bytes((folder / "kernel-1.cubin").read_bytes())
    with pytest.raises(TraceFormatError, match=r"got NOP, expected EXIT, which the cubin has at PC 0x"):
        timed(tmp_path, text.replace("EXIT", "NOP"))
    (tmp_path / "kernel-1.cubin").write_bytes((folder / "kernel-2.cubin").read_bytes())
    with pytest.raises(TraceFormatError, match="take the cubin away"):
        timed(tmp_path, text)


def test_a_trace_of_another_architecture_is_refused(tmp_path):
    with pytest.raises(UnsupportedInstruction, match="is a trace of sm_70 code, rtx_a6000 is sm_86"):
        timed(tmp_path, shown(header=HEADER.replace("version = 86", "version = 70")))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(2,1,1)", "(0,1,1)", r"kernel-1\.traceg, line \d+: got '-grid dim = \(0,1,1\)', expected \(x,y,z\)"),
        ("(64,1,1)", "(64,64,1)", "together at most 1024"),
        ("-nregs = 32", "-nregs = many", "got '-nregs = many', expected a number from 0 to 255"),
        ("-shmem = 0", "shmem = 0", r"line 5: got 'shmem = 0', expected -field = value"),
        ("#BEGIN_TB", "#BEGIN", "line 17: got '#BEGIN', expected #BEGIN_TB"),
        ("block = 1,0,0", "block = 2,0,0", r"got 'thread block = 2,0,0', expected .* inside the grid of 2,1,1"),
        ("block = 1,0,0", "block = 0,0,0", "got 'block 0', expected each block once"),
        ("warp = 1", "warp = 2", "got 'warp = 2', expected warp = 1: a block of 64 threads has 2 warps"),
        ("insts = 14", "insts = 0", "got 'insts = 0', expected .* at least its EXIT"),
        ("insts = 14", "insts = 13", r"got '00d0 .*', expected warp = 1"),
        ("insts = 14", "insts = 15", "got 'warp = 1', expected PC mask"),
        ("0010 ffff", "0018 ffff", "PC 0x18, legal are multiples of 16"),
        ("0010 ffff", "0010 fffff", "mask 0xfffffffff of more than 32 lanes"),
        ("R24 LDG", "Q24 LDG", "register 'Q24', legal R0 to R255"),
        ("4 R7 R0", "40 R7 R0", "40 registers, legal 0 to 7"),
        ("1 R6 S2R 0 0", "1 R6 S2R", "got '0010 ffffffff 1 R6 S2R', expected PC mask"),
        ("16 2 0x7efe7b60c300", "16 3 0x7efe7b60c300", "address mode 3, known are 0, 1 and 2"),
        ("1 1 0x7fc841520200 1", "1 1 0x7fffc841520200 1", "legal 0 to 0x1ffffffffffff"),
        ("1 1 0x7fc841520200 1", "0", "LDG without addresses"),
        ("1 R4 IADD3", "1 R4 iadd3", "opcode 'iadd3'"),
        ("S2R 0 0\n0030", "S2R 0 0 1 2\n0030", "at most an immediate"),
        ("0020 ffffffff 1 R3 S2R", "0010 ffffffff 1 R3 FADD", r"PC 0x10 was S2R at kernel-1\.traceg, line 24"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, message):
    text = shown()
    assert old in text
    with pytest.raises(TraceFormatError, match=message):
        timed(tmp_path, text.replace(old, new, 1))


def test_a_trace_that_ends_early_is_refused(tmp_path):
    with pytest.raises(TraceFormatError, match="got 'the end after 1 blocks', expected the 2 of the grid"):
        timed(tmp_path, HEADER + block(0, [SHOWN] * 2))
    with pytest.raises(TraceFormatError, match="got 'the end of the file', expected #END_TB"):
        timed(tmp_path, shown()[: -len("\n#END_TB\n")])


def test_a_barrier_that_counts_threads_is_not_guessed(tmp_path):
    with pytest.raises(TraceFormatError, match=r"line \d+: got BAR\.SYNC for 128 threads .*kernel-N\.cubin"):
        timed(tmp_path, shown(SHOWN.replace("0 EXIT 0 0", "0 BAR.SYNC 0 0 128")))


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ("../kernel-1.traceg\n", "expected MemcpyHtoD,<address>,<bytes> or the name of a kernel's trace"),
        ("kernel-9.traceg\n", r"kernelslist\.g, line 1: got 'kernel-9\.traceg', expected a file that is there"),
        ("MemcpyHtoD,here,64\n", "expected MemcpyHtoD,<hexadecimal address>,<bytes>"),
        ("\n", "names no kernel"),
    ],
)
def test_a_bad_list_is_refused(tmp_path, listing, message):
    folder = folder_of(tmp_path, shown())
    (folder / "kernelslist.g").write_text(listing)
    with pytest.raises(TraceFormatError, match=message):
        kernel_files(folder)


@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_damaged_files_are_read_or_refused(data, tmp_path_factory):
    text = shown()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        cut = data.draw(st.integers(0, 20))
        put = data.draw(st.one_of(st.sampled_from(["", "-1", "0x", "\n", "R", " 1", "9" * 30]), st.text(max_size=4)))
        text = text[:at] + put + text[at + cut :]
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "kernelslist.g").write_text("kernel-1.traceg\n")
    (folder / "kernel-1.traceg").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        (result,) = time_traces(folder, load_gpu("rtx_a6000", {"sm_count": 2}))
    except GpuError:
        return
    assert result.timing.cycles > 0


def test_what_the_format_has_no_place_for_is_not_written(tmp_path):
    code = "SYNCS.ARRIVE.TRANS64.A1T0 RZ, [UR4], RZ\nEXIT"
    launch = Launch(assemble(code, arch=90, name="async"), (1, 1, 1), 32, 0, b"", ())
    writer = AccelSimWriter(tmp_path / "out")
    with pytest.raises(TraceFormatError, match=r"kernel async, PC 0x0000: 'SYNCS.*no place for"):
        list(writer.recording(launch, [], iter(())))
    (tmp_path / "out" / "kernelslist.g").write_text("")
    with pytest.raises(TraceFormatError, match="holds traces already"):
        AccelSimWriter(tmp_path / "out")
    with pytest.raises(ValueError, match="give timing=True"):
        VirtualGPU("rtx_a6000", traces=writer)
