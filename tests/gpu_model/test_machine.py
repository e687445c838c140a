"""Memory, faults, control flow, barriers and traces of the SASS machine."""

import numpy as np
import pytest

from gpu_model.errors import ExecutionError, MemoryFault, UnsupportedInstruction
from gpu_model.execute import Machine, execute, execute_traced
from gpu_model.launch import Launch
from gpu_model.machine.lower import lower
from gpu_model.sass import assemble
from tests.gpu_model.sass_runner import machine_for, run

LANES = np.arange(32, dtype=np.uint32)
SETUP = """
S2R R0, SR_TID.X
IMAD.SHL.U32 R1, R0, 0x4, RZ
IADD3 R2, P0, R1, c[0x0][0x160], RZ
IADD3.X R3, RZ, c[0x0][0x164], RZ, P0, !PT
IADD3 R4, P0, R1, c[0x0][0x168], RZ
IADD3.X R5, RZ, c[0x0][0x16c], RZ, P0, !PT
"""


@pytest.mark.parametrize(("size", "bytes_"), [("U8", 1), ("S8", 1), ("U16", 2), ("S16", 2)])
def test_narrow_shared_accesses(size, bytes_):
    value = np.random.default_rng(1).integers(0, 1 << 32, 32, dtype=np.uint32)
    store = size.replace("S", "U")
    body = f"IMAD R6, R0, {bytes_:#x}, RZ\nSTS.{store} [R6], R10\nLDS.{size} R40, [R6]"
    got = run(body, value, shared_bytes=128)[0]
    kind = np.dtype(f"{'i' if size[0] == 'S' else 'u'}{bytes_}")
    want = value.astype(np.uint32).view(f"u{bytes_}").reshape(32, -1)[:, 0].view(kind)
    assert got.tolist() == want.astype(np.int64).astype(np.uint32).tolist()


def test_wide_shared_accesses_and_scaled_addresses():
    data = np.random.default_rng(2).integers(0, 1 << 32, (4, 32), dtype=np.uint32)
    body = (
        "LOP3.LUT R6, R0, 0x1f, RZ, 0x3c, !PT\nSTS.128 [R0.X16], R10\nLDS.128 R40, [R6.X16]\n"
        "LDS.64 R44, [R0.X16+0x8]"
    )  # fmt: skip
    got = run(body, *data, outputs=6, shared_bytes=512)
    for i in range(4):
        assert got[i].tolist() == data[i][::-1].tolist()
    assert got[4].tolist() == data[2].tolist()
    assert got[5].tolist() == data[3].tolist()


@pytest.mark.parametrize("transposed", [False, True])
def test_ldsm_gives_mma_fragments(transposed):
    """PTX ldmatrix: lane 4r + c holds elements (r, 2c) and (r, 2c + 1), or of the transpose."""
    words = np.random.default_rng(3).integers(0, 1 << 32, (4, 32), dtype=np.uint32)
    body = f"STS.128 [R0.X16], R10\nLDSM.16.{'MT' if transposed else 'M'}88.4 R40, [R0.X16]"
    got = run(body, *words, outputs=4, shared_bytes=512)
    matrices = np.ascontiguousarray(words.T).view(np.uint16).reshape(4, 8, 8)
    for matrix, row in zip(matrices, got, strict=True):
        source = matrix.T if transposed else matrix
        assert row.view(np.uint16).tolist() == source.reshape(-1).tolist()


def test_ldgsts_zero_fills_where_its_predicate_is_false():
    data = LANES + 100
    body = "ISETP.LT.U32.AND P1, PT, R0, 0x14, PT\nLDGSTS.E [R0.X4], [R2.64], P1\n"
    body += "LDGDEPBAR\nDEPBAR.LE SB0, 0x0\nLDS R40, [R0.X4]"
    got = run(body, data, shared_bytes=128)[0]
    assert got.tolist() == np.where(LANES < 20, data, 0).tolist()


def test_local_memory_is_private():
    got = run("MOV R7, 0x10\nSTL [R7], R10\nIADD3 R10, R10, 0x1, RZ\nLDL R40, [R7]", LANES)
    assert got[0].tolist() == LANES.tolist()


def test_loop_with_lane_dependent_trip_counts_reconverges():
    body = """
MOV R40, RZ
BSSY B0, `(after)
loop:
ISETP.GE.U32.AND P1, PT, R40, R0, PT
@P1 BRA `(done)
IADD3 R40, R40, 0x1, RZ
BRA `(loop)
done:
BSYNC B0
after:
VOTE.ANY R41, PT, PT
"""
    got = run(body, LANES, outputs=2)
    assert got[0].tolist() == LANES.tolist()
    assert set(got[1].tolist()) == {0xFFFFFFFF}  # all lanes met again


def test_early_exit_of_some_lanes():
    source, result = LANES.reshape(1, 32).copy(), np.zeros((1, 32), np.uint32)
    listing = SETUP + "ISETP.GT.U32.AND P1, PT, R0, 0xf, PT\n@P1 EXIT\nSTG.E [R4.64], R0\nEXIT"
    execute(machine_for(listing, source, result))
    assert result[0].tolist() == [*range(16), *[0] * 16]


