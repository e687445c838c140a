"""CUDA's names on the virtual GPU: what scripts written for a GPU say, and what a GPU would answer."""

import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from gpu_model import VirtualGPU
from gpu_model.errors import HostTensorError, LaunchError
from hw.gpu_spec import load_gpu


@triton.jit
def double(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + index, 2 * tl.load(x_ptr + index, mask=index < n), mask=index < n)


@pytest.fixture
def gpu():
    with VirtualGPU("rtx_a6000", cuda=True) as gpu:
        yield gpu


def places(*tensors):
    return [str(tensor.device) for tensor in tensors]


class Doubled(torch.autograd.Function):
    """y = 2 x with both passes in Triton, refusing tensors that are not on the GPU."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return Doubled.launch(x)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        assert x.is_cuda
        return Doubled.launch(dy.contiguous())

    @staticmethod
    def launch(x):
        assert x.is_cuda
        assert x.device.type == "cuda"
        out = torch.empty_like(x)
        with torch.cuda.device(x.device):
            double[(triton.cdiv(x.numel(), 64),)](x, out, x.numel(), BLOCK=64)
        return out


# --- where tensors are


def test_results_follow_their_arguments(gpu):
    x, y = torch.randn(8, 8, device="cuda"), torch.randn(8, 8)
    index = torch.tensor([1, 2], device="cuda:0")
    on_cuda = [x, y.cuda(), y.to("cuda"), x + 1, x @ x, x[1:], x[index], x.t(), x.view(64), x.sum(), *x.split(4),
               torch.cat([x, x]), torch.zeros_like(y, device="cuda"), torch.empty_like(x), x.new_zeros(3), x.half(),
               x.to(torch.float16), torch.where(x > 0, x, 0.0), torch.sort(x)[0], torch.as_tensor(np.ones(3), device=0),
               torch.nn.Parameter(x), x.type_as(x.double()), y.type("torch.cuda.HalfTensor"), x.clone().fill_(3),
               x.detach(), x * torch.tensor(2.0), torch.tensor([1.0], device="cuda")]  # fmt: skip
    on_cpu = [y, x.cpu(), x.to("cpu"), x.to(y), y + 1, torch.zeros(2), torch.tensor([1.0, 2.0]), y.type_as(y.double()),
              torch.zeros_like(x, device="cpu"), torch.from_numpy(np.ones(2)), x.type("torch.FloatTensor"),
              torch.arange(4), x.new_zeros(3, device="cpu"), torch.empty(2).copy_(x[0, :2])]  # fmt: skip
    assert places(*on_cuda) == ["cuda:0"] * len(on_cuda)
    assert places(*on_cpu) == ["cpu"] * len(on_cpu)
    assert all(t.is_cuda and not t.is_cpu and t.get_device() == 0 for t in on_cuda)
    assert not any(t.is_cuda or not t.is_cpu or t.get_device() != -1 for t in on_cpu)
    assert torch.zeros(2, device="meta").device.type == "meta"
    assert x.to("meta").device.type == "meta"


def test_moving_copies_and_staying_does_not(gpu):
    host = torch.arange(4.0)
    x = host.cuda()
    back = x.cpu()
    x += 1
    assert host.tolist() == back.tolist() == [0, 1, 2, 3]
    assert x.tolist() == [1, 2, 3, 4]
    assert x.cuda() is x
    assert x.to("cuda") is x
    assert x.to(0) is x
    assert host.cpu() is host
    assert host.to("cpu") is host
    assert x.to("cuda", copy=True).data_ptr() != x.data_ptr()
    array = np.zeros(4)
    copied = torch.as_tensor(array, device="cuda")
    array[:] = 1
    assert copied.tolist() == [0] * 4
    assert torch.as_tensor(x, device="cuda").data_ptr() == x.data_ptr()


def test_numpy_wants_a_copy_on_the_host(gpu):
    x = torch.ones(3, device="cuda")
    for convert in (lambda: x.numpy(), lambda: np.asarray(x)):
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
            convert()
    assert x.cpu().numpy().tolist() == [1, 1, 1]


def test_operands_on_two_devices_are_refused(gpu):
    x, y = torch.ones(3, device="cuda"), torch.ones(3)
    refused = (lambda: x + y, lambda: y * x, lambda: torch.cat([x, y]), lambda: torch.equal(x, y), lambda: y.add_(x))
    for operation in refused:
        with pytest.raises(RuntimeError, match="at least two devices, cuda:0 and cpu"):
            operation()
    y.copy_(x)
    x[0] = torch.tensor(3.0)
    assert places(x, y) == ["cuda:0", "cpu"]


def test_another_device_is_refused(gpu):
    for ask in (
        lambda: torch.zeros(1, device="cuda:1"),
        lambda: torch.zeros(1).cuda(1),
        lambda: torch.zeros(1).to("cuda:3"),
        lambda: torch.cuda.set_device(1),
        lambda: torch.cuda.get_device_properties(1),
        lambda: torch.cuda.device(2),
        lambda: torch.Generator(device="cuda:1"),
    ):
        with pytest.raises(RuntimeError, match="invalid device ordinal"):
            ask()


def test_sparse_and_batched_tensors(gpu):
    x = torch.eye(3, device="cuda")
    forms = [x.to_sparse(), x.to_sparse().indices(), x.to_sparse().to_dense(), x.to_sparse() @ x]
    seen = []

    def row(r):
        seen.append(r.device)
        return (r * r).sum()

    batched = torch.func.vmap(row)(x)
    slope = torch.func.grad(lambda v: row(v))(x[0])
    assert places(*forms, batched, slope) == ["cuda:0"] * 6
    assert {str(device) for device in seen} == {"cuda:0"}
    assert places(torch.func.vmap(row)(torch.eye(3))) == ["cpu"]


def test_default_device_and_printing(gpu):
    x = torch.ones(2, device="cuda", dtype=torch.int32)
    assert repr(x) == "tensor([1, 1], device='cuda:0', dtype=torch.int32)"
    assert repr(x[0]) == "tensor(1, device='cuda:0', dtype=torch.int32)"
    with torch.device("cuda"):
        made = [torch.zeros(2), torch.tensor(1.0), torch.arange(3), torch.nn.Linear(2, 2).weight]
        assert places(*made, torch.zeros(2, device="cpu")) == ["cuda:0"] * 4 + ["cpu"]
    assert places(torch.zeros(2)) == ["cpu"]


# --- what torch.cuda answers


@pytest.mark.parametrize("name", ["rtx_a6000", "h100_sxm", "rtx_5090"])
def test_the_module_answers_from_the_spec(name):
    spec = load_gpu(name)
    with VirtualGPU(spec, cuda=True):
        properties = torch.cuda.get_device_properties("cuda")
        assert torch.cuda.is_available()
        assert (torch.cuda.device_count(), torch.cuda.current_device()) == (1, 0)
        assert torch.cuda.get_device_capability() == divmod(spec.arch, 10)
        assert torch.cuda.get_device_name(0) == properties.name == spec.product
        assert properties.multi_processor_count == spec.sm_count
        assert properties.shared_memory_per_block_optin == spec.limits.shared_bytes_per_block
        assert torch.cuda.mem_get_info()[1] == properties.total_memory == spec.memory.dram_bytes
        assert triton.runtime.driver.active.get_active_torch_device() == torch.device("cuda", 0)
        assert torch.cuda.is_bf16_supported()
        assert int(torch.version.cuda.split(".")[0]) >= 12
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        assert torch.cuda.current_stream().cuda_stream == 0


def test_everything_is_restored():
    names = ("is_available", "Event", "Stream", "device", "manual_seed", "get_device_properties", "default_generators")
    look = lambda: [vars(torch.cuda)[name] for name in names] + [  # noqa: E731
        torch.version.cuda, torch.Generator, threading.Thread.start, torch.autograd._engine_run_backward,
        torch.amp.autocast_mode.autocast.__enter__, torch._C._len_torch_function_stack(),
    ]  # fmt: skip
    before = look()
    x = torch.zeros(2)
    with pytest.raises(RuntimeError, match="two devices"), VirtualGPU("rtx_a6000", cuda=True):
        torch.add(x.cuda(), x)
    assert look() == before
    with pytest.raises(AssertionError, match="not compiled with CUDA"):
        torch.zeros(1, device="cuda")


def test_memory_is_counted_while_it_is_held(gpu):
    assert torch.cuda.memory_allocated() == 0
    x = torch.zeros(1 << 10, device="cuda")  # 4 KiB
    y = x[5:]
    small = torch.zeros(1, device="cuda")  # rounded up to 512 bytes
    assert torch.cuda.memory_allocated() == 4096 + 512
    del x
    assert torch.cuda.memory_allocated() == 4096 + 512
    del y, small
    assert torch.cuda.memory_allocated() == 0
    assert torch.cuda.max_memory_allocated() == 4096 + 512
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == 0


def test_random_numbers_follow_their_seeds(gpu):
    draws = []
    for _ in range(2):
        torch.manual_seed(5)
        draws.append(torch.rand(4, device="cuda"))
        torch.cuda.manual_seed_all(5)
        draws.append(torch.rand(4, device="cuda"))
        draws.append(torch.rand(4, device="cuda", generator=torch.Generator(device="cuda").manual_seed(5)))
    assert all(torch.equal(draws[0], draw) for draw in draws)
    generator = torch.Generator("cuda")
    assert generator.device == torch.device("cuda", 0)
    assert isinstance(torch.default_generator, torch.Generator)
    state = torch.cuda.get_rng_state()
    first = torch.rand(3, device="cuda")
    torch.cuda.set_rng_state(state)
    assert torch.equal(first, torch.rand(3, device="cuda"))


def test_events_take_simulated_time():
    x = torch.ones(64)
    with VirtualGPU("rtx_a6000", cuda=True, timing=True) as gpu:
        x = x.cuda()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        with torch.cuda.stream(torch.cuda.Stream()):
            start.record()
            double[(1,)](x, x, 64, BLOCK=64)
            end.record(torch.cuda.current_stream())
        torch.cuda.synchronize()
        assert start.elapsed_time(end) == pytest.approx(gpu.launches[0].timing.microseconds * 1e-3)
    with VirtualGPU("rtx_a6000", cuda=True):
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        with pytest.raises(LaunchError, match="timing=True"):
            event.elapsed_time(event)


# --- autograd, modules, autocast, threads


def test_autograd_stays_on_the_device(gpu):
    x = torch.arange(100.0, device="cuda", requires_grad=True)
    Doubled.apply(x).sum().backward()
    assert x.grad.is_cuda
    assert torch.equal(x.grad, torch.full_like(x, 2.0))
    (grad,) = torch.autograd.grad((Doubled.apply(x) ** 2).sum(), x)
    assert grad.is_cuda
    assert torch.equal(grad, 8 * x.detach())
    from torch.utils.checkpoint import checkpoint

    checkpoint(Doubled.apply, x, use_reentrant=False).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 4.0))
    host = torch.ones(3, requires_grad=True)
    host.cuda().sum().backward()
    assert places(host.grad) == ["cpu"]


def test_a_model_trains_on_the_device(gpu):
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(16, 16)
            self.norm = torch.nn.LayerNorm(16)
            self.register_buffer("scale", torch.tensor(0.5))

        def forward(self, x):
            return Doubled.apply(self.norm(self.inner(x))) * self.scale

    net = Net().to("cuda")
    assert {str(t.device) for t in [*net.parameters(), *net.buffers()]} == {"cuda:0"}
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    x, y = torch.randn(8, 16, device="cuda"), torch.randn(8, 16, device="cuda")
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert len(gpu.launches) == 8
    assert {str(t.device) for t in [*net.cpu().parameters(), *net.buffers()]} == {"cpu"}


def test_autocast(gpu):
    class Cast(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float16)
        def forward(ctx, x):
            assert x.dtype is torch.float16
            assert not torch.is_autocast_enabled("cuda")
            return x.float()

        @staticmethod
        @torch.amp.custom_bwd(device_type="cuda")
        def backward(ctx, dy):
            return dy

    a = torch.randn(4, 4, device="cuda", requires_grad=True)
    with torch.autocast("cuda"):
        assert torch.is_autocast_enabled("cuda")
        assert (a @ a).dtype is torch.float16
        with torch.autocast("cuda", enabled=False):
            assert (a @ a).dtype is torch.float32
        assert Cast.apply(a).dtype is torch.float32
    with torch.amp.autocast(device_type="cuda", dtype=torch.bfloat16):
        assert (a @ a).dtype is torch.bfloat16
    assert (a @ a).dtype is torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_threads_see_the_names(gpu):
    seen = []
    x = torch.ones(4, device="cuda", requires_grad=True)

    def work():
        y = torch.zeros(4, device="cuda")
        Doubled.apply(x + y).sum().backward()
        seen.append(places(x, y, x.grad))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [["cuda:0"] * 3]


# --- what a kernel may be given


def test_a_cpu_tensor_beside_cuda_tensors_is_refused(gpu):
    x, y = torch.ones(8, device="cuda"), torch.zeros(8)
    with pytest.raises(HostTensorError, match=r"argument out_ptr .* \(cpu tensor\?\)"):
        double[(1,)](x, y, 8, BLOCK=8)
    double[(1,)](x, y.pin_memory(), 8, BLOCK=8)
    double[(1,)](y, y, 8, BLOCK=8)  # a script that knows of no CUDA


def test_all_cpu_tensors_are_refused_where_a_gpu_is_imitated_strictly():
    x = torch.ones(8)
    with VirtualGPU("rtx_a6000", cuda=True, host_tensors=False), pytest.raises(ValueError, match="cpu tensor"):
        double[(1,)](x, x, 8, BLOCK=8)
    with pytest.raises(ValueError, match="needs cuda=True"):
        VirtualGPU("rtx_a6000", host_tensors=False)


# --- whole scripts

TUTORIAL = """
import torch, triton, triton.language as tl
assert torch.cuda.is_available()
torch.manual_seed(0)
device = torch.device(f"cuda:{torch.cuda.current_device()}")
sms = torch.cuda.get_device_properties(device).multi_processor_count

