"""Every configured GPU reaches the peak rates of its spec within 3 %, and never exceeds them.

The specs themselves are held against data sheets and measurements in `tests/hw/test_gpu_spec.py`.
"""

import numpy as np
import pytest

from gpu_model.core.lower import lower
from gpu_model.sass import assemble
from gpu_model.timing import Timing, time_launch
from gpu_model.trace import BlockTrace
from hw.gpu_spec import GpuSpec, gpu_names, load_gpu

WARM = {"core.icache.perfect": True, "core.constant.perfect": True}
TOLERANCE = 0.97
WARPS = 16


def run(
    gpu: str, listing: str, *, blocks: int, repeats: int, region: int = 1 << 40, **overrides
) -> tuple[Timing, GpuSpec]:
    """Time blocks whose warps run a listing over and over; loads stride through `region` bytes, all together."""
    spec = load_gpu(gpu, WARM | overrides)
    program = assemble(f"{listing}\nEXIT", arch=spec.arch)
    table = lower(program, spec)
    width = max(1, int(table["width"].max()))
    body = np.arange(len(program) - 1)
    rows = np.tile(np.append(np.tile(body, repeats), len(body)), WARPS)
    touches = np.isin(table["space"][rows], (1, 2))
    count = int(touches.sum())
    access = np.where(touches, np.cumsum(touches) - 1, -1).astype(np.int32)

    def trace(index: int) -> BlockTrace:
        # A grid-stride loop: neighbouring warps read neighbouring memory.
        warp, step = np.divmod(np.arange(count), max(1, count // WARPS))
        piece = ((step * blocks + index) * WARPS + warp) * 32 * width % region
        start = np.arange(WARPS + 1) * (len(rows) // WARPS)
        mask = np.full(len(rows), 2**32 - 1, np.uint32)
        return BlockTrace(index, start, rows.astype(np.uint32), mask, access, piece[:, None] + width * np.arange(32))

    traces = (trace(index) for index in range(blocks))
    return time_launch(program, traces, spec, grid=(blocks, 1, 1), block_threads=32 * WARPS, shared_bytes=0), spec


def loads(opcode: str, address: str, count: int = 8) -> str:
    lines = [f"[B------:R-:W0:-:S01] {opcode} R{20 + 4 * i}, {address}" for i in range(count)]
    return "\n".join([*lines, "[B0-----:R-:W-:-:S01] NOP"])


@pytest.mark.parametrize("gpu", gpu_names())
def test_ffma(gpu):
    listing = "\n".join(f"FFMA R{20 + i % 64}, R8.reuse, R11.reuse, R{20 + i % 64}" for i in range(256))
    timing, spec = run(gpu, listing, blocks=1, repeats=20, sm_count=1)
    core = spec.core
    each = 1 / core.units["fp32"].interval + (1 / core.units["alu"].interval if core.fp32_on_alu else 0)
    peak = core.sub_cores * min(1, each)
    assert TOLERANCE * peak < timing.issued[:-1].sum() / timing.cycles <= peak * 1.001


# Operations of an instruction; rate against fp16 with an FP16 accumulator; True where GeForce halves it for FP32.
PRODUCTS = [
    ("HMMA.16816.F16", 4096, 1, False),
    ("HMMA.16816.F32", 4096, 1, True),
    ("HMMA.16816.F32.BF16", 4096, 1, True),
    ("HMMA.1688.F32.TF32", 2048, 0.5, True),
    ("IMMA.16832.S8.S8", 8192, 2, False),
]


@pytest.mark.parametrize("gpu", gpu_names())
@pytest.mark.parametrize(("opcode", "operations", "rate", "halved"), PRODUCTS)
def test_tensor_products(gpu, opcode, operations, rate, halved):
    spec = load_gpu(gpu)
    if spec.arch < 80:
        pytest.skip("these shapes came with sm_80")
    lines = [f"[B------:R-:W-:-:S02] {opcode} R{20 + 4 * i}, R8.reuse, R12.reuse, R{20 + 4 * i}" for i in range(8)]
    timing, spec = run(gpu, "\n".join(lines), blocks=1, repeats=60, sm_count=1)
    tensor = spec.core.tensor
    peak = tensor.flops_per_cycle * rate * (tensor.fp32_accumulate_rate if halved else 1) * spec.core.sub_cores
    interval = operations * spec.core.sub_cores / peak
    count = timing.issued[:-1].sum()
    # The last product of a sub-core is still at work when its warp ends.
    assert count * operations / (timing.cycles + interval) <= peak
    assert count * operations / timing.cycles > TOLERANCE * peak


# Operations a second of data sheets, dense, and the clock they assume; 132 SMs.
WARPGROUP_PRODUCTS = [
    ("HGMMA.64x256x16.F32", 16, 989.4e12),
    ("HGMMA.64x256x16.F32.BF16", 16, 989.4e12),
    ("HGMMA.64x128x8.F32.TF32", 8, 494.7e12),
    ("QGMMA.64x256x32.F32.E4M3.E4M3", 32, 1978.9e12),
    ("IGMMA.64x256x32.S8.S8", 32, 1978.9e12),
]


@pytest.mark.parametrize("gpu", ["h100_sxm", "h200"])
@pytest.mark.parametrize(("opcode", "depth", "per_second"), WARPGROUP_PRODUCTS)
def test_warpgroup_products(gpu, opcode, depth, per_second):
    columns = int(opcode.split("x")[1])
    product = f"[B------:R-:W-:-:S03] {opcode} R24, gdesc[UR4], R24"
    listing = "\n".join([*[product] * 7, f"{product}, gsb0", "[B------:R-:W-:-:S02] WARPGROUP.DEPBAR.LE gsb0, 0x0"])
    timing, _ = run(gpu, listing, blocks=1, repeats=6, sm_count=1)
    operations = int(timing.issued[:8].sum()) / 4 * 2 * 64 * columns * depth
    peak = per_second / 132 / 1830e6
    assert TOLERANCE * peak < operations / timing.cycles <= peak * 1.0001


@pytest.mark.parametrize("gpu", gpu_names())
def test_shared_memory(gpu):
    timing, spec = run(gpu, loads("LDS.128", "[R2]"), blocks=1, repeats=40, region=32768, sm_count=1)
    banks = 128  # bytes a cycle: 32 banks of four (CUDA C++ programming guide)
    assert timing.traffic_bytes["shared_read"] == WARPS * 40 * 8 * 512
    assert TOLERANCE * banks < timing.traffic_bytes["shared_read"] / timing.cycles <= banks


@pytest.mark.parametrize("gpu", gpu_names())
def test_l2(gpu):
    spec = load_gpu(gpu)
    listing = loads("LDG.E.128.STRONG.GPU", "[R2.64]")
    blocks = spec.sm_count * 2
    timing, spec = run(gpu, listing, blocks=blocks, repeats=16, region=blocks * WARPS * 512)
    reached, peak = timing.traffic_bytes["l2_read"] / timing.cycles, spec.memory.l2_bytes_per_cycle
    assert TOLERANCE * peak < reached <= peak


@pytest.mark.parametrize("gpu", gpu_names())
def test_dram(gpu):
    spec = load_gpu(gpu)
    peak = spec.memory.dram_bytes_per_cycle
    blocks = spec.sm_count * 3
    repeats = int(60_000 * peak / (blocks * WARPS * 8 * 512)) + 1  # about 60,000 cycles
    timing, spec = run(gpu, loads("LDG.E.128", "[R2.64]"), blocks=blocks, repeats=repeats)
    reached = timing.traffic_bytes["dram_read"] / timing.cycles
    assert timing.traffic_bytes["dram_read"] == blocks * WARPS * repeats * 8 * 512
    assert TOLERANCE * peak < reached <= peak


# Dense operations a second of NVIDIA's data sheets and architecture white papers in 10^12, and the clock in MHz they
# assume: FP32; products of fp16 with FP16 and FP32 sums, of 8 bits with FP16 and FP32 sums, of int8, of scaled FP4.
DATA_SHEETS = {
    "rtx_2080ti": (1545, {"ffma": 13.45, "fp16": 107.6, "fp16 to fp32": 53.8}),
    "rtx_3080": (1710, {"ffma": 29.77, "fp16": 119.0, "fp16 to fp32": 59.5, "int8": 238.0}),
    "rtx_3090": (1695, {"ffma": 35.58, "fp16": 142.3, "fp16 to fp32": 71.2, "int8": 284.7}),
    "rtx_a6000": (1800, {"ffma": 38.7, "fp16": 154.8, "fp16 to fp32": 154.8, "int8": 309.7}),
    "a100_sxm": (1410, {"ffma": 19.5, "fp16": 312.0, "fp16 to fp32": 312.0, "int8": 624.0, "tf32": 156.0}),
    "rtx_4090": (
        2520,
        {"ffma": 82.6, "fp16": 330.3, "fp16 to fp32": 165.2, "fp8": 660.6, "fp8 to fp32": 330.3, "int8": 660.6},
    ),
    "h100_sxm": (1830, {"ffma": 61.8, "fp16": 989.4, "fp16 to fp32": 989.4, "int8": 1978.9, "tf32": 494.7}),
    "h200": (1830, {"ffma": 61.8, "fp16": 989.4, "fp16 to fp32": 989.4, "int8": 1978.9, "tf32": 494.7}),
    "rtx_5090": (
        2407,
        {
            "ffma": 104.8, "fp16": 419.0, "fp16 to fp32": 209.5, "fp8": 838.0, "fp8 to fp32": 419.0, "int8": 838.0,
            "fp4": 1676.0, "scaled fp8": 838.0,
        },
    ),
    "rtx_5070_ti": (
        2452,
        {"ffma": 43.9, "fp16": 175.8, "fp16 to fp32": 87.9, "fp8": 351.5, "int8": 351.5, "fp4": 703.0},
    ),
}  # fmt: skip
# Instruction and operations; the shapes of Turing are its own.
INSTRUCTIONS = {
    "fp16": ("HMMA.16816.F16", 4096),
    "fp16 to fp32": ("HMMA.16816.F32", 4096),
    "fp8": ("QMMA.16832.F16.E4M3.E4M3", 8192),
    "fp8 to fp32": ("QMMA.16832.F32.E4M3.E4M3", 8192),
    "scaled fp8": ("QMMA.SF.16832.F32.E4M3.E4M3.E8", 8192),
    "int8": ("IMMA.16832.S8.S8", 8192),
    "tf32": ("HMMA.1688.F32.TF32", 2048),
    "fp4": ("OMMA.SF.16864.F32.E2M1.E2M1.E8", 16384),
}
TURING = {"fp16": ("HMMA.1688.F16", 2048), "fp16 to fp32": ("HMMA.1688.F32", 2048)}
CELLS = [(gpu, kind) for gpu, (_, peaks) in DATA_SHEETS.items() for kind in peaks]


def test_every_gpu_has_its_data_sheet():
    assert sorted(DATA_SHEETS) == gpu_names()


@pytest.mark.parametrize(("gpu", "kind"), CELLS)
def test_the_data_sheets_peak_is_reached_and_not_exceeded(gpu, kind):
    clock, peaks = DATA_SHEETS[gpu]
    spec = load_gpu(gpu)
    peak = peaks[kind] * 1e6 / clock / spec.sm_count  # operations a cycle and SM
    if kind == "ffma":
        listing = "\n".join(f"FFMA R{20 + i % 64}, R8.reuse, R11.reuse, R{20 + i % 64}" for i in range(256))
        timing, _ = run(gpu, listing, blocks=1, repeats=20, sm_count=1)
        operations, tail = 2 * 32, 0.0
    else:
        opcode, operations = (TURING if spec.arch == 75 else INSTRUCTIONS)[kind]
        lines = [f"[B------:R-:W-:-:S02] {opcode} R{20 + 4 * i}, R8.reuse, R12.reuse, R{20 + 4 * i}" for i in range(8)]
        timing, _ = run(gpu, "\n".join(lines), blocks=1, repeats=60, sm_count=1)
        tail = operations * spec.core.sub_cores / peak  # the last products are at work when their warps end
    done = timing.issued[:-1].sum() * operations
    assert TOLERANCE * peak < done / timing.cycles
    assert done / (timing.cycles + tail) <= peak * 1.005  # data sheets round


# Peak of the memory's pins in GB/s (data sheets).
PINS = {
    "rtx_2080ti": 616, "rtx_3080": 760, "rtx_3090": 936, "rtx_a6000": 768, "a100_sxm": 2039, "rtx_4090": 1008,
    "h100_sxm": 3350, "h200": 4810, "rtx_5090": 1792, "rtx_5070_ti": 896,
}  # fmt: skip


@pytest.mark.parametrize("gpu", gpu_names())
def test_no_memory_is_faster_than_its_pins(gpu):
    spec = load_gpu(gpu)
    share = spec.memory.dram_bytes_per_cycle * spec.core_clock_mhz * 1e-3 / PINS[gpu]
    assert share <= 1.0005  # what `test_dram` reaches and never exceeds
    # Measured: 0.857 on the H200, 0.87 on the A100 (facts of their TOML files), 0.955 and more elsewhere.
    assert share > (0.85 if gpu in ("h200", "a100_sxm") else 0.95)
