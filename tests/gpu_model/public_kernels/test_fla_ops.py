"""flash-linear-attention's operators beside the references it ships."""

import pytest
import torch

from tests.gpu_model.public_kernels.compare import agree, gates, heads_first, log_decay, normal, ratio, unit

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

B, T, H, D = 1, 96, 2, 32
HALF = torch.float16


def qkv(dtype=torch.float32, make=normal):
    return {
        "q": make(B, T, H, D, dtype=dtype),
        "k": make(B, T, H, D, dtype=dtype),
        "v": normal(B, T, H, D, dtype=dtype),
    }


@pytest.mark.parametrize("form", ["chunk", "fused_chunk", "fused_recurrent"])
def test_linear_attention(form):
    from fla.ops import linear_attn
    from fla.ops.linear_attn.naive import naive_recurrent_linear_attn

    kernel = getattr(linear_attn, f"{form}_linear_attn")
    agree(kernel, naive_recurrent_linear_attn, qkv() | {"normalize": False}, ratio(0.005))


@pytest.mark.parametrize("form", ["chunk", "fused_recurrent", "parallel"])
def test_retention(form):
    from fla.ops import retention
    from fla.ops.retention.naive import naive_retention

    kernel = getattr(retention, f"{form}_retention")
    agree(kernel, heads_first(naive_retention, "q", "k", "v"), qkv(HALF), ratio(0.005))


@pytest.mark.parametrize("form", ["chunk", "fused_recurrent"])
def test_gated_linear_attention(form):
    from fla.ops import gla
    from fla.ops.gla.naive import naive_recurrent_gla

    name = "g" if form == "chunk" else "gk"

    def kernel(gk, **rest):
        return getattr(gla, f"{form}_gla")(**rest, **{name: gk})

    agree(kernel, naive_recurrent_gla, qkv() | {"gk": log_decay(B, T, H, D)}, ratio(0.005))


@pytest.mark.parametrize("form", ["chunk", "fused_recurrent"])
def test_delta_rule(form):
    from fla.ops import delta_rule
    from fla.ops.delta_rule.naive import delta_rule_recurrence

    inputs = qkv(HALF if form == "chunk" else torch.float32) | {"k": unit(B, T, H, D), "beta": gates(B, T, H)}
    if form == "chunk":
        inputs |= {name: inputs[name].detach().to(HALF).requires_grad_() for name in ("k", "beta")}
    reference = heads_first(delta_rule_recurrence, "q", "k", "v", "beta")
    agree(getattr(delta_rule, f"{form}_delta_rule"), reference, inputs, ratio(0.008))


def test_gated_delta_rule_in_chunks():
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule

    inputs = qkv(HALF) | {"k": unit(B, T, H, D, dtype=HALF), "beta": gates(B, T, H), "g": log_decay(B, T, H)}
    agree(chunk_gated_delta_rule, naive_recurrent_gated_delta_rule, inputs, ratio(0.02))


def test_gated_delta_rule_recurrently():
    from fla.ops.gated_delta_rule import fused_recurrent_gated_delta_rule
    from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule

    inputs = qkv() | {"k": unit(B, T, H, D), "beta": gates(B, T, H), "g": log_decay(B, T, H)}
    inputs = {name: value.detach() for name, value in inputs.items()}
    agree(fused_recurrent_gated_delta_rule, naive_recurrent_gated_delta_rule, inputs, ratio(0.002))


@pytest.mark.parametrize("form", ["chunk", "fused_recurrent"])
def test_hgrn(form):
    from fla.ops import hgrn
    from fla.ops.hgrn.naive import naive_recurrent_hgrn

    inputs = {"x": normal(B, T, 48), "g": log_decay(B, T, 48)}
    agree(getattr(hgrn, f"{form}_hgrn"), naive_recurrent_hgrn, inputs, ratio(0.005))


@pytest.mark.parametrize("form", ["chunk", "fused_recurrent", "parallel", "fused_chunk"])
def test_simple_gla(form):
    from fla.ops import simple_gla
    from fla.ops.simple_gla.naive import naive_recurrent_simple_gla

    kernel = getattr(simple_gla, f"{form}_simple_gla")
    agree(kernel, naive_recurrent_simple_gla, qkv() | {"g": log_decay(B, T, H)}, ratio(0.005))


