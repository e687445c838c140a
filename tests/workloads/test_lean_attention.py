"""Decoding attention in even shares: within its bound however it is cut, the same bits, and what it refuses."""

import pytest
import torch

from gpu_model import VirtualGPU
from workloads.lean_attention import ROWS, error_ratio, lean_attention, sample, shares


@pytest.mark.parametrize("programs", [1, 2, 3, 4, 7, 12, 50])
def test_any_number_of_programs(gpu, programs):
    q, k, v = sample(3, 2, 130, 32, "cpu")  # 5 tiles a head, the last of 2 keys
    out = lean_attention(q, k, v, programs, tile=32)
    assert error_ratio(q, k, v, out)[1] <= 1


def test_whole_heads_need_no_joining(gpu):
    """As many programs as heads give the bits of each head alone."""
    q, k, v = sample(3, 1, 100, 32, "cpu")
    alone = [lean_attention(q[h : h + 1], k[h : h + 1], v[h : h + 1], 1, tile=32) for h in range(3)]
    assert torch.equal(lean_attention(q, k, v, 3, tile=32), torch.cat(alone))


def test_a_key_that_outweighs_the_others_wherever_it_is(gpu):
    q, k, v = sample(2, ROWS, 96, 32, "cpu")
    k[0, 90], k[1, 40] = 8 * q[0, 3], 8 * q[1, 5]
    out = lean_attention(q, k, v, 5, tile=16)
    expected = torch.nn.functional.scaled_dot_product_attention(q.double(), k.double(), v.double())
    torch.testing.assert_close(out.double(), expected, rtol=2**-9, atol=2**-9)
    assert error_ratio(q, k, v, out)[1] <= 1


@pytest.mark.parametrize("name", ["h100_sxm", "rtx_5090"])
def test_has_cycles_where_ordered_atomics_are_other_instructions(name):
    """From sm_90 on ptxas orders memory before the counter with CGAERRBAR too."""
    q, k, v = sample(2, 1, 96, 32, "cpu")
    with VirtualGPU(name, timing=True) as gpu:
        out = lean_attention(q, k, v, 3, tile=32)
    assert error_ratio(q, k, v, out)[1] <= 1
    launch = gpu.launches[-1]
    assert "CGAERRBAR" in launch.launch.program.rows["opcode"]
    assert launch.timing.cycles > 0


@pytest.mark.parametrize("heads", [1, 3, 12])
@pytest.mark.parametrize("programs", [1, 5, 11, 40])
def test_shares_cover_the_line(heads, programs):
    least, longer, started = shares(heads, 70, programs, 16)
    sizes = [least + (program < longer) for program in range(started)]
    assert sum(sizes) == heads * 5
    assert started == min(programs, heads * 5)
    assert max(sizes) - min(sizes) <= 1


def test_a_wrong_element_is_out_of_bound(gpu):
    q, k, v = sample(2, 4, 64, 32, "cpu")
    out = lean_attention(q, k, v, 3, tile=16)
    out[1, 2, 5] += 0.01
    assert error_ratio(q, k, v, out)[1] > 1


def test_what_it_refuses():
    q, k, v = sample(2, 1, 16, 16, "cpu")
    with pytest.raises(ValueError, match=r"v is \(2, 8, 16\)"):
        lean_attention(q, k, v[:, :8], 1)
    with pytest.raises(ValueError, match=r"q is \(2, 1, 16\) torch.float32"):
        lean_attention(q.float(), k, v, 1)
    with pytest.raises(ValueError, match=r"at most 16 queries"):
        lean_attention(*sample(1, 17, 16, 16, "cpu"), 1)
    with pytest.raises(ValueError, match=r"0 programs for 16 keys"):
        lean_attention(q, k, v, 0)
