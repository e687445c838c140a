"""Whole kernels: no instruction may issue, or enter Control, in another cycle than in the core model."""

from typing import Any

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


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(
    "overrides",
    [
        *({"core.dependence.mechanism": "scoreboard", "core.dependence.consumers": n} for n in (1, 3, 63, "unlimited")),
        *({"core.issue_policy": policy} for policy in ("gto", "lrr")),
    ],
    ids=lambda overrides: "-".join(map(str, overrides.values())),
)
def test_so_it_does_with_a_scoreboard_or_another_policy(name: str, overrides: dict[str, Any]) -> None:
    spec = load_gpu("rtx_a6000", overrides)
    ((_, stream),) = kernel_streams(name, spec)
    compared = compare(stream, IssueDesign.from_spec(spec))
    assert compared.divergence is None, str(compared.divergence)
    assert compared.instructions > AT_LEAST[name]
