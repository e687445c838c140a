"""Flash attention against float64 attention, its log-sum-exp, and properties that must hold to the bit."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from workloads.flash_attention import attention, check, flash_attention


def heads(sequence: int, d: int = 64, count: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sequence + d)
    q, k, v = torch.randn(3, 1, count, sequence, d, generator=generator).half()
    return q, k, v


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("sequence", "d"), [(128, 64), (100, 32), (1, 16), (65, 64)])
def test_within_bound(gpu, causal, sequence, d):
    q, k, v = heads(sequence, d, count=2)
    assert check(q, k, v, causal, *flash_attention(q, k, v, causal))[1] <= 1


@pytest.mark.parametrize("causal", [True, False])
def test_reference_is_torch_attention(causal):
    q, k, v = heads(50, 32)
    exact = scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=causal)
    torch.testing.assert_close(attention(q, k, v, causal)[0] @ v.double(), exact, rtol=1e-12, atol=1e-12)


def test_first_query_sees_its_own_key_only(gpu):
    # One weight of exactly 1 and a sum of exactly 1: the output is the first value, bit for bit.
    q, k, v = heads(128)
    assert torch.equal(flash_attention(q, k, v, causal=True)[0][..., 0, :], v[..., 0, :])


def test_later_keys_do_not_matter(gpu):
    q, k, v = heads(128)
    out, lse = flash_attention(q, k, v, causal=True)
    k[..., 70:, :] = 7
    v[..., 70:, :] = -3
    changed, changed_lse = flash_attention(q, k, v, causal=True)
    assert torch.equal(changed[..., :70, :], out[..., :70, :])
    assert torch.equal(changed_lse[..., :70], lse[..., :70])


@pytest.mark.parametrize("stages", [1, 3])
def test_stages_do_not_change_a_bit(gpu, stages):
    q, k, v = heads(128)
    out, lse = flash_attention(q, k, v, stages=stages)
    first, first_lse = flash_attention(q, k, v, stages=2)
    assert torch.equal(out, first)
    assert torch.equal(lse, first_lse)


def test_heads_are_independent(gpu):
    q, k, v = heads(64, 32, count=3)
    out = flash_attention(q, k, v)[0]
    alone = flash_attention(*(t[:, 1:2].contiguous() for t in (q, k, v)))[0]
    assert torch.equal(out[:, 1:2], alone)


def test_wide_scores(gpu):
    q, k, v = heads(64)
    q *= 8  # scores up to about 40: nearly one-hot weights, tiny ones flushed in float16
    assert check(q, k, v, True, *flash_attention(q, k, v))[1] <= 1


def test_wrong_shape_is_refused():
    q, k, v = heads(8)
    with pytest.raises(ValueError, match=r"flash_attention: k is \(1, 1, 4, 64\) torch.float16"):
        flash_attention(q, k[:, :, :4].contiguous(), v)