@triton.jit
def row_softmax(out, x, stride, rows, cols, BLOCK: tl.constexpr):
    for row in tl.range(tl.program_id(0), rows, tl.num_programs(0)):
        at = tl.arange(0, BLOCK)
        v = tl.load(x + row * stride + at, mask=at < cols, other=-float("inf"))
        e = tl.exp(v - tl.max(v, axis=0))
        tl.store(out + row * stride + at, e / tl.sum(e, axis=0), mask=at < cols)

x = torch.randn(100, 77, device=device)
y = torch.empty_like(x)
row_softmax[(min(sms, x.shape[0]),)](y, x, x.stride(0), *x.shape, BLOCK=triton.next_power_of_2(x.shape[1]))
torch.cuda.synchronize()
torch.testing.assert_close(y, torch.softmax(x, axis=1))
print(y.device, float(y.sum().round()), sms)
"""


def test_a_script_for_cuda_runs_under_the_command(tmp_path):
    from typer.testing import CliRunner

    from sim.cli import app

    script = tmp_path / "softmax.py"
    script.write_text(TUTORIAL)
    done = CliRunner().invoke(app, ["run", str(script), "--gpu", "rtx_a6000", "--report", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "cuda:0 100.0 84" in done.output


TESTS = """
import pytest, torch, triton, triton.language as tl
from triton._internal_testing import is_cuda, is_hopper

