"""Whole kernels: no instruction may issue, or enter Control, in another cycle than in the core model."""

import pytest

from hw.gpu_spec import load_gpu
from rtl.issue_stage import IssueDesign
from sim.issue_checks import KERNELS, kernel_streams
from sim.issue_stage import compare

# Three of them have more than 100,000 together.
AT_LEAST = {"softmax": 80_000, "layer_norm": 100_000, "matmul": 20_000, "flash_attention": 50_000}
pytestmark = pytest.mark.usefixtures("compiled_rtl")


@pytest.mark.parametrize("name", KERNELS)
def test_every_instruction_of_a_kernel_issues_in_the_models_cycle(name: str) -> None:
    spec = load_gpu("rtx_a6000")
    ((_, stream),) = kernel_streams(name, spec)
    compared = compare(stream, IssueDesign.from_spec(spec))
    assert compared.divergence is None, str(compared.divergence)
    assert compared.instructions > AT_LEAST[name]
