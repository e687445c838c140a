"""mma.sync on one warp: a block a case, matrices in the PTX ISA's fragments."""

import numpy as np

from gpu_model.execute import Machine, execute
from tests.gpu_model.ptx.fragments import pack, places_a, places_b, places_d, unpack
from tests.gpu_model.ptx.harness import assemble, launch

_LANES = 32
_VERSIONS = {75: "7.8", 120: "9.1"}  # of PTX; 8.8 for the others
_KERNEL = """
.version {version}
.target sm_{target}
.address_size 64
.visible .entry probe(.param .u64 source, .param .u64 result)
{{
.reg .b64 src, dst, wide;
.reg .b32 tid, block, w<{words}>, d<{outputs}>;
{declarations}
ld.param.u64 src, [source];
ld.param.u64 dst, [result];
mov.u32 tid, %tid.x;
mov.u32 block, %ctaid.x;
mad.wide.u32 src, block, {source_bytes}, src;
mad.wide.u32 src, tid, 4, src;
mad.wide.u32 dst, block, {result_bytes}, dst;
mad.wide.u32 dst, tid, 4, dst;
{body}
ret;
}}
"""


def run_words(text: str, words: np.ndarray, outputs: int, arch: int, declarations: str = "") -> np.ndarray:
    """Run PTX with w0, w1, ... from words[case, word, lane] and return d0, d1, ... as uint32[case, output, lane]."""
    source = np.ascontiguousarray(words, np.uint32)
    cases, count = source.shape[:2]
    result = np.zeros((cases, outputs, _LANES), np.uint32)
    loads = [f"ld.global.b32 w{i}, [src+{4 * _LANES * i}];" for i in range(count)]
    stores = [f"st.global.b32 [dst+{4 * _LANES * i}], d{i};" for i in range(outputs)]
    ptx = _KERNEL.format(
        version=_VERSIONS.get(arch, "8.8"), target=f"{arch}{'a' * (arch >= 90)}", words=count, outputs=outputs,
        declarations=declarations, source_bytes=4 * _LANES * count, result_bytes=4 * _LANES * outputs,
        body="\n".join([*loads, text, *stores]),
    )  # fmt: skip
    execute(Machine(launch(assemble(ptx, arch), source, result, _LANES, cases)))
    return result


def names(letter: str, count: int, first: int = 0) -> str:
    """A register list of PTX."""
    return "{" + ", ".join(f"{letter}{first + i}" for i in range(count)) + "}"


def run_mma(
    instruction: str, a: np.ndarray, b: np.ndarray, c: np.ndarray, arch: int, *, bits: int, sum_bits: int = 32,
    extra: np.ndarray | None = None, before: str = "", operands: str = "", declarations: str = "",
) -> np.ndarray:  # fmt: skip
    """Execute an mma on every case.

    Args:
        instruction: with its types and modifiers, operands left out.
        a: codes [case, 8 or 16, k].
        b: codes [case, 8, k].
        c: patterns [case, 8 or 16, 8].
        arch: architecture.
        bits: of an element of A and B as registers hold it.
        sum_bits: of an element of C and D.
        extra: more registers, uint32[case, word, lane], after those of C.
        before: PTX that runs before it; `{0}`, `{1}`, ... are the names of the registers of `extra`.
        operands: more operands, with the same names.
        declarations: of registers.

    Returns:
        Patterns of D, uint32[case, 8 or 16, 8].
    """
    rows, depth = a.shape[1:]
    at = places_a(depth, bits, rows=rows), places_b(depth, bits), places_d(rows=rows)
    fragments = [
        np.stack([pack(case[spot], width) for case in matrix])
        for matrix, spot, width in zip((a, b, c), at, (bits, bits, sum_bits), strict=True)
    ]
    counts = [fragment.shape[1] for fragment in fragments]
    words = np.concatenate([*fragments, *([] if extra is None else [extra])], axis=1)
    first = [0, counts[0], counts[0] + counts[1]]
    sources = ", ".join(names("w", count, start) for count, start in zip(counts, first, strict=True))
    more = [f"w{sum(counts) + i}" for i in range(words.shape[1] - sum(counts))]
    text = f"{before.format(*more)}\n{instruction} {names('d', counts[2])}, {sources}{operands.format(*more)};"
    got = run_words(text, words, counts[2], arch, declarations)
    out = np.zeros(c.shape, np.uint32)
    for result, registers in zip(out, got, strict=True):
        result[at[2]] = unpack(registers, sum_bits)
    return out
