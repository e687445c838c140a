"""Scripts with a mistake: the error names the place and the operand, and memory outside the tensors stays as it was."""

import runpy
from pathlib import Path

import pytest

from gpu_model.errors import LaunchError, MemoryFault

BAD = Path(__file__).parent / "bad"


def run(name: str) -> None:
    runpy.run_path(str(BAD / f"{name}.py"), run_name="__main__")


def line_of(name: str, code: str) -> int:
    lines = (BAD / f"{name}.py").read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if code in line]
    return number


@pytest.mark.parametrize(
    ("name", "code", "block"),
    [
        ("out_of_bounds_load", "tl.load(", 3),
        ("out_of_bounds_store", "tl.store(", 7),
    ],
)
def test_out_of_bounds_names_line_block_lane_and_tensor(gpu, name, code, block):
    with pytest.raises(MemoryFault) as fault:
        run(name)
    message = str(fault.value)
    assert f"{name}.py:{line_of(name, code)}" in message
    for word in (f"block ({block}, 0, 0)", "lane ", "0x", "x_ptr"):
        assert word in message, message


def test_meta_tensor_is_refused(gpu):
    with pytest.raises(LaunchError) as refusal:
        run("wrong_device")
    message = str(refusal.value)
    for word in ("x_ptr", "meta", "cpu"):
        assert word in message, message
