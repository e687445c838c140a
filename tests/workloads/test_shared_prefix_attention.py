"""Attention with a shared prefix: within its bound, the same bits together and apart, and what it refuses."""

import pytest
import torch

from workloads.shared_prefix_attention import KeysValues, error_ratio, sample, shared_prefix_attention


@pytest.mark.parametrize(("sequences", "prefix", "suffix", "d"), [(1, 16, 1, 16), (3, 70, 33, 32), (17, 130, 5, 64)])
def test_together_and_apart(gpu, sequences, prefix, suffix, d):
    q, common, own = sample(sequences, prefix, suffix, d, "cpu")
    outputs = [shared_prefix_attention(q, common, own, together, tile=32, tiles=2) for together in (True, False)]
    assert torch.equal(*outputs)
    assert error_ratio(q, common, own, outputs[0])[1] <= 1


def test_against_one_softmax_over_everything(gpu):
    """A key that outweighs all others: what it is worth must survive the joining, wherever it is."""
    q, common, own = sample(2, 64, 32, 32, "cpu")
    for tensor, at in ((common.k, (40,)), (own.k, (1, 7))):
        tensor[at] = 8 * q[1]
    out = shared_prefix_attention(q, common, own, tile=32, tiles=1)
    k, v = (torch.cat([a.double().expand(2, -1, -1), b.double()], 1) for a, b in zip(common, own, strict=True))
    expected = torch.nn.functional.scaled_dot_product_attention(q.double()[:, None], k, v)[:, 0]
    torch.testing.assert_close(out.double(), expected, rtol=2**-9, atol=2**-9)
    assert error_ratio(q, common, own, out)[1] <= 1


def test_a_wrong_element_is_out_of_bound(gpu):
    q, common, own = sample(4, 64, 32, 32, "cpu")
    out = shared_prefix_attention(q, common, own)
    out[2, 5] += 0.01
    assert error_ratio(q, common, own, out)[1] > 1


def test_what_it_refuses():
    q, common, own = sample(2, 16, 16, 16, "cpu")
    with pytest.raises(ValueError, match=r"suffix.v is \(2, 8, 16\)"):
        shared_prefix_attention(q, common, KeysValues(own.k, own.v[:, :8]))
    with pytest.raises(ValueError, match=r"q is \(2, 16\) torch.float32"):
        shared_prefix_attention(q.float(), common, own)
    with pytest.raises(ValueError, match=r"at most 64 sequences"):
        shared_prefix_attention(*sample(65, 16, 16, 16, "cpu"))
