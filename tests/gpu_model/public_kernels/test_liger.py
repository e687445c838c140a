"""Liger's kernels beside plain torch."""

import pytest
import torch
import torch.nn.functional as F

from tests.gpu_model.public_kernels.compare import agree, normal, within

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

BF16 = torch.bfloat16
FINE = within(1e-5, 1e-5)
ROWS, COLUMNS = 24, 200  # a row is no power of two long
IGNORED = -100


def rms_norm(x, eps=1e-6):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def labels(rows, classes):
    values = torch.randint(0, classes, (rows,), device="cuda")
    values[::5] = IGNORED
    return values


@pytest.mark.parametrize(("dtype", "check"), [(torch.float32, within(1e-5, 1e-4)), (BF16, within(2e-2, 1e-1))])
@pytest.mark.parametrize(("casting", "offset"), [("llama", 0.0), ("gemma", 1.0)])
def test_rms_norm(dtype, check, casting, offset):
    from liger_kernel.transformers.functional import liger_rms_norm

    def kernel(x, w):
        return liger_rms_norm(x, w, 1e-6, offset, casting, False)

    def reference(x, w):
        scaled = rms_norm(x.float())
        if casting == "llama":
            return (offset + w) * scaled.to(x.dtype)
        return (scaled * (offset + w.float())).to(x.dtype)

    agree(kernel, reference, {"x": normal(ROWS, COLUMNS, dtype=dtype), "w": normal(COLUMNS, dtype=dtype)}, check)


def test_layer_norm():
    from liger_kernel.transformers.functional import liger_layer_norm

    inputs = {"x": normal(ROWS, COLUMNS), "w": normal(COLUMNS), "b": normal(COLUMNS)}
    agree(
        lambda x, w, b: liger_layer_norm(x, w, b, 1e-6),
        lambda x, w, b: F.layer_norm(x, (COLUMNS,), w, b, 1e-6),
        inputs,
        within(1e-5, 1e-4),
    )


def test_group_norm():
    from liger_kernel.transformers.functional import liger_group_norm

    inputs = {"x": normal(2, 12, 40), "w": normal(12), "b": normal(12)}
    agree(
        lambda x, w, b: liger_group_norm(x, w, b, 12, 3, 1e-6),
        lambda x, w, b: F.group_norm(x, 3, w, b, 1e-6),
        inputs,
        within(1e-4, 1e-4),
    )


def test_fused_add_rms_norm():
    from liger_kernel.transformers.functional import liger_fused_add_rms_norm

    def reference(x, r, w):
        total = x + r
        return rms_norm(total) * w, total

    inputs = {"x": normal(ROWS, COLUMNS), "r": normal(ROWS, COLUMNS), "w": normal(COLUMNS)}
    agree(
        lambda x, r, w: liger_fused_add_rms_norm(x, r, w, 1e-6, in_place=False),
        reference,
        inputs,
        within(1e-5, 1e-4),
        outputs=2,
    )


def test_poly_norm():
    from liger_kernel.transformers.functional import liger_poly_norm

    def reference(x, w, b):
        return w[0] * rms_norm(x**3) + w[1] * rms_norm(x**2) + w[2] * rms_norm(x) + b

    inputs = {"x": normal(ROWS, COLUMNS), "w": normal(3), "b": normal()}
    agree(lambda x, w, b: liger_poly_norm(x, w, b, in_place=False), reference, inputs, within(1e-4, 1e-4))


def test_dynamic_tanh():
    from liger_kernel.transformers.functional import liger_dyt

    inputs = {"x": normal(2, 12, COLUMNS), "alpha": normal(1), "gamma": normal(COLUMNS), "beta": normal(COLUMNS)}
    agree(
        lambda x, alpha, gamma, beta: liger_dyt(x, alpha, gamma, beta),
        lambda x, alpha, gamma, beta: gamma * torch.tanh(alpha * x) + beta,
        inputs,
        within(1e-4, 1e-4),
    )


