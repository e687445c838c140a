"""Matrix products as users write them: grouped, persistent, stream-K, block-sparse, quantised, convolution."""

import pytest
import torch
import triton
import triton.language as tl


def whole(*shape, low=-3, high=4, dtype=torch.float16):
    """Small whole numbers: any order of summation gives the same bits."""
    return torch.randint(low, high, shape, device="cuda").to(dtype)


@triton.jit
def _swizzled(tile, rows, columns, GROUP: tl.constexpr):
    width = GROUP * columns
    first = tile // width * GROUP
    height = tl.minimum(rows - first, GROUP)
    return first + tile % width % height, tile % width // height


@triton.autotune(
    [
        triton.Config({"M": 64, "N": 32, "K": 32}, num_warps=4, num_stages=3),
        triton.Config({"M": 32, "N": 32, "K": 32}, num_warps=2, num_stages=2),
    ],
    key=["m", "n", "k"],
)
@triton.heuristics({"EVEN": lambda arguments: arguments["k"] % arguments["K"] == 0})
@triton.jit
def product(a_ptr, b_ptr, c_ptr, m, n, k, am, ak, bk, bn, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
            EVEN: tl.constexpr, ACTIVATION: tl.constexpr):  # fmt: skip
    row, column = _swizzled(tl.program_id(0), tl.cdiv(m, M), tl.cdiv(n, N), 2)
    i, j, inner = row * M + tl.arange(0, M), column * N + tl.arange(0, N), tl.arange(0, K)
    a_at, b_at = (
        a_ptr + (i % m)[:, None] * am + inner[None, :] * ak,
        b_ptr + inner[:, None] * bk + (j % n)[None, :] * bn,
    )
    total = tl.zeros((M, N), tl.float32)
    for step in range(tl.cdiv(k, K)):
        if EVEN:
            a, b = tl.load(a_at), tl.load(b_at)
        else:
            a = tl.load(a_at, mask=inner[None, :] < k - step * K, other=0.0)
            b = tl.load(b_at, mask=inner[:, None] < k - step * K, other=0.0)
        total = tl.dot(a, b, total)
        a_at += K * ak
        b_at += K * bk
    if ACTIVATION == "leaky":
        total = tl.where(total >= 0, total, 0.25 * total)
    tl.store(c_ptr + i[:, None] * n + j[None, :], total, mask=(i < m)[:, None] & (j < n)[None, :])


@pytest.mark.parametrize(("m", "n", "k"), [(96, 64, 64), (70, 50, 75)])
@pytest.mark.parametrize("activation", ["none", "leaky"])
def test_autotuned_with_heuristics(gpu, m, n, k, activation):
    a, b, c = whole(m, k), whole(n, k).T, torch.empty(m, n, device="cuda")
    grid = lambda meta: (triton.cdiv(m, meta["M"]) * triton.cdiv(n, meta["N"]),)  # noqa: E731
    product[grid](a, b, c, m, n, k, *a.stride(), *b.stride(), ACTIVATION=activation)
    want = a.float() @ b.float()
    assert torch.equal(c, want if activation == "none" else torch.where(want >= 0, want, 0.25 * want))