@pytest.mark.parametrize("window", [None, 40])
def test_forgetting_attention(window):
    from fla.ops.forgetting_attn import naive_forgetting_attn, parallel_forgetting_attn

    inputs = qkv(HALF) | {"g": log_decay(B, T, H), "window_size": window}
    agree(parallel_forgetting_attn, naive_forgetting_attn, inputs, ratio(0.005))


def test_softmax_attention():
    from fla.ops.attn import naive_parallel_attn, parallel_attn

    inputs = qkv(HALF) | {"g": log_decay(B, T, H)}

    def reference(q, k, v, g):
        return naive_parallel_attn(q.float(), k.float(), v.float(), g=g)

    agree(parallel_attn, reference, inputs, ratio(0.005))


@pytest.mark.parametrize("form", ["parallel", "fused_chunk"])
def test_based(form):
    from fla.ops import based
    from fla.ops.based.naive import naive_parallel_based

    inputs = {"q": normal(B, T, H, 16), "k": normal(B, T, H, 16), "v": normal(B, T, H, D)}
    reference = heads_first(naive_parallel_based, "q", "k", "v")
    agree(getattr(based, f"{form}_based"), reference, inputs, ratio(0.005))


@pytest.mark.parametrize("form", ["chunk", "fused_recurrent"])
def test_rwkv6(form):
    from fla.ops import rwkv6
    from fla.ops.rwkv6.recurrent_naive import naive_recurrent_rwkv6

    inputs = {"r": normal(B, T, H, D), "k": normal(B, T, H, D), "v": normal(B, T, H, D)}
    inputs |= {"w": log_decay(B, T, H, D), "u": normal(H, D)}

    def reference(r, **rest):
        return heads_first(naive_recurrent_rwkv6, "q", "k", "v", "w")(q=r, **rest)

    agree(getattr(rwkv6, f"{form}_rwkv6"), reference, inputs, ratio(0.005))


def test_rwkv7_in_chunks():
    from fla.ops.generalized_delta_rule.dplr.naive import dplr_recurrence
    from fla.ops.rwkv7 import chunk_rwkv7

    direction = unit(B, T, H, D).detach()
    inputs = {"r": normal(B, T, H, D), "k": normal(B, T, H, D), "v": normal(B, T, H, D)}
    inputs |= {"w": log_decay(B, T, H, D, normaliser=4.0), "a": (-direction).requires_grad_()}
    inputs |= {"b": (direction * torch.rand(B, T, H, D, device="cuda")).detach().requires_grad_()}

    def reference(r, w, k, v, a, b):
        names = ("q", "k", "v", "alpha", "beta", "gk")
        return heads_first(dplr_recurrence, *names)(q=r * D**0.5, k=k, v=v, alpha=a, beta=b, gk=w)

    agree(chunk_rwkv7, reference, inputs, ratio(0.01))


def test_generalised_delta_rule_of_identity_plus_low_rank():
    from fla.ops.generalized_delta_rule import chunk_iplr_delta_rule
    from fla.ops.generalized_delta_rule.iplr.naive import iplr_recurrence

    direction = unit(B, T, H, D).detach()
    inputs = {
        "q": normal(B, T, H, D),
        "k": normal(B, T, H, D),
        "v": normal(B, T, H, D),
        "a": -direction,
        "b": direction,
    }
    inputs = {name: value.detach().to(HALF) for name, value in inputs.items()}

    def reference(a, b, **rest):
        return heads_first(iplr_recurrence, "q", "k", "v", "alpha", "beta")(alpha=a, beta=b, **rest)

    agree(chunk_iplr_delta_rule, reference, inputs, ratio(0.01))


@pytest.mark.parametrize("form", ["chunk", "fused_recurrent"])
def test_gated_slot_attention(form):
    from fla.ops import gsa
    from fla.ops.gsa.naive import naive_recurrent_gsa

    inputs = qkv() | {"s": normal(B, T, H, 16), "g": log_decay(B, T, H, 16)}
    agree(getattr(gsa, f"{form}_gsa"), naive_recurrent_gsa, inputs, ratio(0.005))


def test_kimi_delta_attention_in_chunks():
    from fla.ops.kda import chunk_kda
    from fla.ops.kda.naive import naive_recurrent_kda

    inputs = qkv(HALF) | {"q": unit(B, T, H, D, dtype=HALF), "k": unit(B, T, H, D, dtype=HALF)}
    inputs |= {"beta": gates(B, T, H), "g": log_decay(B, T, H, D)}
    agree(chunk_kda, naive_recurrent_kda, inputs, ratio(0.02))


