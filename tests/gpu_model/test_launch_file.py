"""Launch files: what they keep, and what they refuse."""

import dataclasses
import struct

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
import zstandard

from gpu_model import VirtualGPU
from gpu_model.errors import ExecutionError, LaunchFileError, MemoryFault
from gpu_model.execute import Machine, execute
from gpu_model.launch_file import LaunchWriter, Origin, read_launch
from gpu_model.recorder import LaunchRecorder
from gpu_model.sass import assemble
from tests.gpu_model.forge import Forged, join

SIMULATED = Origin(kind="simulated", gpu="rtx_a6000")


@triton.jit
def addresses(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Results depend on where the tensors lie."""
    index = tl.arange(0, BLOCK)
    value = tl.load(x_ptr + index, mask=index < n, other=0)
    tl.store(out_ptr + index, value + (x_ptr + index).to(tl.int64), mask=index < n)


@triton.jit
def through_pointers(pointers, out_ptr, BLOCK: tl.constexpr):
    """Reads tensors whose addresses are in a tensor."""
    index = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.int32)
    for i in range(2):
        total += tl.load(tl.load(pointers + i).to(tl.pointer_type(tl.int32)) + index)
    tl.store(out_ptr + index, total)


@triton.jit
def stray(x_ptr):
    tl.store(x_ptr, 7)
    tl.store(x_ptr + 1000, 1)


@triton.jit
def spins(x_ptr):
    while tl.atomic_add(x_ptr, 0) == 0:
        pass


def saved(tmp_path, work, gpu="rtx_a6000"):
    recorder = LaunchRecorder(tmp_path, SIMULATED)
    with VirtualGPU(gpu, recorder=recorder):
        work()
    return recorder.files


@pytest.fixture
def addresses_file(tmp_path):
    x, out = torch.arange(64), torch.zeros(64, dtype=torch.int64)
    (path,) = saved(tmp_path, lambda: addresses[(1,)](x, out, 50, BLOCK=64))
    assert out[3] == 3 + x.data_ptr() + 24
    return path


@pytest.fixture
def forged(addresses_file):
    return Forged.take_apart(addresses_file.read_bytes())


def test_what_a_file_keeps(addresses_file):
    stored = read_launch(addresses_file)
    assert (stored.resources.kernel, stored.resources.arch, stored.grid, stored.threads) == (
        "addresses", 86, (1, 1, 1), 128,
    )  # fmt: skip
    assert [(a.name, a.kind, a.size) for a in stored.arguments[:3]] == [
        ("x_ptr", "*i64", 8), ("out_ptr", "*i64", 8), ("n", "i32", 4),
    ]  # fmt: skip
    names = {segment.name: number for number, segment in enumerate(stored.segments)}
    x, out = names["x_ptr"], names["out_ptr"]
    assert (stored.segments[x].dtype, stored.segments[x].shape) == ("int64", (64,))
    assert np.array_equal(stored.before[x].view(np.int64), np.arange(64))
    assert not stored.before[out].any()
    expected = np.arange(64) + stored.segments[x].address + 8 * np.arange(64)
    expected[50:] = 0
    assert np.array_equal(stored.after[out].view(np.int64), expected)
    assert stored.origin == SIMULATED


def test_replays_do_not_depend_on_where_the_host_puts_things(addresses_file):
    stored = read_launch(addresses_file)
    runs = [stored.launch() for _ in range(2)]
    for launch in runs:
        execute(Machine(launch))
        for got, expected in zip(launch.memory(), stored.after, strict=True):
            assert np.array_equal(got, expected)
    assert all(a.host != b.host for a, b in zip(runs[0].segments, runs[1].segments, strict=True))


def test_pointers_inside_tensors_need_no_relocation(tmp_path):
    parts = torch.arange(2 * 32, dtype=torch.int32)
    pointers = torch.tensor([parts.data_ptr(), parts[32:].data_ptr()])
    out = torch.zeros(32, dtype=torch.int32)

    def work():
        with_parts = torch.as_strided(parts, (64,), (1,))
        # The kernel's segments are its arguments', so the pointers' targets ride along as the output's storage.
        both = torch.cat([with_parts, out])
        pointers.copy_(torch.tensor([both.data_ptr(), both[32:].data_ptr()]))
        through_pointers[(1,)](pointers, both[64:], BLOCK=32)
        out.copy_(both[64:])

    (path,) = saved(tmp_path, work)
    assert out.tolist() == [i + i + 32 for i in range(32)]
    stored = read_launch(path)
    launch = stored.launch()
    execute(Machine(launch))
    assert all(np.array_equal(got, after) for got, after in zip(launch.memory(), stored.after, strict=True))


def test_equal_and_zero_memory_is_cheap(tmp_path):
    x = torch.zeros(1 << 22, dtype=torch.int64)  # 32 MiB
    (path,) = saved(tmp_path, lambda: addresses[(1,)](x, torch.zeros(64, dtype=torch.int64), 50, BLOCK=64))
    assert path.stat().st_size < 40_000
    forged = Forged.take_apart(path.read_bytes())
    row = next(row for row in forged.header["segments"] if row["name"] == "x_ptr")
    assert row["before"] == row["after"]
    assert forged.header["sections"][row["before"]]["encoding"] == "zero"


def test_the_same_launch_gives_the_same_file(tmp_path):
    x, out = torch.arange(64), torch.zeros(64, dtype=torch.int64)
    files = []
    for name in "ab":
        recorder = LaunchRecorder(tmp_path / name, SIMULATED)
        with VirtualGPU("rtx_a6000", recorder=recorder):
            addresses[(1,)](x, out.zero_(), 50, BLOCK=64)
        header = Forged.take_apart(recorder.files[0].read_bytes()).header
        header.pop("parameter_address")
        header["segments"] = [row for row in header["segments"] if row["name"] != "the kernel's parameters"]
        files.append(header)
    assert files[0] == files[1]


def test_a_failed_launch_is_saved_without_outputs(tmp_path):
    recorder = LaunchRecorder(tmp_path, SIMULATED)
    with VirtualGPU("rtx_a6000", recorder=recorder), pytest.raises(MemoryFault):
        stray[(1,)](torch.zeros(4, dtype=torch.int32))
    stored = read_launch(recorder.files[0])
    assert stored.origin is None
    assert set(stored.after) == {None}
    with pytest.raises(MemoryFault, match="nearest tensor: x_ptr"):
        execute(Machine(stored.launch()))


def test_which_launches_are_saved(tmp_path):
    recorder = LaunchRecorder(tmp_path, SIMULATED, kernel="addr*", limit=2, max_bytes=3000)
    x, out = torch.arange(64), torch.zeros(64, dtype=torch.int64)
    with VirtualGPU("rtx_a6000", recorder=recorder):
        addresses[(1,)](torch.arange(1000), out, 50, BLOCK=64)
        through_pointers[(1,)](torch.full((2,), out.data_ptr()), out.view(torch.int32), BLOCK=32)
        for _ in range(3):
            addresses[(1,)](x, out, 50, BLOCK=64)
    assert [path.name for path in recorder.files] == ["0001-addresses.launch", "0002-addresses.launch"]
    assert len(recorder.skipped) == 1
    assert "addresses: " in recorder.skipped[0]
    assert "at most 3000 are saved" in recorder.skipped[0]
    again = LaunchRecorder(tmp_path, SIMULATED)
    with VirtualGPU("rtx_a6000", recorder=again):
        addresses[(1,)](x, out, 50, BLOCK=64)
    assert again.files[0].name == "0003-addresses.launch"


def test_an_endless_kernel_stops_at_its_limit(tmp_path):
    with VirtualGPU("rtx_a6000", max_instructions=10_000), pytest.raises(ExecutionError, match="more than the 10000"):
        spins[(1,)](torch.zeros(1, dtype=torch.int32))


def test_the_limit_counts_the_whole_launch():
    x, out = torch.arange(64), torch.zeros(64, dtype=torch.int64)
    with VirtualGPU("rtx_a6000") as gpu:
        addresses[(100,)](x, out, 50, BLOCK=64)
        needed = gpu.launches[0].instructions
    for allowed in (needed, needed - 1):
        with VirtualGPU("rtx_a6000", max_instructions=allowed) as gpu:
            if allowed == needed:
                addresses[(100,)](x, out, 50, BLOCK=64)
                continue
            with pytest.raises(ExecutionError, match=f"the {allowed} warp-instructions"):
                addresses[(100,)](x, out, 50, BLOCK=64)


def test_a_program_without_a_cubin_is_refused(addresses_file):
    launch = dataclasses.replace(read_launch(addresses_file).launch(), program=assemble("EXIT"), cubin=b"")
    with pytest.raises(LaunchFileError, match="without its cubin"):
        LaunchWriter(launch)


def refused(tmp_path, image: bytes, message: str, **limits):
    path = tmp_path / "forged.launch"
    path.write_bytes(image)
    with pytest.raises(LaunchFileError, match=message):
        read_launch(path, **limits)


def test_foreign_and_damaged_files_are_named(tmp_path, addresses_file, forged):
    image = addresses_file.read_bytes()
    for damaged, message in (
        (b"", "is not a launch file"),
        (b"\x7fELF" + bytes(100), "is not a launch file: it starts with"),
        (join(b"{}", [], version=2), "is of version 2, this warptree reads 1"),
        (image[:30], "is not a launch file"),
        (image[:100], "is truncated"),
        (image[:-1], "is truncated"),
        (image + b"x", "longer than it says"),
        (image[:60] + b"?" + image[61:], "header's checksum differs"),
        (image[:-9] + bytes([image[-9] ^ 1]) + image[-8:], "section . is damaged"),
        (struct.pack("<16sII16s", b"warptree launch\n", 1, 1 << 31, b""), "header of 2147483648 bytes"),
        (join(b"[" * 100_000, []), "header: "),
        (join(b"{}", []), "sections: Field required"),
        (join(b"\xff\xfe", []), "header: "),
    ):
        refused(tmp_path, damaged, message)
    assert Forged.take_apart(forged.join()).header == forged.header


def test_missing_files_and_pipes_do_not_hang(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "no.launch", "No such file"),
        (tmp_path, "not a regular file|Is a directory"),
        (tmp_path / "pipe", "not a regular file"),
    ):
        with pytest.raises(LaunchFileError, match=message):
            read_launch(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "extra: Extra inputs"),
        ({"kernel": "other"}, "its cubin is kernel addresses for sm_86, the header says other"),
        ({"arch": 90}, "the header says addresses for sm_90"),
        ({"grid": [1, 70000, 1]}, "grid y is 70000"),
        ({"grid": [1, 1]}, "grid"),
        ({"block": [128, 2, 1]}, "expected y and z to be 1"),
        ({"block": [0, 1, 1]}, "0 threads a block"),
        ({"block": ["128", 1, 1]}, "block.0: Input should be a valid integer"),
        ({"shared_bytes": 1 << 40}, "shared_bytes"),
        ({"cubin": 99}, "section 99 is named"),
        ({"cubin": -1}, "cubin: "),
        ({"parameters": 0}, "bytes of parameters, its cubin expects"),
        ({"segments": []}, "the copy of the parameters at 0x.* is outside its memory"),
        ({"global_address": 8}, "the kernel's own data at 0x8"),
        ({"parameter_address": 64}, "the copy of the parameters at 0x40"),
        ({"origin": None}, "need an origin"),
        ({"origin": {"kind": "guessed", "gpu": "x"}}, "origin.kind"),
    ],
)
def test_inconsistent_headers_are_named(tmp_path, forged, change, message):
    forged.header |= change
    refused(tmp_path, forged.join(), message)


def test_pointers_outside_the_memory_are_named(tmp_path, forged):
    for row in forged.header["segments"]:
        if row["name"] == "out_ptr":
            row["address"] += 1 << 50
    forged.header["segments"].sort(key=lambda row: row["address"])
    refused(tmp_path, forged.join(), "argument out_ptr points to 0x.*, which belongs to no tensor")


def test_overlapping_memory_is_named(tmp_path, forged):
    forged.header["segments"].append(forged.header["segments"][-1])
    refused(tmp_path, forged.join(), "segments must be in order, apart")


def test_outputs_of_another_size_are_named(tmp_path, forged):
    forged.header["segments"][0]["after"] = forged.header["cubin"]
    refused(tmp_path, forged.join(), "bytes after the launch, .* before")


def test_bombs_take_no_memory(tmp_path, forged):
    """Ten terabytes of zeros, claimed by the header, by a frame, and by a frame the header contradicts."""
    number = forged.header["segments"][0]["before"]
    original = forged.header["sections"][number]
    size = original["size"]
    zeros = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    huge = bytearray(zeros)
    assert zeros[4] >> 6 == 2  # the frame's content size takes four bytes
    forged.store(number, b"", encoding="zero", size=10 << 40)
    refused(tmp_path, forged.join(), "bytes of memory, at most 8589934592 are accepted")
    for data, message in (
        (zeros, f"a frame of {1 << 24} bytes .* expected {size} bytes"),
        (bytes(huge[:-5]), f"a frame of {1 << 24} bytes"),
        (b"not zstd", "does not decompress"),
        (b"", "does not decompress"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(bytes(size)), "a frame of"),
        (zstandard.ZstdCompressor().compress(bytes(size)) + b"more", "does not decompress"),
        (zstandard.ZstdCompressor().compress(bytes(size))[:-1], "does not decompress"),
    ):
        forged.store(number, data, encoding="zstd", size=size)
        refused(tmp_path, forged.join(), message)
    forged.store(number, b"x", encoding="zero", size=size)
    refused(tmp_path, forged.join(), "1 bytes stored for zeros")


def test_the_memory_of_a_file_is_bounded_by_the_reader(tmp_path, forged):
    refused(tmp_path, forged.join(), "at most 1000 are accepted.*--max-bytes", max_bytes=1000)


def test_many_segments_of_one_section_are_bounded(tmp_path, forged):
    forged.header["sections"].append(
        {"encoding": "zero", "size": 1 << 30, "stored": 0, "checksum": "cae66941d9efbd404e4d88758ea67670"}
    )
    forged.stored.append(b"")
    number = len(forged.header["sections"]) - 1
    forged.header["segments"] = [
        {"name": "x", "address": (i + 1) << 32, "dtype": "", "shape": [], "before": number, "after": None}
        for i in range(100)
    ]
    forged.header["origin"] = None
    refused(tmp_path, forged.join(), f"{100 << 30} bytes of memory")
