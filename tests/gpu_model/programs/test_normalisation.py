"""Row-wise kernels: persistent softmax, layer norm whose gradients of weights meet under locks, libdevice, dropout."""

import pytest
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice
from triton.runtime import driver


@triton.jit
def softmax(out_ptr, x_ptr, stride, rows, columns, B: tl.constexpr, num_stages: tl.constexpr):
    for row in tl.range(tl.program_id(0), rows, tl.num_programs(0), num_stages=num_stages):
        at = tl.arange(0, B)
        x = tl.load(x_ptr + row * stride + at, mask=at < columns, other=-float("inf"))
        e = tl.exp(x - tl.max(x, 0))
        tl.store(out_ptr + row * stride + at, e / tl.sum(e, 0), mask=at < columns)


@pytest.mark.parametrize(("rows", "columns"), [(37, 300), (5, 1024)])
def test_softmax_with_as_many_blocks_as_fit(gpu, rows, columns):
    x = torch.randn(rows, columns, device="cuda")
    out, size = torch.empty_like(x), triton.next_power_of_2(columns)
    kernel = softmax.warmup(out, x, x.stride(0), rows, columns, B=size, num_stages=2, num_warps=4, grid=(1,))
    kernel._init_handles()
    properties = driver.active.utils.get_device_properties(out.device.index)
    resident = min(properties["max_num_regs"] // (kernel.n_regs * 128), 16)
    assert resident > 0
    assert kernel.metadata.shared <= properties["max_shared_mem"]
    kernel[(min(rows, 3), 1, 1)](out, x, x.stride(0), rows, columns, size, 2)
    torch.testing.assert_close(out, x.softmax(-1), atol=1e-6, rtol=1e-5)


@triton.jit
def online_softmax(x_ptr, out_ptr, columns, B: tl.constexpr):
    """Two passes over a row that is longer than a block."""
    row = tl.program_id(0).to(tl.int64) * columns
    top, total = -float("inf"), 0.0
    for start in range(0, columns, B):
        at = start + tl.arange(0, B)
        x = tl.load(x_ptr + row + at, mask=at < columns, other=-float("inf"))
        higher = tl.maximum(top, tl.max(x, 0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(x - higher), 0)
        top = higher
    for start in range(0, columns, B):
        at = start + tl.arange(0, B)
        x = tl.load(x_ptr + row + at, mask=at < columns)
        tl.store(out_ptr + row + at, tl.exp(x - top) / total, mask=at < columns)


def test_online_softmax(gpu):
    x = torch.randn(3, 1111, device="cuda") * 10
    out = torch.empty_like(x)
    online_softmax[(3,)](x, out, 1111, 256)
    torch.testing.assert_close(out, x.softmax(-1), atol=1e-6, rtol=1e-5)


@triton.jit
def layer_norm(x_ptr, w_ptr, b_ptr, y_ptr, mean_ptr, rstd_ptr, columns, eps, B: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, B)
    inside = at < columns
    x = tl.load(x_ptr + row * columns + at, mask=inside, other=0.0)
    mean = tl.sum(x, 0) / columns
    centred = tl.where(inside, x - mean, 0.0)
    rstd = 1 / tl.sqrt(tl.sum(centred * centred, 0) / columns + eps)
    tl.store(mean_ptr + row, mean)
    tl.store(rstd_ptr + row, rstd)
    y = centred * rstd * tl.load(w_ptr + at, mask=inside) + tl.load(b_ptr + at, mask=inside)
    tl.store(y_ptr + row * columns + at, y, mask=inside)


@triton.jit
def layer_norm_backward(dx_ptr, dy_ptr, dw_ptr, db_ptr, x_ptr, w_ptr, mean_ptr, rstd_ptr, locks_ptr, columns,
                        GROUPS: tl.constexpr, B: tl.constexpr):  # fmt: skip
    row = tl.program_id(0)
    at = tl.arange(0, B)
    inside = at < columns
    x = tl.load(x_ptr + row * columns + at, mask=inside, other=0.0)
    dy = tl.load(dy_ptr + row * columns + at, mask=inside, other=0.0)
    rstd = tl.load(rstd_ptr + row)
    normal = tl.where(inside, (x - tl.load(mean_ptr + row)) * rstd, 0.0)
    weighted = dy * tl.load(w_ptr + at, mask=inside, other=0.0)
    along, mean = tl.sum(normal * weighted, 0) / columns, tl.sum(weighted, 0) / columns
    tl.store(dx_ptr + row * columns + at, (weighted - normal * along - mean) * rstd, mask=inside)
    group = row % GROUPS
    lock, count = locks_ptr + group, locks_ptr + GROUPS + group
    dw_at, db_at = dw_ptr + group * columns + at, db_ptr + group * columns + at
    dw, db = dy * normal, dy
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    if tl.load(count) == 0:
        tl.atomic_xchg(count, 1)
    else:
        dw += tl.load(dw_at, mask=inside)
        db += tl.load(db_at, mask=inside)
    tl.store(dw_at, dw, mask=inside)
    tl.store(db_at, db, mask=inside)
    tl.debug_barrier()
    tl.atomic_xchg(lock, 0)


class LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        rows, columns = x.shape
        y, mean, rstd = torch.empty_like(x), x.new_empty(rows), x.new_empty(rows)
        size = triton.next_power_of_2(columns)
        layer_norm[(rows,)](x, weight, bias, y, mean, rstd, columns, eps, size)
        ctx.save_for_backward(x, weight, mean, rstd)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, weight, mean, rstd = ctx.saved_tensors
        rows, columns = x.shape
        groups, dx = 3, torch.empty_like(x)
        dw, db = x.new_empty(groups, columns), x.new_empty(groups, columns)
        locks = torch.zeros(2 * groups, dtype=torch.int32, device=x.device)
        layer_norm_backward[(rows,)](
            dx, dy, dw, db, x, weight, mean, rstd, locks, columns, groups, triton.next_power_of_2(columns)
        )
        return dx, dw.sum(0), db.sum(0), None


def test_layer_norm_with_locks(gpu):
    torch.manual_seed(0)
    x = torch.randn(29, 200, device="cuda", requires_grad=True)
    weight, bias = (torch.randn(200, device="cuda", requires_grad=True) for _ in range(2))
    dy = torch.randn(29, 200, device="cuda")
    LayerNorm.apply(x, weight, bias, 1e-5).backward(dy)
    got = [value.grad.clone() for value in (x, weight, bias)]
    for value in (x, weight, bias):
        value.grad = None
    torch.nn.functional.layer_norm(x, (200,), weight, bias, 1e-5).backward(dy)
    for gradient, value in zip(got, (x, weight, bias), strict=True):
        torch.testing.assert_close(gradient, value.grad, atol=1e-4, rtol=1e-4)


@triton.jit
def arcs(x_ptr, out_ptr, n, B: tl.constexpr):
    at = tl.program_id(0) * B + tl.arange(0, B)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, libdevice.asin(x) + libdevice.erf(x) * libdevice.cbrt(x), mask=at < n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_libdevice(gpu, dtype):
    x = torch.linspace(-1, 1, 777, dtype=dtype, device="cuda")
    out = torch.empty_like(x)
    arcs[(4,)](x, out, 777, 256)
    want = x.asin() + x.erf() * x.sign() * x.abs() ** (1 / 3)
    torch.testing.assert_close(out, want, atol=2e-6, rtol=2e-6)


@triton.jit
def dropout(x_ptr, out_ptr, n, p, seed, B: tl.constexpr):
    at = tl.program_id(0) * B + tl.arange(0, B)
    x = tl.load(x_ptr + at, mask=at < n)
    keep = tl.rand(seed, at) > p
    tl.store(out_ptr + at, tl.where(keep, x / (1 - p), 0.0), mask=at < n)


def test_dropout_of_a_seed(gpu):
    x = torch.ones(5000, device="cuda")
    outs = [torch.empty_like(x) for _ in range(3)]
    for out, seed in zip(outs, (123, 123, 512), strict=True):
        dropout[(5,)](x, out, 5000, 0.5, seed, 1024)
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])
    assert set(outs[0].tolist()) == {0.0, 2.0}
    assert abs((outs[0] == 0).float().mean() - 0.5) < 5 * 0.5 / 5000**0.5


@triton.jit
def add_after(x_ptr, out_ptr, B: tl.constexpr, WAITS: tl.constexpr):
    at = tl.program_id(0) * B + tl.arange(0, B)
    if WAITS:
        tl.extra.cuda.gdc_wait()
    x = tl.load(x_ptr + at)
    if WAITS:
        tl.extra.cuda.gdc_launch_dependents()
    tl.store(out_ptr + at, x + 1)


@pytest.mark.parametrize("gpu", ["h100_sxm", "rtx_5090"], indirect=True)
def test_programmatic_dependent_launch(gpu):
    x = torch.zeros(1024, dtype=torch.int32, device="cuda")
    for _ in range(3):
        add_after[(8,)](x, x, 128, WAITS=True, launch_pdl=True)
    assert (x == 3).all()