def test_native_sparse_attention():
    from fla.ops.nsa import naive_nsa, parallel_nsa

    heads, block, chosen = 16, 32, 2
    inputs = {"q": normal(B, T, heads, D, dtype=HALF), "k": normal(B, T, 1, D, dtype=HALF)}
    inputs |= {"v": normal(B, T, 1, D, dtype=HALF), "g_slc": gates(B, T, heads, dtype=HALF)}
    indices = torch.full((B, T, 1, chosen), T, dtype=torch.long, device="cuda")
    for t in range(T):
        order = torch.randperm(max(1, -(-t // block)))[:chosen]
        indices[0, t, 0, : len(order)] = order
    inputs |= {"block_indices": indices.sort(-1)[0], "block_counts": chosen, "block_size": block}
    agree(parallel_nsa, naive_nsa, inputs, ratio(0.005))


def test_path_attention():
    from fla.ops.path_attn import naive_path_attn, parallel_path_attn

    inputs = qkv(HALF) | {"w": unit(B, T, H, D), "beta": gates(B, T, H), "g": log_decay(B, T, H), "scale": D**-0.5}
    agree(parallel_path_attn, naive_path_attn, inputs, ratio(0.008))


def test_stick_breaking_attention():
    from fla.ops.stickbreaking_attn import naive_stickbreaking_attn, parallel_stickbreaking_attn

    agree(parallel_stickbreaking_attn, naive_stickbreaking_attn, qkv(), ratio(0.008), outputs=2)


def test_test_time_training():
    from fla.ops.ttt import chunk_ttt_linear
    from fla.ops.ttt.naive import chunk_ttt_linear_ref

    inputs = {"q": unit(B, T, H, D), "k": unit(B, T, H, D), "v": normal(B, T, H, D)}
    inputs |= {"w": normal(H, D), "b": normal(H, D), "scale": D**-0.5}
    inputs |= {"eta": (torch.rand(B, T, H, 1, device="cuda") * 5e-3).requires_grad_()}

    def reference(q, **rest):
        return chunk_ttt_linear_ref(q=q * 1.0, **rest)  # it scales q in place

    agree(chunk_ttt_linear, reference, inputs, ratio(0.01))


def test_comba():
    from fla.ops.comba import chunk_comba, naive_chunk_comba

    inputs = qkv(HALF) | {"k": unit(B, T, H, D, dtype=HALF), "p": unit(B, T, H, D, dtype=HALF)}
    inputs |= {"beta": gates(B, T, H, dtype=HALF), "g": log_decay(B, T, H)}
    inputs = {name: value.detach() for name, value in inputs.items()}
    agree(chunk_comba, naive_chunk_comba, inputs, ratio(0.01))


def test_log_linear_attention():
    from fla.ops.log_linear_attn import chunk_log_linear_attn
    from fla.ops.log_linear_attn.naive import naive_log_linear_attn

    time, state = 128, 64
    inputs = {"q": normal(B, time, H, state), "k": normal(B, time, H, state), "v": normal(B, time, H, state)}
    inputs |= {"g": log_decay(B, time, H), "level_scales": gates(B, time, H, 8)}
    inputs = {name: value.detach() for name, value in inputs.items()}
    agree(chunk_log_linear_attn, naive_log_linear_attn, inputs, ratio(0.01))


def test_abc_attention():
    from fla.ops.abc import chunk_abc
    from fla.ops.abc.naive import naive_cumsum_abc

    agree(
        chunk_abc, heads_first(naive_cumsum_abc, "q", "k", "v", "s"), qkv() | {"s": normal(B, T, H, 16)}, ratio(0.005)
    )


def test_mesa_net():
    from fla.ops.mesa_net import chunk_mesa_net, naive_mesa_net_exact

    inputs = {"q": unit(B, T, H, D), "k": unit(B, T, H, D), "v": normal(B, T, H, D), "g": log_decay(B, T, H)}
    inputs |= {"beta": gates(B, T, H), "lamb": torch.rand(H, D, device="cuda") * 0.75 + 0.25}
    inputs = {name: value.detach() for name, value in inputs.items()}
    agree(chunk_mesa_net, naive_mesa_net_exact, inputs, ratio(0.01))
