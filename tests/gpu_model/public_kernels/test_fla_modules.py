"""flash-linear-attention's layers and small operators beside plain torch or the references it ships."""

import pytest
import torch
import torch.nn.functional as F

from tests.gpu_model.public_kernels.compare import agree, log_decay, normal, ratio

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

B, T, H, D = 2, 70, 2, 48
CLOSE = ratio(1e-3)


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm", "group_norm"])
@pytest.mark.parametrize("residual", [False, True])
def test_norms(kind, residual):
    from fla.modules.norm import layernorm

    groups = {"num_groups": 3} if kind == "group_norm" else {}
    inputs = {"x": normal(B * T, 96), "weight": normal(96), "bias": normal(96), "eps": 1e-5, **groups}
    if residual:
        inputs["residual"] = normal(B * T, 96)
    agree(getattr(layernorm, kind), getattr(layernorm, f"{kind}_ref"), inputs, CLOSE)


@pytest.mark.parametrize("activation", ["swish", "sigmoid"])
def test_gated_rms_norm(activation):
    from fla.modules.norm.fused_norm_gate import rms_norm_gated

    gate = F.silu if activation == "swish" else torch.sigmoid

    def reference(x, g, weight):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight * gate(g)

    inputs = {"x": normal(B, T, D), "g": normal(B, T, D), "weight": normal(D)}
    agree(lambda x, g, weight: rms_norm_gated(x, g, weight, None, activation), reference, inputs, CLOSE)


def test_l2_norm():
    from fla.modules.norm.l2norm import l2norm

    def reference(x):
        return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + 1e-6)

    agree(lambda x: l2norm(x), reference, {"x": normal(B, T, H, D)}, CLOSE)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_embedding(interleaved):
    from fla.modules.rotary import rotary_embedding, rotary_embedding_ref

    phase = torch.arange(T, device="cuda")[:, None] * 10000.0 ** (-torch.arange(0, 32, 2, device="cuda") / 32)
    inputs = {"x": normal(B, T, H, 32), "cos": phase.cos(), "sin": phase.sin(), "interleaved": interleaved}
    agree(rotary_embedding, rotary_embedding_ref, inputs, CLOSE)