@triton.jit
def persistent(a_desc, b_desc, c_desc, m, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """As many blocks as the GPU has SMs, each taking every so-manieth tile."""
    columns = tl.cdiv(n, N)
    for tile in tl.range(tl.program_id(0), tl.cdiv(m, M) * columns, tl.num_programs(0), flatten=True):
        row, column = tile // columns * M, tile % columns * N
        total = tl.zeros((M, N), tl.float32)
        for start in range(0, k, K):
            total = tl.dot(a_desc.load([row, start]), b_desc.load([column, start]).T, total)
        c_desc.store([row, column], total.to(tl.float16))


def test_persistent_with_tensor_descriptors(gpu):
    from triton.tools.tensor_descriptor import TensorDescriptor

    m, n, k, tile = 150, 100, 96, [32, 32]
    a, b, c = whole(m, k), whole(n, k), torch.empty(m, 104, device="cuda", dtype=torch.float16)[:, :n]
    triton.set_allocator(lambda size, alignment, stream: torch.empty(size, dtype=torch.int8, device="cuda"))
    descriptors = [TensorDescriptor.from_tensor(x, tile) for x in (a, b, c)]
    persistent[(4,)](*descriptors, m, n, k, *tile, 32, num_stages=3)
    assert torch.equal(c.float(), a.float() @ b.float().T)


@triton.jit
def grouped(a_ptrs, b_ptrs, c_ptrs, sizes_ptr, count, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """Problems of different sizes; arrays on the device hold where their matrices are."""
    tile, done = tl.program_id(0), 0
    for problem in range(count):
        m, n = tl.load(sizes_ptr + problem * 3), tl.load(sizes_ptr + problem * 3 + 1)
        k = tl.load(sizes_ptr + problem * 3 + 2)
        columns = tl.cdiv(n, N)
        tiles = tl.cdiv(m, M) * columns
        while tile >= done and tile < done + tiles:
            a = tl.load(a_ptrs + problem).to(tl.pointer_type(tl.float16))
            b = tl.load(b_ptrs + problem).to(tl.pointer_type(tl.float16))
            c = tl.load(c_ptrs + problem).to(tl.pointer_type(tl.float32))
            i = (tile - done) // columns * M + tl.arange(0, M)
            j = (tile - done) % columns * N + tl.arange(0, N)
            total = tl.zeros((M, N), tl.float32)
            for start in range(0, k, K):
                inner = start + tl.arange(0, K)
                left = tl.load(
                    a + i[:, None] * k + inner[None, :], mask=(i < m)[:, None] & (inner < k)[None, :], other=0
                )
                right = tl.load(
                    b + inner[:, None] * n + j[None, :], mask=(inner < k)[:, None] & (j < n)[None, :], other=0
                )
                total = tl.dot(left, right, total)
            tl.store(c + i[:, None] * n + j[None, :], total, mask=(i < m)[:, None] & (j < n)[None, :])
            tile += tl.num_programs(0)
        done += tiles


def test_grouped_through_arrays_of_pointers(gpu):
    sizes = [(40, 33, 20), (64, 64, 64), (7, 90, 50)]
    a, b = [whole(m, k) for m, n, k in sizes], [whole(k, n) for m, n, k in sizes]
    c = [torch.zeros(m, n, device="cuda") for m, n, k in sizes]
    pointers = [torch.tensor([x.data_ptr() for x in group], device="cuda") for group in (a, b, c)]
    grouped[(3,)](*pointers, torch.tensor(sizes, dtype=torch.int32, device="cuda"), len(sizes), 32, 32, 32)
    for left, right, got in zip(a, b, c, strict=True):
        assert torch.equal(got, left.float() @ right.float())


@triton.jit
def stream_k(a_ptr, b_ptr, c_ptr, locks_ptr, m, n, k, each, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """Every block does as many steps as the others; blocks that share a tile add to it in the order of the steps."""
    columns, steps = tl.cdiv(n, N), tl.cdiv(k, K)
    last = tl.minimum((tl.program_id(0) + 1) * each, tl.cdiv(m, M) * columns * steps)
    step = tl.program_id(0) * each
    while step < last:
        tile, first = step // steps, step % steps
        count = tl.minimum(steps - first, last - step)
        i, j = tile // columns * M + tl.arange(0, M), tile % columns * N + tl.arange(0, N)
        total = tl.zeros((M, N), tl.float32)
        for s in range(first, first + count):
            inner = s * K + tl.arange(0, K)
            a = tl.load(a_ptr + i[:, None] * k + inner[None, :], mask=(i < m)[:, None] & (inner < k)[None, :], other=0)
            b = tl.load(b_ptr + inner[:, None] * n + j[None, :], mask=(inner < k)[:, None] & (j < n)[None, :], other=0)
            total = tl.dot(a, b, total)
        where, inside = c_ptr + i[:, None] * n + j[None, :], (i < m)[:, None] & (j < n)[None, :]
        while tl.atomic_cas(locks_ptr + tile, first, first) != first:
            pass
        if first > 0:
            total += tl.load(where, mask=inside, other=0.0, cache_modifier=".cg")
        tl.store(where, total, mask=inside)
        tl.debug_barrier()
        tl.atomic_xchg(locks_ptr + tile, first + count)
        step += count


@pytest.mark.parametrize("blocks", [1, 3, 7])
def test_stream_k_with_locks(gpu, blocks):
    m, n, k = 70, 40, 200
    a, b, c = whole(m, k), whole(k, n), torch.empty(m, n, device="cuda")
    steps = triton.cdiv(m, 32) * triton.cdiv(n, 32) * triton.cdiv(k, 32)
    locks = torch.zeros(6, dtype=torch.int32, device="cuda")
    stream_k[(blocks,)](a, b, c, locks, m, n, k, triton.cdiv(steps, blocks), 32, 32, 32)
    assert torch.equal(c, a.float() @ b.float())


@triton.jit
def split_k(a_ptr, b_ptr, c_ptr, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j = tl.program_id(0) * M + tl.arange(0, M), tl.program_id(1) * N + tl.arange(0, N)
    total = tl.zeros((M, N), tl.float32)
    for start in range(tl.program_id(2) * K, k, tl.num_programs(2) * K):
        inner = start + tl.arange(0, K)
        a, b = tl.load(a_ptr + i[:, None] * k + inner[None, :]), tl.load(b_ptr + inner[:, None] * n + j[None, :])
        total = tl.dot(a, b, total)
    tl.atomic_add(c_ptr + i[:, None] * n + j[None, :], total.to(c_ptr.dtype.element_ty), sem="relaxed")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_split_k_with_atomics(gpu, dtype):
    a, b, c = (
        whole(64, 128, low=-1, high=2),
        whole(128, 32, low=-1, high=2),
        torch.zeros(64, 32, device="cuda", dtype=dtype),
    )
    split_k[(2, 1, 4)](a, b, c, 32, 128, 32, 32, 32)
    assert torch.equal(c.float(), a.float() @ b.float())


@triton.jit
def block_sparse(values_ptr, columns_ptr, starts_ptr, b_ptr, c_ptr, n, S: tl.constexpr, N: tl.constexpr):
    row = tl.program_id(0)
    i, j = tl.arange(0, S), tl.program_id(1) * N + tl.arange(0, N)
    total = tl.zeros((S, N), tl.float32)
    for at in range(tl.load(starts_ptr + row), tl.load(starts_ptr + row + 1)):
        column = tl.load(columns_ptr + at)
        block = tl.load(values_ptr + at * S * S + i[:, None] * S + i[None, :])
        total = tl.dot(block, tl.load(b_ptr + (column * S + i[:, None]) * n + j[None, :]), total)
    tl.store(c_ptr + (row * S + i[:, None]) * n + j[None, :], total)


def test_block_sparse(gpu):
    torch.manual_seed(0)
    size, present = 16, torch.rand(6, 5) < 0.4
    present[2] = False
    dense = whole(6, 5, size, size) * present[..., None, None].cuda()
    rows, columns = present.nonzero(as_tuple=True)
    starts = torch.cat([torch.zeros(1), present.sum(1).cumsum(0)]).int().cuda()
    b, c = whole(5 * size, 64), torch.empty(6 * size, 64, device="cuda")
    values = dense[rows.cuda(), columns.cuda()].contiguous()
    block_sparse[(6, 2)](values, columns.int().cuda(), starts, b, c, 64, size, 32)
    assert torch.equal(c, dense.transpose(1, 2).reshape(6 * size, 5 * size).float() @ b.float())


@triton.jit
def four_bit(a_ptr, packed_ptr, scale_ptr, zero_ptr, c_ptr, n, k, GROUP: tl.constexpr, M: tl.constexpr,
             N: tl.constexpr):  # fmt: skip
    """Weights of 4 bits, eight in a word along K, with a scale and a zero point for each group."""
    i, j = tl.arange(0, M), tl.program_id(0) * N + tl.arange(0, N)
    inner = tl.arange(0, GROUP)
    total = tl.zeros((M, N), tl.float32)
    for group in range(k // GROUP):
        at = group * GROUP + inner
        words = tl.load(packed_ptr + (at // 8)[:, None] * n + j[None, :])
        codes = (words >> ((at % 8) * 4)[:, None]) & 0xF
        scale, zero = tl.load(scale_ptr + group * n + j), tl.load(zero_ptr + group * n + j)
        weights = (codes.to(tl.float16) - zero[None, :]) * scale[None, :]
        total = tl.dot(tl.load(a_ptr + i[:, None] * k + at[None, :]), weights, total)
    tl.store(c_ptr + i[:, None] * n + j[None, :], total)


def test_weights_of_four_bits(gpu):
    m, n, k, group = 16, 64, 128, 32
    codes = torch.randint(0, 16, (k, n), device="cuda")
    packed = sum(codes[i::8].long() << (4 * i) for i in range(8))
    packed = torch.where(packed >= 2**31, packed - 2**32, packed).int()
    scale = 2.0 ** torch.randint(-2, 3, (k // group, n), device="cuda").half()
    zero = torch.randint(0, 16, (k // group, n), device="cuda").half()
    a, c = whole(m, k), torch.empty(m, n, device="cuda")
    four_bit[(2,)](a, packed, scale, zero, c, n, k, group, m, 32)
    weights = (codes - zero.repeat_interleave(group, 0)) * scale.repeat_interleave(group, 0)
    assert torch.equal(c, a.float() @ weights.float())


@triton.jit
def eight_bit(a_ptr, b_ptr, row_scale_ptr, column_scale_ptr, c_ptr, n, k, M: tl.constexpr, N: tl.constexpr,
              K: tl.constexpr):  # fmt: skip
    i, j = tl.program_id(0) * M + tl.arange(0, M), tl.program_id(1) * N + tl.arange(0, N)
    total = tl.zeros((M, N), tl.int32)
    for start in range(0, k, K):
        inner = start + tl.arange(0, K)
        a, b = tl.load(a_ptr + i[:, None] * k + inner[None, :]), tl.load(b_ptr + inner[:, None] + j[None, :] * k)
        total = tl.dot(a, b, total, out_dtype=tl.int32)
    scales = tl.load(row_scale_ptr + i)[:, None] * tl.load(column_scale_ptr + j)[None, :]
    tl.store(c_ptr + i[:, None] * n + j[None, :], total.to(tl.float32) * scales)


def test_rows_and_columns_of_eight_bits(gpu):
    a, b = (torch.randint(-128, 128, (64, 96), device="cuda", dtype=torch.int8) for _ in range(2))
    rows, columns = torch.rand(64, device="cuda"), torch.rand(64, device="cuda")
    c = torch.empty(64, 64, device="cuda")
    eight_bit[(2, 2)](a, b, rows, columns, c, 64, 96, 32, 32, 32)
    assert torch.equal(c, (a.int() @ b.int().T).float() * (rows[:, None] * columns[None, :]))


@triton.jit
def convolution(x_ptr, w_ptr, out_ptr, images, channels, height, width, filters, out_height, out_width, stride, padding,
                R: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):  # fmt: skip
    """NHWC convolution as one matrix product: rows are output pixels, the inner axis channels and taps."""
    pixel, filter_ = tl.program_id(0) * M + tl.arange(0, M), tl.program_id(1) * N + tl.arange(0, N)
    y, x = pixel // out_width % out_height * stride - padding, pixel % out_width * stride - padding
    image = pixel // (out_width * out_height)
    total = tl.zeros((M, N), tl.float32)
    inner = channels * R * R
    for start in range(0, inner, K):
        at = start + tl.arange(0, K)
        channel, tap = at % channels, at // channels
        row, column = y[:, None] + (tap // R)[None, :], x[:, None] + (tap % R)[None, :]
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width) & (at < inner)[None, :]
        inside &= (image < images)[:, None]
        where = ((image[:, None] * height + row) * width + column) * channels + channel[None, :]
        left = tl.load(x_ptr + where, mask=inside, other=0.0)
        right = tl.load(w_ptr + filter_[None, :] * inner + at[:, None],
                        mask=(at < inner)[:, None] & (filter_ < filters)[None, :], other=0.0)  # fmt: skip
        total = tl.dot(left, right, total)
    tl.store(out_ptr + pixel[:, None] * filters + filter_[None, :], total,
             mask=(image < images)[:, None] & (filter_ < filters)[None, :])  # fmt: skip


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 0)])
def test_convolution_as_a_matrix_product(gpu, stride, padding):
    x, w = whole(2, 9, 9, 5), whole(20, 3, 3, 5)
    want = torch.nn.functional.conv2d(
        x.float().permute(0, 3, 1, 2), w.float().permute(0, 3, 1, 2), None, stride, padding
    )
    _, filters, height, width = want.shape
    rows = triton.cdiv(2 * height * width, 32)
    out = torch.zeros(rows * 32, filters, device="cuda")
    convolution[(rows, 2)](x, w, out, 2, 5, 9, 9, filters, height, width, stride, padding, 3, 32, 16, 32)
    got = out[: 2 * height * width].view(2, height, width, filters).permute(0, 3, 1, 2)
    assert torch.equal(got, want)