@pytest.mark.parametrize(("dtype", "check"), [(torch.float32, within(1e-5, 1e-5)), (BF16, within(2e-2, 2e-2))])
def test_swiglu(dtype, check):
    from liger_kernel.transformers.functional import liger_swiglu

    inputs = {"a": normal(ROWS, COLUMNS, dtype=dtype), "b": normal(ROWS, COLUMNS, dtype=dtype)}
    agree(lambda a, b: liger_swiglu(a, b), lambda a, b: F.silu(a.float()).to(a.dtype) * b, inputs, check)


def test_geglu():
    from liger_kernel.transformers.functional import liger_geglu

    inputs = {"a": normal(ROWS, COLUMNS), "b": normal(ROWS, COLUMNS)}
    agree(lambda a, b: liger_geglu(a, b), lambda a, b: F.gelu(a, approximate="tanh") * b, inputs, within(1e-5, 1e-5))


def test_relu_squared():
    from liger_kernel.transformers.functional import liger_relu_squared

    agree(lambda x: liger_relu_squared(x), lambda x: F.relu(x) ** 2, {"x": normal(ROWS, COLUMNS)}, FINE)


@pytest.mark.parametrize("columns", [COLUMNS, 5000])
def test_softmax(columns):
    from liger_kernel.transformers.functional import liger_softmax

    agree(lambda x: liger_softmax(x), lambda x: x.softmax(-1), {"x": normal(4, columns)}, FINE)


def test_sparsemax():
    from liger_kernel.transformers.functional import liger_sparsemax

    def reference(x):
        ordered = x.sort(-1, descending=True)[0]
        sums, ranks = ordered.cumsum(-1) - 1, torch.arange(1, x.shape[-1] + 1, device=x.device)
        support = (ranks * ordered > sums).sum(-1, keepdim=True)
        return (x - sums.gather(-1, support - 1) / support).clamp(min=0)

    agree(lambda x: liger_sparsemax(x), reference, {"x": normal(ROWS, COLUMNS)}, within(1e-5, 1e-5))


