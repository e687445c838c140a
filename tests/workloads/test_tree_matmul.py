"""The invariant product: the same bits for any ranks, by the rule it states, and what it refuses."""

import numpy as np
import pytest
import torch

from workloads.tree_matmul import error_ratio, split_matmul, subtrees_of, tree_matmul

TILE = (32, 64, 32)


def halves(m: int, n: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(m, k, generator=generator).half(), torch.randn(k, n, generator=generator).half()


def test_ranks_do_not_change_a_bit_and_split_k_does(gpu):
    a, b = halves(20, 40, 512)
    one, usual = tree_matmul(a, b, 1, TILE), split_matmul(a, b, 1, TILE)
    for ranks in (2, 4, 8):
        assert torch.equal(tree_matmul(a, b, ranks, TILE).view(torch.int16), one.view(torch.int16))
        assert not torch.equal(split_matmul(a, b, ranks, TILE), usual)
    assert error_ratio(a, b, one, TILE[2])[1] <= 1


def test_the_order_is_leaves_in_turn_then_a_binary_tree(gpu):
    """Integers below 2048 are exact in a leaf; their sums are rounded to float16 as NumPy does, in the stated order."""
    generator = torch.Generator().manual_seed(1)
    a = torch.randint(-3, 4, (16, 384), generator=generator).half()
    b = (8 * torch.randint(-8, 9, (384, 64), generator=generator)).half()
    leaves = [
        (a[:, k : k + 32].double() @ b[k : k + 32].double()).numpy().astype(np.float16) for k in range(0, 384, 32)
    ]
    sums = [(leaves[i] + leaves[i + 1]) + leaves[i + 2] for i in range(0, 12, 3)]
    expected = (sums[0] + sums[1]) + (sums[2] + sums[3])
    assert (tree_matmul(a, b, 1, TILE).numpy() == expected).all()


def test_shapes_it_cannot_split():
    assert [subtrees_of(k, 256) for k in (256, 768, 1536, 3072, 6144, 8192)] == [1, 1, 2, 4, 8, 8]
    a, b = halves(16, 16, 96)
    with pytest.raises(ValueError, match=r"ranks is 2, must divide the 1 subtrees of K = 96"):
        tree_matmul(a, b, 2, TILE)
    with pytest.raises(ValueError, match=r"K is 96, must be a multiple of the leaf, 64"):
        tree_matmul(a, b, 1, (32, 64, 64))
    with pytest.raises(ValueError, match=r"must be a multiple of ranks x 32"):
        split_matmul(a, b, 2, TILE)
