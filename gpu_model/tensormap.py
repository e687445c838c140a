"""Tensor maps: the 128-byte descriptors of tiled copies between global and shared memory.

The layout is the one that ptxas writes for the PTX instruction `tensormap.replace` (the same on sm_90 and
sm_120), so that maps made by a kernel and maps made here mean the same to the machine. The vendor's host
library may fill the reserved bytes differently; nothing reads those here.

Words of 32 bits: 0-1 address; 2 flags; 3-6 low bits of the strides of dimensions 1 to 4 in units of 16 bytes;
7 their high bits, four each; 8-12 sizes less one; 13 element strides less one (three bits each) and the box
size of dimension 0 less one in the top byte; 14 box sizes of dimensions 1 to 4 less one, a byte each.
"""

import struct
from collections.abc import Sequence

from gpu_model.errors import LaunchError

BYTES = 128
MAX_RANK = 5
FLAGS_WORD, STRIDE_WORD, STRIDE_HIGH_WORD, SIZE_WORD, BOX0_WORD, BOX_WORD = 2, 3, 7, 8, 13, 14
RANK_SHIFT, TYPE_SHIFT, INTERLEAVE_SHIFT, SWIZZLE_SHIFT, FILL_SHIFT, TF32_SHIFT = 4, 7, 11, 13, 15, 16
LATER_SWIZZLES = 3 << 19 | 1 << 22  # atoms larger than 16 bytes, and a bit that tensormap.replace clears with the mode
MAX_ELEMENT_STRIDE = 8

# Element types as tensormap.replace numbers them (PTX ISA), and their bytes.
U8, U16, U32, S32, U64, S64, F16, F32, F32_FTZ, F64, BF16 = range(11)
ELEMENT_BYTES = (1, 2, 4, 4, 8, 8, 2, 4, 4, 8, 2)
# CUDA's host library numbers them differently from 8 on (cuda.h, CUtensorMapDataType).
HOST_TYPES = (U8, U16, U32, S32, U64, S64, F16, F32, F64, BF16)
HOST_TYPE_OF_DEVICE = (0, 1, 2, 3, 4, 5, 6, 7, 10, 8, 9, 11, 12, 13, 14, 15)
SWIZZLE_NONE, SWIZZLE_32, SWIZZLE_64, SWIZZLE_128 = range(4)
_SPAN = (None, 32, 64, 128)  # bytes of a box row under a swizzle
_FLOATS = (F16, BF16, F32, F64)


def encode(
    address: int,
    sizes: Sequence[int],
    strides: Sequence[int],
    box: Sequence[int],
    element: int,
    *,
    swizzle: int = SWIZZLE_NONE,
    fill_nan: bool = False,
    element_strides: Sequence[int] = (),
) -> bytes:
    """Make a tensor map.

    Args:
        address: of element 0, in bytes.
        sizes: elements in each dimension, innermost first.
        strides: bytes between elements of dimensions 1, 2, ...
        box: elements a copy takes in each dimension.
        element: one of the element types of this module.
        swizzle: one of the swizzles of this module.
        fill_nan: NaN rather than zero outside the tensor; floats only.
        element_strides: a copy takes every n-th element of a dimension's box; that of dimension 0 is ignored. All 1 if
            empty.

    Raises:
        LaunchError: a rule of cuTensorMapEncodeTiled is broken, named with the offending value; or a box row shorter
            than its swizzle, which is not modelled.
    """
    _check(address, sizes, strides, box, element, swizzle)
    steps = element_strides or [1] * len(sizes)
    if len(steps) != len(sizes) or not all(1 <= step <= MAX_ELEMENT_STRIDE for step in steps):
        raise LaunchError(f"tensor map: element strides {list(steps)}, must be {len(sizes)} of 1 to 8")
    if fill_nan and element not in _FLOATS:
        raise LaunchError(f"tensor map: NaN outside elements of type {element}, must be a float type, {_FLOATS}")
    words = [0] * (BYTES // 4)
    words[0], words[1] = address & 0xFFFFFFFF, address >> 32
    words[FLAGS_WORD] = (
        len(sizes) - 1 << RANK_SHIFT | element << TYPE_SHIFT | swizzle << SWIZZLE_SHIFT | fill_nan << FILL_SHIFT
    )
    for i, stride in enumerate(strides):
        words[STRIDE_WORD + i] = stride >> 4 & 0xFFFFFFFF
        words[STRIDE_HIGH_WORD] |= (stride >> 36) << 4 * i
    for i, size in enumerate(sizes):
        words[SIZE_WORD + i] = size - 1
    words[BOX0_WORD] = box[0] - 1 << 24 | sum(step - 1 << 3 * i for i, step in enumerate(steps))
    for i, size in enumerate(box[1:]):
        words[BOX_WORD] |= size - 1 << 8 * i
    return struct.pack("<32I", *words)


def _check(
    address: int, sizes: Sequence[int], strides: Sequence[int], box: Sequence[int], element: int, swizzle: int
) -> None:
    rank = len(sizes)
    if not 1 <= rank <= MAX_RANK or len(strides) != rank - 1 or len(box) != rank:
        raise LaunchError(
            f"tensor map: {rank} sizes, {len(strides)} strides and {len(box)} box sizes; "
            f"expected 1 to {MAX_RANK} sizes, one stride less, and as many box sizes"
        )
    if not 0 <= element < len(ELEMENT_BYTES):
        raise LaunchError(
            f"tensor map: element type {element} is not modelled, known are 0 to {len(ELEMENT_BYTES) - 1}"
        )
    if address % 16:
        raise LaunchError(f"tensor map: address {address:#x} is not a multiple of 16")
    for i, stride in enumerate(strides):
        if stride % 16 or not 0 <= stride < 1 << 40:
            raise LaunchError(f"tensor map: stride {stride} of dimension {i + 1}, must be a multiple of 16 below 2^40")
    for i, size in enumerate(sizes):
        if not 1 <= size <= 1 << 32:
            raise LaunchError(f"tensor map: size {size} of dimension {i}, must be 1 to 2^32")
    for i, size in enumerate(box):
        if not 1 <= size <= 256:
            raise LaunchError(f"tensor map: box size {size} of dimension {i}, must be 1 to 256")
    row, span = box[0] * ELEMENT_BYTES[element], _SPAN[swizzle]
    if row % 16 or (span is not None and row != span):
        legal = "a multiple of 16" if span is None else f"{span}, as the swizzle"
        raise LaunchError(f"tensor map: a box row of {row} bytes, must be {legal}")


def encode_tiled(
    address: int,
    swizzle: int,
    element_bytes: int,
    host_type: int,
    box: Sequence[int],
    shape: Sequence[int],
    strides: Sequence[int],
    padding: int,
) -> bytes:
    """Make a tensor map from Triton's arguments: outermost dimension first, strides in elements.

    Raises:
        LaunchError: as `encode`, or an element type whose values a copy would change or unpack.
    """
    if not 0 <= host_type < len(HOST_TYPES):
        raise LaunchError(
            f"tensor descriptor of host element type {host_type}: packed and rounded types are not modelled"
        )
    inner_first = [stride * element_bytes for stride in reversed(strides[:-1])]
    return encode(
        address, list(reversed(shape)), inner_first, list(reversed(box)), HOST_TYPES[host_type],
        swizzle=swizzle, fill_nan=padding == 1,
    )  # fmt: skip