def test_call_and_return():
    body = "MOV R6, 0x100\nMOV R7, 0x0\nMOV R40, R10\nCALL.REL.NOINC `(twice)\nBRA `(out)\n" + "NOP\n" * 4
    body += "twice:\nIADD3 R40, R40, R40, RZ\nRET.REL.NODEC R6 `(start)\nout:"
    listing_head = 6 + 1  # prologue and one load stand before the body
    returns_to = 16 * (listing_head + 4)
    source, result = LANES.reshape(1, 32).copy(), np.zeros((1, 32), np.uint32)
    listing = f"start:\n{SETUP}\nLDG.E R10, [R2.64]\n{body.replace('0x100', hex(returns_to))}\nSTG.E [R4.64], R40\nEXIT"
    execute(machine_for(listing, source, result))
    assert result[0].tolist() == (2 * LANES).tolist()


def test_barrier_orders_shared_memory_between_warps():
    listing = SETUP + """
STS [R0.X4], R0
BAR.SYNC 0x0
LOP3.LUT R6, R0, 0x20, RZ, 0x3c, !PT
LDS R40, [R6.X4]
STG.E [R4.64], R40
EXIT"""  # fmt: skip
    source, result = np.zeros((1, 64), np.uint32), np.zeros((1, 64), np.uint32)
    execute(machine_for(listing, source, result, shared_bytes=256, threads=64))
    assert result[0].tolist() == [*range(32, 64), *range(32)]


def test_deadlock_is_named():
    listing = "S2R R0, SR_TID.X\nISETP.LT.U32.AND P1, PT, R0, 0x20, PT\n@P1 BAR.SYNC 0x0, 0x40\nEXIT"
    source = np.zeros((1, 64), np.uint32)
    with pytest.raises(ExecutionError, match=r"deadlock .* block \(0, 0, 0\), warp 0 waits at barrier 0, which 1 of 2"):
        execute(machine_for(listing, source, source.copy(), threads=64))


def test_out_of_bounds_store_is_named_and_undone():
    source, result = LANES.reshape(1, 32).copy(), np.full((1, 32), 7, np.uint32)
    listing = SETUP + "STG.E [R4.64], R0\nSTG.E [R4.64+0x4], R0\nEXIT"
    with pytest.raises(MemoryFault) as caught:
        execute(machine_for(listing, source, result))
    message = str(caught.value)
    assert "out-of-bounds global access of 4 bytes" in message
    assert "block (0, 0, 0), warp 0, lane 31 (thread 31)" in message
    assert "nearest tensor: result, 0 bytes past its end" in message
    assert "PC 0x0070" in message
    assert "stores were undone" in message
    assert set(result[0].tolist()) == {7}


def test_misaligned_load_is_named():
    source = np.zeros((1, 64), np.uint32)
    listing = SETUP + "LDG.E.64 R6, [R2.64+0x4]\nEXIT"
    with pytest.raises(MemoryFault, match="misaligned global access of 8 bytes"):
        execute(machine_for(listing, source, source.copy()))


def test_shared_access_past_the_block_is_named():
    with pytest.raises(MemoryFault, match=r"out-of-bounds shared access .* shared memory is 0x0 to 0x40"):
        run("LDS R40, [R0.X4]", shared_bytes=64)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("FROBNICATE R1, R2", "this opcode is not modelled"),
        ("FADD.WEIRD R1, R2, R3", "modifier .WEIRD"),
        ("IADD3 R1, R2, R3, R4, R5", "operands are left over"),
        ("S2R R1, SR_SMEMSZ", "special register SR_SMEMSZ"),
    ],
)
def test_unsupported_instructions_are_named_before_anything_runs(text, reason):
    with pytest.raises(UnsupportedInstruction) as caught:
        lower(assemble(f"NOP\n{text}\nEXIT"))
    message = str(caught.value)
    assert reason in message
    assert "kernel handmade, PC 0x0010" in message
    assert "sm_86" in message


def test_trace_has_every_warp_in_program_order():
    listing = SETUP + "LDG.E R6, [R2.64]\nISETP.LT.U32.AND P1, PT, R0, 0x28, PT\n@P1 STG.E [R4.64], R6\nEXIT"
    source, result = np.zeros((1, 64), np.uint32), np.zeros((1, 64), np.uint32)
    machine = machine_for(listing, source, result, threads=64, grid=2, trace=True)
    traces = list(execute_traced(machine))
    assert [trace.block for trace in traces] == [0, 1]
    trace = traces[0]
    assert trace.start.tolist() == [0, 10, 20]
    assert trace.row[:10].tolist() == trace.row[10:].tolist() == list(range(10))
    load, store = trace.access[6], trace.access[18]
    assert trace.address[load].tolist() == [source.ctypes.data + 4 * lane for lane in range(32)]
    assert trace.mask[8] == 0xFFFFFFFF
    assert trace.mask[18] == 0xFF
    assert trace.address[store].tolist() == [
        result.ctypes.data + 4 * (32 + lane) if lane < 8 else -1 for lane in range(32)
    ]
    assert machine.instructions == 40


def test_long_traces_grow():
    body = "MOV R6, 0x8000\nloop:\nIADD3 R6, R6, -0x1, RZ\nISETP.NE.AND P1, PT, R6, RZ, PT\n@P1 BRA `(loop)\nEXIT"
    program = assemble(body)
    (trace,) = execute_traced(Machine(Launch(program, (1, 1, 1), 32, 0, b"", ()), trace=True))
    assert len(trace.row) == 1 + 3 * 0x8000 + 1
