"""Measure an NVIDIA GPU; this file needs nothing but torch and Triton.

    python measure.py rtx_a6000.csv

runs each case of `CASES` as benchmarks do (L2 filled with unwritten lines before every launch, CUDA events, median
of `--repeats`) and each chain of `CHAINS` (dependent instructions between two reads of the SM's clock), and writes one
row a result: the columns are `COLUMNS`. `warptree validate` runs the same cases on the virtual GPU and prints the
error.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportArgumentType=false, reportCallIssue=false

import argparse
import csv
import statistics
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

COLUMNS = ("gpu", "suite", "case", "value", "unit", "source")
FLUSH_BYTES = 256 << 20  # larger than any L2


@dataclass(frozen=True)
class Case:
    """One kernel launch to time.

    Attributes:
        suite: group that errors are averaged over.
        name: kernel and sizes; the key in data files.
        make: device to a function that launches it once, on tensors it holds.
        since: first compute capability times ten that runs it.
    """

    suite: str
    name: str
    make: Callable[[str], Callable[[], Any]]
    since: int = 75


@triton.jit
def scale_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    """y = 3 x, a block a program."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + at, tl.load(x_ptr + at, mask=at < n) * 3, mask=at < n)


@triton.jit
def add_kernel(x_ptr, y_ptr, z_ptr, n, BLOCK: tl.constexpr):
    """z = x + y, a block a program."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.store(z_ptr + at, tl.load(x_ptr + at, mask=inside) + tl.load(y_ptr + at, mask=inside), mask=inside)


@triton.jit
def layer_norm_kernel(x_ptr, weight_ptr, bias_ptr, y_ptr, mean_ptr, rstd_ptr, n, eps, BLOCK: tl.constexpr):
    """Layer norm of one row, held in registers."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < n
    x = tl.load(x_ptr + row * n + column, mask=inside, other=0).to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=inside, other=0)
    bias = tl.load(bias_ptr + column, mask=inside, other=0)
    mean = tl.sum(x, axis=0) / n
    centred = tl.where(inside, x - mean, 0.0)
    rstd = tl.rsqrt(tl.sum(centred * centred, axis=0) / n + eps)
    tl.store(mean_ptr + row, mean)
    tl.store(rstd_ptr + row, rstd)
    tl.store(y_ptr + row * n + column, centred * rstd * weight + bias, mask=inside)


@triton.jit
def rms_norm_kernel(x_ptr, weight_ptr, y_ptr, rstd_ptr, n, eps, BLOCK: tl.constexpr):
    """RMS norm of one row, held in registers."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < n
    x = tl.load(x_ptr + row * n + column, mask=inside, other=0).to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=inside, other=0)
    rstd = tl.rsqrt(tl.sum(x * x, axis=0) / n + eps)
    tl.store(rstd_ptr + row, rstd)
    tl.store(y_ptr + row * n + column, (x * rstd).to(weight.dtype) * weight, mask=inside)


@triton.jit
def softmax_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    """Softmax of one row, held in registers."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + column, mask=column < n, other=-float("inf")).to(tl.float32)
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(y_ptr + row * n + column, (e / tl.sum(e, axis=0)).to(y_ptr.dtype.element_ty), mask=column < n)


