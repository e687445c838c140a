"""Run a few hand-made SASS instructions on 32 lanes: arrays in, arrays out."""

import dataclasses

import numpy as np

from gpu_model.execute import Machine, execute
from gpu_model.launch import Launch, Segment
from gpu_model.sass import assemble

PROLOGUE = """
S2R R0, SR_TID.X
IMAD.SHL.U32 R1, R0, 0x4, RZ
IADD3 R2, P0, R1, c[0x0][0x160], RZ
IADD3.X R3, RZ, c[0x0][0x164], RZ, P0, !PT
IADD3 R4, P0, R1, c[0x0][0x168], RZ
IADD3.X R5, RZ, c[0x0][0x16c], RZ, P0, !PT
"""
FIRST_INPUT, FIRST_OUTPUT = 10, 40
LOCAL_BYTES = 64


def build(body: str, inputs: int, outputs: int) -> str:
    """Listing that loads R10.. from the inputs, runs `body`, and stores R40.. to the outputs."""
    loads = [f"LDG.E R{FIRST_INPUT + i}, [R2.64+{128 * i:#x}]" for i in range(inputs)]
    stores = [f"STG.E [R4.64+{128 * i:#x}], R{FIRST_OUTPUT + i}" for i in range(outputs)]
    return "\n".join([PROLOGUE, *loads, body, *stores, "EXIT"])


def run(body: str, *inputs: np.ndarray, outputs: int = 1, shared_bytes: int = 0, threads: int = 32) -> np.ndarray:
    """Execute `body` with inputs in R10, R11, ... and return R40, ... as uint32[outputs, 32]."""
    words = [np.ascontiguousarray(array).view(np.uint32).reshape(-1) for array in inputs]
    source = np.zeros((max(1, len(words)), threads), np.uint32)
    for row, word in zip(source, words, strict=False):
        row[:] = np.resize(word, threads)
    result = np.zeros((outputs, threads), np.uint32)
    execute(machine_for(build(body, len(words), outputs), source, result, shared_bytes, threads))
    return result


def machine_for(
    listing: str, source: np.ndarray, result: np.ndarray, shared_bytes: int = 0, threads: int = 32, grid: int = 1,
    *, trace: bool = False,
) -> Machine:  # fmt: skip
    """A machine ready to run a listing whose two parameters point at `source` and `result`."""
    parameters = np.array([source.ctypes.data, result.ctypes.data], np.uint64).tobytes()
    segments = sorted(
        (Segment("source", source.ctypes.data, source.nbytes), Segment("result", result.ctypes.data, result.nbytes)),
        key=lambda segment: segment.address,
    )
    program = dataclasses.replace(assemble(listing), local_bytes=LOCAL_BYTES)
    launch = Launch(program, (grid, 1, 1), threads, shared_bytes, parameters, tuple(segments), (source, result))
    return Machine(launch, trace=trace)