ACTIVATIONS = {
    "swish": F.silu,
    "sigmoid": torch.sigmoid,
    "logsigmoid": F.logsigmoid,
    "fast_gelu_impl": lambda x: F.gelu(x, approximate="tanh"),
    "sqrelu": lambda x: F.relu(x) ** 2,
    "elu_p1": lambda x: F.elu(x) + 1,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    from fla.modules import activations

    agree(lambda x: getattr(activations, name)(x), lambda x: ACTIVATIONS[name](x), {"x": normal(B, T, D)}, CLOSE)


def test_swiglu_and_its_product_with_a_matrix():
    from fla.modules.activations import swiglu, swiglu_linear

    inputs = {"x": normal(B, T, D), "y": normal(B, T, D)}
    agree(lambda x, y: swiglu(x, y), lambda x, y: F.silu(x) * y, inputs, CLOSE)
    inputs |= {"weight": normal(24, D), "bias": normal(24)}
    agree(
        lambda x, y, weight, bias: swiglu_linear(x, y, weight, bias),
        lambda x, y, weight, bias: F.linear(F.silu(x) * y, weight, bias),
        inputs,
        CLOSE,
    )


def targets(rows, classes):
    values = torch.randint(0, classes, (rows,), device="cuda")
    values[::7] = -100
    return values


def test_cross_entropy():
    from fla.modules.fused_cross_entropy import FusedCrossEntropyLoss

    inputs = {"x": normal(B * T, 700), "target": targets(B * T, 700)}
    loss = FusedCrossEntropyLoss(label_smoothing=0.1)
    agree(
        lambda x, target: loss(x, target),
        lambda x, target: F.cross_entropy(x, target, label_smoothing=0.1),
        inputs,
        CLOSE,
    )


def test_fused_linear_cross_entropy():
    from fla.modules.fused_linear_cross_entropy import fused_linear_cross_entropy_loss

    inputs = {"x": normal(B * T, D), "weight": normal(300, D, scale=0.1), "bias": normal(300)}
    inputs["target"] = targets(B * T, 300)
    agree(
        lambda x, target, weight, bias: fused_linear_cross_entropy_loss(x, target, weight, bias, num_chunks=4),
        lambda x, target, weight, bias: F.cross_entropy(F.linear(x, weight, bias), target),
        inputs,
        ratio(2e-3),
    )


def test_fused_kullback_leibler_divergence():
    from fla.modules.fused_kl_div import fused_kl_div_loss

    def reference(x, target_x, weight, target_weight):
        target = F.linear(target_x, target_weight).softmax(-1)
        return F.kl_div(F.linear(x, weight).log_softmax(-1), target, reduction="batchmean")

    inputs = {"x": normal(64, D), "weight": normal(300, D, scale=0.2)}
    inputs |= {"target_x": normal(64, D, grad=False), "target_weight": normal(300, D, scale=0.2, grad=False)}
    agree(lambda **inputs: fused_kl_div_loss(**inputs), reference, inputs, ratio(2e-3))


def test_group_relative_policy_loss():
    from fla.modules.grpo.ops import fused_grpo_loss, grpo_loss_torch

    length, classes = 9, 300
    inputs = {"logits": normal(B, length + 1, classes), "ref_logp": normal(B, length, grad=False)}
    inputs |= {"input_ids": torch.randint(0, classes, (B, length + 4), device="cuda")}
    inputs |= {"advantages": normal(B, grad=False)}
    agree(fused_grpo_loss, grpo_loss_torch, inputs, ratio(1e-3))


def test_token_shift():
    from fla.modules.token_shift import token_shift

    agree(lambda x: token_shift(x), lambda x: F.pad(x, (0, 0, 1, -1)) - x, {"x": normal(B, T, D)}, CLOSE)


@pytest.mark.parametrize("activation", [None, "swish"])
def test_causal_convolution(activation):
    from fla.modules.causal_conv1d import causal_conv1d

    def reference(x, weight, bias, residual):
        moved = F.conv1d(x.transpose(1, 2), weight[:, None], bias, padding=3, groups=D)[..., :T].transpose(1, 2)
        return (moved if activation is None else F.silu(moved)) + residual

    inputs = {"x": normal(B, T, D), "weight": normal(D, 4), "bias": normal(D), "residual": normal(B, T, D)}
    agree(lambda **inputs: causal_conv1d(**inputs, activation=activation)[0], reference, inputs, CLOSE)


@pytest.mark.parametrize("shape", [(B, T, H), (B, T, H, D)])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumulative_sums(shape, reverse):
    from fla.ops.utils import chunk_global_cumsum, chunk_local_cumsum

    def sums(s, chunk):
        parts = s.split(chunk, 1)
        return torch.cat([p.flip(1).cumsum(1).flip(1) if reverse else p.cumsum(1) for p in parts], 1)

    inputs = {"s": log_decay(*shape).detach()}
    agree(lambda s: chunk_local_cumsum(s, 32, reverse=reverse), lambda s: sums(s, 32), inputs, CLOSE)
    agree(lambda s: chunk_global_cumsum(s, reverse=reverse), lambda s: sums(s, T), inputs, CLOSE)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_inverse_of_unit_triangular_blocks(size):
    from fla.ops.utils import solve_tril

    def reference(a):
        parts = torch.nn.functional.pad(a, (0, 0, 0, 0, 0, -T % size)).unflatten(1, (-1, size)).transpose(2, 3)
        inverse = torch.linalg.inv(parts + torch.eye(size, device="cuda"))
        return inverse.transpose(2, 3).flatten(1, 2)[:, :T]

    rows = torch.arange(T, device="cuda")[:, None] % size
    below = (torch.arange(size, device="cuda") < rows)[None, :, None, :]
    agree(lambda a: solve_tril(a), reference, {"a": normal(B, T, H, size, scale=0.1, grad=False) * below}, ratio(2e-3))


def test_mean_pooling():
    from fla.ops.utils import mean_pooling

    def reference(x):
        return torch.stack([part.mean(1) for part in x.split(32, 1)], 1)

    agree(lambda x: mean_pooling(x, 32), reference, {"x": normal(B, T, H, D)}, CLOSE)


def test_softmax_and_logsumexp():
    from fla.ops.utils import logsumexp_fwd, softmax_bwd, softmax_fwd

    inputs = {"x": normal(B * T, 300, grad=False)}
    agree(softmax_fwd, lambda x: x.softmax(-1), inputs, CLOSE)
    agree(logsumexp_fwd, lambda x: x.logsumexp(-1), inputs, CLOSE)
    p, dp = inputs["x"].softmax(-1), normal(B * T, 300, grad=False)
    agree(softmax_bwd, lambda p, dp: p * (dp - (p * dp).sum(-1, keepdim=True)), {"p": p, "dp": dp}, CLOSE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_matrix_product(dtype):
    from fla.ops.utils import addmm, matmul

    inputs = {"a": normal(100, 72, dtype=dtype, grad=False), "b": normal(72, 40, dtype=dtype, grad=False)}
    agree(lambda a, b: matmul(a, b), lambda a, b: a.float() @ b.float(), inputs, ratio(5e-3))
    inputs["x"] = normal(100, 40, dtype=dtype, grad=False)
    agree(
        lambda x, a, b: addmm(x, a, b),
        lambda x, a, b: x.float() + a.float() @ b.float(),
        inputs,
        ratio(5e-3),
    )


def test_sinkhorn():
    from fla.ops.utils import sinkhorn
    from fla.ops.utils.sinkhorn.naive import naive_sinkhorn

    agree(lambda logits: sinkhorn(logits), naive_sinkhorn, {"logits": normal(B, T, 4, 4)}, CLOSE)


def test_packing_sequences():
    from fla.ops.utils import pack_sequence, unpack_sequence

    ends = torch.tensor([0, 5, 30, 47], device="cuda")
    x = torch.randn(3, 25, 24, device="cuda")

    def reference(x):
        return torch.cat([row[25 - n :] for row, n in zip(x, ends.diff().tolist(), strict=True)])[None]

    agree(lambda x: pack_sequence(x, ends).view(1, 47, 24), reference, {"x": x}, CLOSE)
    packed = pack_sequence(x, ends)
    restored = unpack_sequence(packed, ends)
    for row, back, n in zip(x, restored, ends.diff().tolist(), strict=True):
        assert torch.equal(row[25 - n :], back[25 - n :])
        assert (back[: 25 - n] == 0).all()


def test_linear_layer_of_quantised_weights():
    from fla.modules.fused_bitlinear import BitLinear, FusedBitLinear

    fused, plain = FusedBitLinear(D, 24).to("cuda"), BitLinear(D, 24).to("cuda")
    plain.load_state_dict(fused.state_dict())
    agree(lambda x: fused(x), lambda x: plain(x), {"x": normal(B * T, D)}, ratio(5e-3))
