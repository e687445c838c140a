"""The invariant MXFP4 product: the cast by our own formats, the same bits for any ranks, the stated order."""

import numpy as np
import pytest
import torch

from mx_formats.block import MXFP4
from mx_formats.packing import pack
from mx_formats.quantize import dequantize, quantize
from workloads.tree_matmul_mxfp4 import (
    Mxfp4,
    error_ratio,
    split_matmul_mxfp4,
    subtrees_of,
    to_mxfp4,
    tree_matmul_mxfp4,
)

TILE = (16, 32, 64)


def normal(rows: int, k: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(rows, k, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1.0, 2.0**-130, 2.0**125])
def test_casts_as_mx_formats_does(scale):
    x = normal(8, 96) * scale
    x[0, :32] = 0
    x[1, :16] = torch.arange(16) * 0.25 * scale  # ties, with 6 as the largest of the block
    x[1, 16:32] = -6 * scale
    cast, expected = to_mxfp4(x), quantize(x, MXFP4)
    assert (cast.decode().numpy() == dequantize(expected).astype(np.float64)).all()
    nonzero = ~(x.reshape(8, -1, 32) == 0).all(2).numpy()  # the scale of a block of zeros is anyone's choice
    assert (cast.scales.numpy() == expected.scales)[nonzero].all()
    assert (cast.codes.numpy() == pack(expected.codes, MXFP4.element).reshape(8, -1)).all()


def test_ranks_do_not_change_a_bit_and_split_k_does(gpu):
    a, b = to_mxfp4(normal(20, 1024)), to_mxfp4(normal(40, 1024, 4))
    one, usual = tree_matmul_mxfp4(a, b, 1, TILE), split_matmul_mxfp4(a, b, 1, TILE)
    for ranks in (2, 4, 8):
        assert torch.equal(tree_matmul_mxfp4(a, b, ranks, TILE).view(torch.int16), one.view(torch.int16))
        assert not torch.equal(split_matmul_mxfp4(a, b, ranks, TILE), usual)
    assert error_ratio(a, b, one, TILE[2])[1] <= 1


def test_the_order_is_leaves_in_turn_then_a_binary_tree(gpu):
    """A leaf's products are exact in float32; their sums are rounded to float16 as NumPy does, in the stated order."""
    generator = torch.Generator().manual_seed(1)
    a, b = (Mxfp4(torch.randint(0, 256, (rows, 192), dtype=torch.uint8, generator=generator),
                  torch.randint(127, 131, (rows, 12), dtype=torch.uint8, generator=generator))
            for rows in (16, 32))  # fmt: skip
    left, right = a.decode(), b.decode()
    leaves = [(left[:, k : k + 64] @ right[:, k : k + 64].T).numpy().astype(np.float16) for k in range(0, 384, 64)]
    sums = [(leaves[i] + leaves[i + 1]) + leaves[i + 2] for i in range(0, 6, 3)]
    assert (tree_matmul_mxfp4(a, b, 1, TILE).numpy() == sums[0] + sums[1]).all()


def test_shapes_it_cannot_split():
    assert [subtrees_of(k, 256) for k in (256, 768, 1536, 8192)] == [1, 1, 2, 8]
    a = to_mxfp4(normal(16, 96))
    with pytest.raises(ValueError, match=r"ranks is 2, must divide the 1 subtrees of K = 96"):
        tree_matmul_mxfp4(a, a, 2, (16, 16, 32))
    with pytest.raises(ValueError, match=r"K is 96, must be a multiple of the leaf, 64"):
        tree_matmul_mxfp4(a, a, 1, TILE)
    with pytest.raises(ValueError, match=r"need a float32 matrix, K a multiple of 32"):
        to_mxfp4(torch.zeros(4, 40))
