"""Element, scale and block formats; quantise, dequantise, error measures."""

import mx_formats.kernel_cache  # noqa: F401 - before any kernel is compiled
from mx_formats.block import (
    BLOCK_FORMATS,
    MXFP4,
    MXFP6_E2M3,
    MXFP6_E3M2,
    MXFP8_E4M3,
    MXFP8_E5M2,
    MXINT8,
    BlockFormat,
)
from mx_formats.element import ELEMENTS, ElementFormat, decode, decode_to_float
from mx_formats.encode import encode
from mx_formats.error import qsnr_db
from mx_formats.quantize import Quantized, dequantize, quantize
from mx_formats.scale import E8M0, ScaleFormat

__all__ = [
    "BLOCK_FORMATS",
    "E8M0",
    "ELEMENTS",
    "MXFP4",
    "MXFP6_E2M3",
    "MXFP6_E3M2",
    "MXFP8_E4M3",
    "MXFP8_E5M2",
    "MXINT8",
    "BlockFormat",
    "ElementFormat",
    "Quantized",
    "ScaleFormat",
    "decode",
    "decode_to_float",
    "dequantize",
    "encode",
    "qsnr_db",
    "quantize",
]
