"""Operations of instructions, and the peaks that data sheets state for them."""

import numpy as np
import pytest

from gpu_model.operations import count_operations
from gpu_model.sass import assemble
from hw.gpu_spec import load_gpu


def count(listing: str, gpu: str = "rtx_a6000", lanes: int = 32) -> dict[str, tuple[int, float]]:
    """Kind to operations of one warp and to peak, 10^12 a second."""
    spec = load_gpu(gpu)
    program = assemble(listing)
    counted = count_operations(program, np.full(len(program), lanes), spec)
    return {kind.name: (operations, kind.peak * spec.core_clock_mhz * 1e-6) for kind, operations in counted.items()}


@pytest.mark.parametrize(
    ("instruction", "kind", "operations"),
    [
        ("FADD R2, R3, R4", "FP32", 32),
        ("FFMA R2, R3, R4, R5", "FP32", 64),
        ("HFMA2 R2, R3, R4, R5", "FP16", 128),
        ("DFMA R2, R4, R6, R8", "FP64", 64),
        ("HMMA.16816.F32 R4, R8, R12, R4", "tensor 16-bit, FP32 sums", 2 * 16 * 8 * 16),
        ("HMMA.16816.F16 R4, R8, R12, R4", "tensor 16-bit, FP16 sums", 2 * 16 * 8 * 16),
        ("HMMA.1688.F32.TF32 R4, R8, R12, R4", "tensor 32-bit, FP32 sums", 2 * 16 * 8 * 8),
        ("IMMA.16832.S8.S8 R4, R8, R12, R4", "tensor 8-bit", 2 * 16 * 8 * 32),
    ],
)
def test_a_warp_does_what_the_instruction_says(instruction, kind, operations):
    assert {name: done for name, (done, _) in count(instruction).items()} == {kind: operations}


@pytest.mark.parametrize(
    "instruction",
    [
        "IADD3 R2, R3, R4, RZ",
        "FSETP.GT.AND P0, PT, R2, R3, PT",
        "MUFU.EX2 R2, R3",
        "FMNMX R2, R3, R4, PT",
        "HADD2.F32 R2, -RZ, R3.H0_H0",
        "LDG.E R2, [R4.64]",
    ],
)
def test_other_instructions_count_nothing(instruction):
    assert count(instruction) == {}


def test_lanes_that_did_not_execute_do_not_count():
    assert count("FFMA R2, R3, R4, R5", lanes=5)["FP32"][0] == 10


@pytest.mark.parametrize(
    ("gpu", "instruction", "peak"),
    [
        # Data sheets: single precision and dense tensor, 10^12 operations a second, at the clock of each TOML file.
        ("rtx_a6000", "FFMA R2, R3, R4, R5", 38.7),
        ("rtx_a6000", "HMMA.16816.F32 R4, R8, R12, R4", 154.8),
        ("rtx_a6000", "IMMA.16832.S8.S8 R4, R8, R12, R4", 309.7),
        ("rtx_3090", "FFMA R2, R3, R4, R5", 35.6),
        ("rtx_3090", "HMMA.16816.F32 R4, R8, R12, R4", 71.0),
        ("rtx_3090", "HMMA.16816.F16 R4, R8, R12, R4", 142.0),
        ("a100_sxm", "FFMA R2, R3, R4, R5", 19.5),
        ("a100_sxm", "HMMA.1688.F32.TF32 R4, R8, R12, R4", 156.0),
    ],
)
def test_peaks_are_those_of_the_datasheets(gpu, instruction, peak):
    ((_, found),) = count(instruction, gpu).values()
    assert found == pytest.approx(peak, rel=0.005)