@triton.jit
def fill(x):
    tl.store(x + tl.arange(0, 32), 7.0)

@pytest.mark.skipif(not is_cuda() or not is_hopper(), reason="Hopper only")
def test_hopper(device, virtual_gpu, fresh_knobs):
    x = torch.zeros(32, device=device)
    fill[(1,)](x)
    assert x.is_cuda and (x == 7).all()
    assert len(virtual_gpu.launches) == 1

def test_host_memory():
    with pytest.raises(ValueError):
        fill[(1,)](torch.zeros(32))
"""


@pytest.mark.parametrize(("name", "outcome"), [("h100_sxm", "2 passed"), ("rtx_a6000", "1 passed, 1 skipped")])
def test_the_pytest_plugin(tmp_path, name, outcome):
    (tmp_path / "test_it.py").write_text(textwrap.dedent(TESTS))
    command = [sys.executable, "-m", "pytest", "-p", "gpu_model.pytest_plugin", "--virtual-gpu", name, "-p", "no:xdist"]
    done = subprocess.run([*command, "--rootdir", tmp_path, tmp_path], capture_output=True, text=True, check=False)
    assert outcome in done.stdout, done.stdout + done.stderr
    assert f"sm_{load_gpu(name).arch}" in done.stdout


def test_compiled_functions_run_as_written(gpu):
    @torch.compile
    def double(x):
        assert not torch.compiler.is_compiling()
        return x + x

    @torch.compile(fullgraph=True)
    def triple(x):
        return 3 * x

    x = torch.arange(4.0, device="cuda")
    assert torch.equal(double(x), 2 * x)
    assert triple(x).is_cuda
    assert torch.equal(triple(x), 3 * x)


@pytest.mark.slow
def test_functions_compiled_before_run_as_written():
    seen = []

    @torch.compile(backend="eager")
    def double(x):
        seen.append(torch.compiler.is_compiling())
        return x + x

    with VirtualGPU("rtx_a6000", cuda=True):
        assert double(torch.ones(3, device="cuda")).tolist() == [2.0, 2.0, 2.0]
    assert seen == [False]