@triton.jit
def embedding_kernel(table_ptr, index_ptr, out_ptr, tokens, width, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Gather BLOCK_M rows of a table, BLOCK_N columns of them."""
    token = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = tl.load(index_ptr + token, mask=token < tokens, other=0)
    inside = (token < tokens)[:, None] & (column < width)[None, :]
    values = tl.load(table_ptr + row[:, None] * width + column[None, :], mask=inside, other=0)
    tl.store(out_ptr + token[:, None] * width + column[None, :], values, mask=inside)


@triton.jit
def matmul_kernel(
    a_ptr, b_ptr, c_ptr, m, n, k,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """One tile of c = a @ b, fp16 in and out; GROUP rows of tiles go together, so that they share columns of b."""
    tiles_m, tiles_n = tl.cdiv(m, BLOCK_M), tl.cdiv(n, BLOCK_N)
    program = tl.program_id(0)
    first = program // (GROUP * tiles_n) * GROUP
    height = min(tiles_m - first, GROUP)
    inside = program % (GROUP * tiles_n)
    row = (first + inside % height) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = inside // height * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    a_tile = a_ptr + (row % m)[:, None] * k + depth[None, :]
    b_tile = b_ptr + depth[:, None] * n + (column % n)[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        a = tl.load(a_tile, mask=depth[None, :] < k - start, other=0)
        b = tl.load(b_tile, mask=depth[:, None] < k - start, other=0)
        total = tl.dot(a, b, total)
        a_tile += BLOCK_K
        b_tile += BLOCK_K * n
    kept = (row < m)[:, None] & (column < n)[None, :]
    tl.store(c_ptr + row[:, None] * n + column[None, :], total.to(tl.float16), mask=kept)


@triton.jit
def tma_matmul_kernel(
    a_ptr, b_ptr, c_ptr, m, n, k,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """One tile of c = a @ b.T, fp16 in and out, through tensor descriptors that the kernel makes."""
    a = tl.make_tensor_descriptor(a_ptr, [m, k], [k, 1], [BLOCK_M, BLOCK_K])
    b = tl.make_tensor_descriptor(b_ptr, [n, k], [k, 1], [BLOCK_N, BLOCK_K])
    c = tl.make_tensor_descriptor(c_ptr, [m, n], [n, 1], [BLOCK_M, BLOCK_N])
    tiles_m, tiles_n = tl.cdiv(m, BLOCK_M), tl.cdiv(n, BLOCK_N)
    program = tl.program_id(0)
    first = program // (GROUP * tiles_n) * GROUP
    height = min(tiles_m - first, GROUP)
    inside = program % (GROUP * tiles_n)
    row, column = (first + inside % height) * BLOCK_M, inside // height * BLOCK_N
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        total = tl.dot(a.load([row, start]), b.load([column, start]).T, total)
    c.store([row, column], total.to(tl.float16))


@triton.jit
def attention_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, length, scale_log2,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """A tile of queries of one head: online softmax over tiles of keys, fp16 operands, lengths whole in tiles."""
    tile = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64) * length * D
    feature = tl.arange(0, D)
    query = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    key = tl.arange(0, BLOCK_N)
    q = tl.load(q_ptr + head + query[:, None] * D + feature[None, :])
    total = tl.zeros((BLOCK_M, D), dtype=tl.float32)
    weights = tl.zeros((BLOCK_M,), dtype=tl.float32)
    peak = tl.full((BLOCK_M,), -float("inf"), dtype=tl.float32)
    for start in range(0, (tile + 1) * BLOCK_M if CAUSAL else length, BLOCK_N):
        k = tl.load(k_ptr + head + (start + key)[None, :] * D + feature[:, None])
        score = tl.dot(q, k) * scale_log2
        if CAUSAL:
            score = tl.where((start + key)[None, :] <= query[:, None], score, -float("inf"))
        new_peak = tl.maximum(peak, tl.max(score, axis=1))
        weight = tl.exp2(score - new_peak[:, None])
        shrink = tl.exp2(peak - new_peak)
        weights = weights * shrink + tl.sum(weight, axis=1)
        v = tl.load(v_ptr + head + (start + key)[:, None] * D + feature[None, :])
        total = tl.dot(weight.to(tl.float16), v, total * shrink[:, None])
        peak = new_peak
    tl.store(out_ptr + head + query[:, None] * D + feature[None, :], (total / weights[:, None]).to(tl.float16))


def _row_warps(block: int) -> int:
    return 32 if block >= 32768 else 16 if block >= 8192 else 8 if block >= 2048 else 4


def _scale(bytes_moved: int) -> Callable[[str], Callable[[], Any]]:
    def make(device: str) -> Callable[[], Any]:
        n = bytes_moved // 8
        x, y = torch.ones(n, device=device), torch.empty(n, device=device)
        return lambda: scale_kernel[(triton.cdiv(n, 1024),)](x, y, n, BLOCK=1024)

    return make


def _add(n: int) -> Callable[[str], Callable[[], Any]]:
    def make(device: str) -> Callable[[], Any]:
        x, y, z = (torch.ones(n, device=device) for _ in range(3))
        return lambda: add_kernel[(triton.cdiv(n, 1024),)](x, y, z, n, BLOCK=1024)

    return make


def _layer_norm(rows: int, n: int, dtype: torch.dtype) -> Callable[[str], Callable[[], Any]]:
    def make(device: str) -> Callable[[], Any]:
        x, y = (torch.ones(rows, n, dtype=dtype, device=device) for _ in range(2))
        weight, bias = (torch.ones(n, dtype=dtype, device=device) for _ in range(2))
        mean, rstd = (torch.empty(rows, device=device) for _ in range(2))
        block = triton.next_power_of_2(n)
        return lambda: layer_norm_kernel[(rows,)](
            x, weight, bias, y, mean, rstd, n, 1e-6, BLOCK=block, num_warps=_row_warps(block)
        )

    return make


def _rms_norm(rows: int, n: int, dtype: torch.dtype) -> Callable[[str], Callable[[], Any]]:
    def make(device: str) -> Callable[[], Any]:
        x, y = (torch.ones(rows, n, dtype=dtype, device=device) for _ in range(2))
        weight, rstd = torch.ones(n, dtype=dtype, device=device), torch.empty(rows, device=device)
        block = triton.next_power_of_2(n)
        return lambda: rms_norm_kernel[(rows,)](x, weight, y, rstd, n, 1e-6, BLOCK=block, num_warps=_row_warps(block))

    return make


def _softmax(rows: int, n: int) -> Callable[[str], Callable[[], Any]]:
    def make(device: str) -> Callable[[], Any]:
        x, y = (torch.ones(rows, n, dtype=torch.float16, device=device) for _ in range(2))
        block = triton.next_power_of_2(n)
        return lambda: softmax_kernel[(rows,)](x, y, n, BLOCK=block, num_warps=_row_warps(block))

    return make


def _embedding(entries: int, width: int, tokens: int) -> Callable[[str], Callable[[], Any]]:
    def make(device: str) -> Callable[[], Any]:
        table = torch.ones(entries, width, device=device)
        # A fixed scatter: the k-th token asks for entry k * 2654435761 modulo the table (Knuth's hash).
        index = (torch.arange(tokens) * 2654435761 % entries).to(device)
        out = torch.empty(tokens, width, device=device)
        grid = (triton.cdiv(tokens, 128), triton.cdiv(width, 128))
        return lambda: embedding_kernel[grid](table, index, out, tokens, width, BLOCK_M=128, BLOCK_N=128)

    return make


def _matmul(m: int, n: int, k: int, tile: tuple[int, int, int], stages: int, warps: int):
    def make(device: str) -> Callable[[], Any]:
        a = torch.ones(m, k, dtype=torch.float16, device=device)
        b = torch.ones(k, n, dtype=torch.float16, device=device)
        c = torch.empty(m, n, dtype=torch.float16, device=device)
        grid = (triton.cdiv(m, tile[0]) * triton.cdiv(n, tile[1]),)
        return lambda: matmul_kernel[grid](
            a, b, c, m, n, k, BLOCK_M=tile[0], BLOCK_N=tile[1], BLOCK_K=tile[2], GROUP=8,
            num_stages=stages, num_warps=warps,
        )  # fmt: skip

    return make


def _tma_matmul(m: int, n: int, k: int, tile: tuple[int, int, int], stages: int, warps: int):
    def make(device: str) -> Callable[[], Any]:
        triton.set_allocator(lambda size, align, stream: torch.empty(size, dtype=torch.int8, device=device))
        a = torch.ones(m, k, dtype=torch.float16, device=device)
        b = torch.ones(n, k, dtype=torch.float16, device=device)
        c = torch.empty(m, n, dtype=torch.float16, device=device)
        grid = (triton.cdiv(m, tile[0]) * triton.cdiv(n, tile[1]),)
        return lambda: tma_matmul_kernel[grid](
            a, b, c, m, n, k, BLOCK_M=tile[0], BLOCK_N=tile[1], BLOCK_K=tile[2], GROUP=8,
            num_stages=stages, num_warps=warps,
        )  # fmt: skip

    return make


def _attention(batch: int, heads: int, length: int, d: int, causal: bool):
    def make(device: str) -> Callable[[], Any]:
        q, k, v, out = (torch.ones(batch, heads, length, d, dtype=torch.float16, device=device) for _ in range(4))
        grid = (length // 128, batch * heads)
        return lambda: attention_kernel[grid](
            q, k, v, out, length, 1.4426950408889634 * d**-0.5,
            D=d, BLOCK_M=128, BLOCK_N=64, CAUSAL=causal, num_stages=3, num_warps=4 if d <= 64 else 8,
        )  # fmt: skip

    return make


TILES = (
    ((128, 256, 64), 3, 8), ((64, 256, 32), 4, 4), ((128, 128, 32), 4, 4),
    ((128, 64, 32), 4, 4), ((64, 128, 32), 4, 4), ((128, 32, 32), 4, 4),
)  # fmt: skip


def _cases() -> Iterator[Case]:
    for megabytes in (1, 2, 4, 8, 16, 32, 64, 128):
        yield Case("stream", f"scale {megabytes} MiB", _scale(megabytes << 20))
    for logarithm in (18, 20, 22, 24):
        yield Case("stream", f"vector add 2^{logarithm}", _add(1 << logarithm))
    for n in (1024, 2048, 4096, 8192, 16384):
        yield Case("rows", f"layer norm fp32 4096 x {n}", _layer_norm(4096, n, torch.float32))
        yield Case("rows", f"rms norm bf16 4096 x {n}", _rms_norm(4096, n, torch.bfloat16), since=80)
        yield Case("rows", f"layer norm fp16 1024 x {n}", _layer_norm(1024, n, torch.float16))
        yield Case("rows", f"softmax fp16 2048 x {n}", _softmax(2048, n))
    for entries in (1024, 4096, 16384, 65536, 131072):
        yield Case("gather", f"embedding fp32 {entries} x 768, 16384 tokens", _embedding(entries, 768, 16384))
    for size in (512, 1024, 2048):
        for tile, stages, warps in TILES:
            name = f"matmul fp16 {size} cubed, tile {'x'.join(map(str, tile))}, {stages} stages, {warps} warps"
            yield Case("matmul", name, _matmul(size, size, size, tile, stages, warps))
    for m, n, k in ((512, 16, 512), (1024, 4096, 512), (4096, 512, 1024), (128, 4096, 4096)):
        name = f"matmul fp16 {m} x {n} x {k}, tile 64x64x32, 4 stages, 4 warps"
        yield Case("matmul", name, _matmul(m, n, k, (64, 64, 32), 4, 4))
    for m, n, k in ((2560, 64, 2560), (1024, 1024, 1024)):
        name = f"tma matmul fp16 {m} x {n} x {k}, tile 64x64x64, 4 stages, 4 warps"
        yield Case("matmul", name, _tma_matmul(m, n, k, (64, 64, 64), 4, 4), since=90)
    for batch, heads, length, d in ((1, 16, 1024, 64), (4, 32, 1024, 64), (2, 16, 1024, 128)):
        for causal in (False, True):
            name = f"attention fp16 batch {batch}, {heads} heads, length {length}, d {d}{', causal' if causal else ''}"
            yield Case("attention", name, _attention(batch, heads, length, d, causal))


CASES = tuple(_cases())

# Name to one PTX instruction on x and, where it has one, y; dependent on the one before through x.
CHAINS = {
    "fma.rn.f32": "fma.rn.f32 x, x, y, y;",
    "shf.l.wrap.b32": "shf.l.wrap.b32 x, y, x, 3;",
    "mad.lo.s32": "mad.lo.s32 x, x, y, y;",
    "fma.rn.f16x2": "fma.rn.f16x2 x, x, y, y;",
    "ex2.approx.ftz.f32": "ex2.approx.ftz.f32 x, x;",
    "popc.b32": "popc.b32 x, x;",
    "shfl.sync.bfly.b32": "shfl.sync.bfly.b32 x, x, 1, 31, 0xffffffff;",
}  # fmt: skip
CHAIN_LENGTH = 128


@triton.jit
def chain_kernel(x_ptr, cycles_ptr, ASM: tl.constexpr):
    """Cycles that one warp spends in a chain."""
    at = tl.arange(0, 32)
    x = tl.load(x_ptr + at)
    spent = tl.inline_asm_elementwise(ASM, "=r,r", [x], dtype=tl.int32, is_pure=False, pack=1)
    tl.store(cycles_ptr + at, spent)


def chain_assembly(statement: str, length: int = CHAIN_LENGTH) -> str:
    """PTX that runs a statement `length` times and returns the cycles it took; the result depends on its end."""
    body = statement * length
    return (
        "{.reg .b32 x, y, begin, end; .reg .pred p; mov.b32 x, $1; mov.b32 y, $1; mov.u32 begin, %clock; "
        f"{body} mov.u32 end, %clock; sub.u32 $0, end, begin; setp.eq.u32 p, x, 0x7fc12345; @p add.u32 $0, $0, 1;}}"
    )


def launch_chain(x: Tensor, cycles: Tensor, assembly: str) -> None:
    """Run a chain on one warp: 32 words in, 32 counts of cycles out."""
    chain_kernel[(1,)](x, cycles, ASM=assembly, num_warps=1)


def _microseconds(launch: Callable[[], Any], flush: Tensor, repeats: int) -> float:
    """Median time of a launch that finds L2 full of unwritten lines."""
    times = []
    for _ in range(repeats):
        flush.zero_()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        launch()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) * 1000)
    return statistics.median(times)


def chain_cycles(name: str, device: str) -> float:
    """Cycles an instruction of a chain takes."""
    x, cycles = torch.ones(32, dtype=torch.int32, device=device), torch.zeros(32, dtype=torch.int32, device=device)
    for _ in range(3):  # the last run finds its code in the instruction cache
        launch_chain(x, cycles, chain_assembly(CHAINS[name]))
    return float(cycles.min()) / CHAIN_LENGTH


def _provenance() -> str:
    query = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit"
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    state = done.stdout.strip().splitlines()[0] if done.returncode == 0 else torch.cuda.get_device_name()
    return f"measured: {state}; torch {torch.__version__}, triton {triton.__version__}"


def main() -> None:
    """Measure every case and chain; write the rows."""
    parser = argparse.ArgumentParser(description="Measure this machine's NVIDIA GPU.")
    parser.add_argument("output", help="data file to write, named after the GPU, such as rtx_a6000.csv")
    parser.add_argument("--repeats", type=int, default=30)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("measure: no NVIDIA GPU here; `warptree validate` needs none, it compares with data files")
    gpu = args.output.rsplit("/", 1)[-1].removesuffix(".csv")
    major, minor = torch.cuda.get_device_capability()
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    source = _provenance()
    with open(args.output, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for case in (case for case in CASES if 10 * major + minor >= case.since):
            launch = case.make("cuda")
            launch()
            value = _microseconds(launch, flush, args.repeats)
            writer.writerow((gpu, case.suite, case.name, f"{value:.3f}", "us", source))
            print(f"{case.name}: {value:.2f} us", flush=True)
        for name in CHAINS:
            cycles = chain_cycles(name, "cuda")
            writer.writerow((gpu, "chains", name, f"{cycles:.3f}", "cycles", source))
            print(f"{name}: {cycles:.2f} cycles", flush=True)


if __name__ == "__main__":
    main()