def rotated(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def angles(time, dim):
    frequencies = 10000.0 ** (-torch.arange(0, dim, 2, device="cuda") / dim)
    phase = torch.arange(time, device="cuda")[:, None] * frequencies
    return torch.cat((phase, phase), -1)


def test_rotary_embedding():
    from liger_kernel.transformers.functional import liger_rope

    phase = angles(12, 32)[None]
    inputs = {"q": normal(2, 4, 12, 32), "k": normal(2, 2, 12, 32), "cos": phase.cos(), "sin": phase.sin()}
    # The kernel rotates q and k where they lie, which autograd refuses for leaves: hand it copies.
    agree(
        lambda q, k, cos, sin: liger_rope(q.clone(), k.clone(), cos, sin),
        lambda q, k, cos, sin: (rotated(q, cos[:, None], sin[:, None]), rotated(k, cos[:, None], sin[:, None])),
        inputs,
        within(1e-5, 1e-5),
        outputs=2,
    )


def test_multimodal_rotary_embedding():
    from liger_kernel.transformers.functional import liger_qwen2vl_mrope

    section = [4, 6, 6]
    phase = torch.stack([angles(12, 32).roll(i, 0) for i in range(3)])[:, None].expand(3, 2, 12, 32)

    def reference(q, k, cos, sin):
        def mixed(table):
            parts = table.split(section * 2, dim=-1)
            return torch.cat([part[i % 3] for i, part in enumerate(parts)], -1)[:, None]

        return rotated(q, mixed(cos), mixed(sin)), rotated(k, mixed(cos), mixed(sin))

    inputs = {"q": normal(2, 4, 12, 32), "k": normal(2, 2, 12, 32), "cos": phase.cos(), "sin": phase.sin()}
    agree(
        lambda q, k, cos, sin: liger_qwen2vl_mrope(q.clone(), k.clone(), cos, sin, section),
        reference,
        inputs,
        within(1e-5, 1e-5),
        outputs=2,
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(reduction):
    from liger_kernel.transformers.functional import liger_cross_entropy

    inputs = {"x": normal(ROWS, 500), "target": labels(ROWS, 500)}
    agree(
        lambda x, target: liger_cross_entropy(x.clone(), target, reduction=reduction, label_smoothing=0.1),
        lambda x, target: F.cross_entropy(x, target, reduction=reduction, label_smoothing=0.1),
        inputs,
        within(1e-6, 1e-6) if reduction != "sum" else within(1e-5, 1e-5),
    )


def test_cross_entropy_with_softcap():
    from liger_kernel.transformers.functional import liger_cross_entropy

    inputs = {"x": normal(ROWS, 500, scale=20.0), "target": labels(ROWS, 500)}
    agree(
        lambda x, target: liger_cross_entropy(x.clone(), target, softcap=30.0),
        lambda x, target: F.cross_entropy(30.0 * torch.tanh(x / 30.0), target),
        inputs,
        within(1e-5, 1e-5),
    )


@pytest.mark.parametrize("biased", [False, True])
def test_fused_linear_cross_entropy(biased):
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    inputs = {"x": normal(ROWS, 64), "weight": normal(300, 64, scale=0.1), "target": labels(ROWS, 300)}
    inputs["bias"] = normal(300) if biased else None
    agree(
        lambda x, weight, target, bias: liger_fused_linear_cross_entropy(x, weight, target, bias=bias),
        lambda x, weight, target, bias: F.cross_entropy(F.linear(x, weight, bias), target),
        inputs,
        within(1e-4, 1e-4),
    )


def jensen_shannon(x, target, beta):
    p, q = x.exp(), target.exp()
    middle = beta * q + (1 - beta) * p
    return (beta * q * (target - middle.log()) + (1 - beta) * p * (x - middle.log())).sum(-1).mean()


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_jensen_shannon_divergence(beta):
    from liger_kernel.transformers.functional import liger_jsd

    inputs = {"x": normal(ROWS, COLUMNS, grad=False).log_softmax(-1).requires_grad_()}
    inputs["target"] = normal(ROWS, COLUMNS, grad=False).log_softmax(-1)
    agree(
        lambda x, target: liger_jsd(x, target, beta=beta),
        lambda x, target: jensen_shannon(x, target, beta),
        inputs,
        within(1e-5, 1e-7),
    )


def test_fused_linear_jensen_shannon_divergence():
    from liger_kernel.transformers.functional import liger_fused_linear_jsd

    inputs = {"x": normal(ROWS, 64), "weight": normal(300, 64, scale=0.1)}
    inputs |= {"teacher": normal(ROWS, 64, grad=False), "teacher_weight": normal(300, 64, scale=0.1, grad=False)}

    def reference(x, weight, teacher, teacher_weight):
        student, teacher = (x @ weight.T).log_softmax(-1), (teacher @ teacher_weight.T).log_softmax(-1)
        return jensen_shannon(student, teacher, 0.5)

    agree(
        lambda x, weight, teacher, teacher_weight: liger_fused_linear_jsd(x, weight, teacher, teacher_weight),
        reference,
        inputs,
        within(1e-4, 1e-5),
    )


@pytest.mark.parametrize("reduction", ["batchmean", "sum", "mean"])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_kullback_leibler_divergence(reduction, logarithmic):
    from liger_kernel.transformers.functional import liger_kl_div

    target = normal(ROWS, COLUMNS, grad=False).log_softmax(-1)
    inputs = {"x": normal(ROWS, COLUMNS, grad=False).log_softmax(-1).requires_grad_()}
    inputs["target"] = target if logarithmic else target.exp()
    agree(
        lambda x, target: liger_kl_div(x, target, reduction=reduction, log_target=logarithmic),
        lambda x, target: F.kl_div(x, target, reduction=reduction, log_target=logarithmic),
        inputs,
        within(1e-5, 1e-5),
    )


@pytest.mark.parametrize("reduction", ["batchmean", "sum"])
def test_total_variation_distance(reduction):
    from liger_kernel.transformers.functional import liger_tvd

    def reference(p, q):
        total = 0.5 * (p - q).abs().sum()
        return total / len(p) if reduction == "batchmean" else total

    inputs = {"p": normal(ROWS, COLUMNS, grad=False).softmax(-1).requires_grad_()}
    inputs["q"] = normal(ROWS, COLUMNS, grad=False).softmax(-1)
    agree(lambda p, q: liger_tvd(p, q, reduction=reduction), reference, inputs, within(1e-5, 1e-6))


def test_multi_token_attention():
    from liger_kernel.transformers.functional import liger_multi_token_attention

    def causal(scores, value):
        return scores.masked_fill(torch.ones(scores.shape[-2:], device="cuda").triu(1).bool(), value)

    def reference(scores, weight, bias):
        mixed = F.conv2d(causal(scores, float("-inf")).softmax(-1), weight, bias, padding=1)
        return causal(mixed, 0.0)

    inputs = {"scores": normal(2, 3, 24, 24), "weight": normal(3, 3, 3, 3), "bias": normal(3)}
    agree(
        lambda scores, weight, bias: liger_multi_token_attention(scores, weight, bias, padding=1),
        reference,
        inputs,
        within(1e-4, 1e-4),
    )


def test_embedding():
    from liger_kernel.ops.experimental.embedding import LigerEmbeddingFunction

    indices = torch.randint(0, 40, (3, 30), device="cuda")  # rows repeat: the gradient is a sum of atomics
    agree(
        lambda weight: LigerEmbeddingFunction.apply(weight, indices),
        lambda weight: F.embedding(indices, weight),
        {"weight": normal(40, 96)},
        within(1e-4, 1e-5),
    )


def test_group_relative_policy_loss():
    from liger_kernel.ops import GrpoLossFunction

    batch, time, classes = 2, 9, 150
    ids = torch.randint(0, classes, (batch, time), device="cuda")
    advantages = normal(batch, grad=False)
    old, new = normal(batch, time, scale=0.1, grad=False) - 5, normal(batch, time, scale=0.1, grad=False) - 5
    low, high, beta, temperature = 0.2, 0.4, 0.04, 0.9

    def reference(logits):
        chosen = (logits[:, :-1] / temperature).log_softmax(-1).gather(-1, ids[..., None])[..., 0]
        ratio = (chosen - old).exp()
        loss = -torch.minimum(ratio * advantages[:, None], ratio.clamp(1 - low, 1 + high) * advantages[:, None])
        return loss + beta * ((new - chosen).exp() - (new - chosen) - 1)

    def kernel(logits):
        return GrpoLossFunction.apply(
            logits.clone(), old, new, ids, advantages, None, temperature, beta, low, high, False, "grpo", None, False
        )[0]

    agree(kernel, reference, {"logits": normal(batch, time + 1, classes)}, within(1e-4, 1e-4))


def test_tiled_mlp():
    from liger_kernel.ops import apply_tiled_mlp
    from liger_kernel.transformers.functional import liger_swiglu

    class Gated(torch.nn.Module):
        def __init__(self, product):
            super().__init__()
            self.product = product
            self.gate, self.up, self.down = (torch.nn.Linear(32, 32, bias=False, device="cuda") for _ in range(3))

        def forward(self, x):
            return self.down(self.product(self.gate(x), self.up(x)))

    fused, plain = Gated(liger_swiglu), Gated(lambda a, b: F.silu(a) * b)
    plain.load_state_dict(fused.state_dict())
    agree(
        lambda x: apply_tiled_mlp(lambda module, part: module(part), fused, x, num_shards=3),
        lambda x: plain(x),
        {"x": normal(2, 24, 32)},
        within(1e-4, 1e-4),
    )


def test_attention_over_layers():
    from liger_kernel.transformers.functional import liger_attn_res

    def reference(blocks, query, norm):
        keys = rms_norm(blocks) * norm
        weights = torch.einsum("d,nbtd->nbt", query, keys).softmax(0)
        return torch.einsum("nbt,nbtd->btd", weights, blocks)

    inputs = {"blocks": normal(4, 2, 6, 64), "query": normal(64, scale=0.2), "norm": normal(64)}
    agree(lambda blocks, query, norm: liger_attn_res(blocks, query, norm), reference, inputs, within(1e-4, 1e-4))
