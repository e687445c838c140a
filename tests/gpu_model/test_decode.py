"""Decoding cubins, and refusing what is not one."""

import sys
from pathlib import Path

import numpy as np
import pytest

from gpu_model.decode import decode
from gpu_model.errors import CubinError
from tests.gpu_model.ptx.harness import assemble


@pytest.mark.parametrize("arch", [75, 80, 86, 89, 90, 120])
def test_every_architecture_decodes(arch, compile_for):
    program, cubin = decode(compile_for(arch))
    assert (program.arch, program.name) == (arch, "_add_kernel")
    assert [p.size for p in cubin.parameters] == [8, 8, 8, 4, 8, 8]  # three pointers, n, two scratch pointers
    assert {"LDG", "STG", "EXIT", "FADD"} <= set(program.rows["opcode"])
    assert program.rows["pc"].tolist() == list(range(0, 16 * len(program), 16))
    assert (program.rows["stall"] <= 15).all()
    assert 8 <= program.registers <= 255


def test_control_bits_protect_loads(cubin):
    """Every load names a counter, and someone waits for it."""
    program, _ = decode(cubin)
    loads = program.rows[program.rows["opcode"] == "LDG"]
    counters = set(loads["write_counter"].tolist())
    assert 7 not in counters
    waited = np.bitwise_or.reduce(program.rows["wait_mask"])
    assert all(waited >> counter & 1 for counter in counters)


def test_source_lines_point_at_the_kernel(cubin):
    program, _ = decode(cubin)
    loads = np.flatnonzero(program.rows["opcode"] == "LDG")
    assert all("conftest.py" in program.where(row) for row in loads)


def test_lines_of_no_file():
    """PTX that somebody wrote may have `.loc` without `.file`; nvdisasm crashes on the line table of that."""
    ptx = """
        .version 8.6
        .target sm_86
        .address_size 64
        .visible .entry nameless(.param .u64 out)
        {
            .reg .b64 p;
            .loc 1 7 0
            ld.param.u64 p, [out];
            st.global.u64 [p], p;
            ret;
        }"""
    program, _ = decode(assemble(ptx, 86))
    assert program.name == "nameless"
    assert "STG" in program.rows["opcode"]
    assert program.files == ("",)


def test_foreign_and_truncated_files_are_named(cubin):
    for image, message in (
        (b"", "corrupt or truncated"),
        (b"\x7fELF", "corrupt or truncated"),
        (b"MZ" + bytes(100), "corrupt or truncated"),
        (cubin[:200], "corrupt or truncated"),
        (Path(sys.executable).resolve().read_bytes(), "expected EM_CUDA"),
    ):
        with pytest.raises(CubinError, match=message):
            decode(image)


def test_unknown_architecture_is_named(cubin):
    image = bytearray(cubin)
    image[48] = 53  # e_flags, low byte
    with pytest.raises(CubinError, match="cubin is for sm_53; known architectures: sm_75"):
        decode(bytes(image))
