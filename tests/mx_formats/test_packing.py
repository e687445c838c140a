import numpy as np
import pytest
import torch

from mx_formats.element import E2M1, E2M3, E3M2, ELEMENTS, FP16, INT4, INT6
from mx_formats.packing import pack, unpack


@pytest.mark.parametrize("element", [e for e in ELEMENTS.values() if e.bits <= 8], ids=lambda element: element.name)
def test_a_packed_row_is_its_little_endian_bit_stream(element):
    codes = np.random.default_rng(0).integers(0, 1 << element.bits, (3, 5, 16)).astype(np.uint8)
    bits = np.unpackbits(codes[..., None], axis=-1, bitorder="little")[..., : element.bits]
    stream = np.packbits(bits.reshape(3, 5, -1), axis=-1, bitorder="little")
    packed = pack(codes, element)
    np.testing.assert_array_equal(packed, stream)
    np.testing.assert_array_equal(unpack(packed, element), codes)


def test_fp4_is_two_to_a_byte_low_nibble_first():
    codes = np.arange(16, dtype=np.uint8)
    packed = pack(codes, E2M1)
    np.testing.assert_array_equal(packed, codes[::2] | codes[1::2] << 4)
    assert torch.from_numpy(packed).view(torch.float4_e2m1fn_x2).shape == (8,)


@pytest.mark.parametrize("element", [E3M2, E2M3, INT6], ids=lambda element: element.name)
def test_fp6_is_four_to_three_bytes(element):
    packed = pack(np.array([0b000001, 0b000010, 0b000011, 0b111111], np.uint8), element)
    np.testing.assert_array_equal(packed, [0b10_000001, 0b0011_0000, 0b111111_00])


def test_bad_rows_are_named():
    with pytest.raises(ValueError, match="codes: 3 codes of E2M1 in a row, must be a multiple of 2"):
        pack(np.zeros(3, np.uint8), E2M1)
    with pytest.raises(ValueError, match="packed: 4 bytes hold no whole number of 6-bit codes"):
        unpack(np.zeros(4, np.uint8), E2M3)
    with pytest.raises(ValueError, match="0x10 does not fit in the 4 bits of INT4"):
        pack(np.full(2, 16, np.uint8), INT4)
    with pytest.raises(ValueError, match="FP16 has 16 bits, legal up to 8"):
        pack(np.zeros(2, np.uint16), FP16)
    with pytest.raises(ValueError, match="packed: dtype is int64"):
        unpack(np.zeros(4, np.int64), E2M1)
