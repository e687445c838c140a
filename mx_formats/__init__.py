"""Element, scale and block formats; quantise, dequantise, pack, error measures."""

import mx_formats.kernel_cache  # noqa: F401 - before any kernel is compiled
from mx_formats.block import (
    BLOCK_FORMATS,
    MXFP4,
    MXFP6_E2M3,
    MXFP6_E3M2,
    MXFP8_E4M3,
    MXFP8_E5M2,
    MXINT4,
    MXINT6,
    MXINT8,
    NVFP4,
    NVINT4,
    OCP_FORMATS,
    BlockFormat,
)
from mx_formats.conversion import OCP, Conversion, Overflow, Rounding, ScaleRule, Specials
from mx_formats.element import ELEMENTS, ElementFormat, decode, decode_to_float
from mx_formats.encode import encode
from mx_formats.error import crest_factors, qsnr_db
from mx_formats.packing import pack, unpack
from mx_formats.quantize import Quantized, dequantize, quantize, round_trip, tensor_scale_of
from mx_formats.scale import E8M0, FP32_SCALE, SCALES, UE4M3, ScaleFormat, decode_scale

__all__ = [
    "BLOCK_FORMATS",
    "E8M0",
    "ELEMENTS",
    "FP32_SCALE",
    "MXFP4",
    "MXFP6_E2M3",
    "MXFP6_E3M2",
    "MXFP8_E4M3",
    "MXFP8_E5M2",
    "MXINT4",
    "MXINT6",
    "MXINT8",
    "NVFP4",
    "NVINT4",
    "OCP",
    "OCP_FORMATS",
    "SCALES",
    "UE4M3",
    "BlockFormat",
    "Conversion",
    "ElementFormat",
    "Overflow",
    "Quantized",
    "Rounding",
    "ScaleFormat",
    "ScaleRule",
    "Specials",
    "crest_factors",
    "decode",
    "decode_scale",
    "decode_to_float",
    "dequantize",
    "encode",
    "pack",
    "qsnr_db",
    "quantize",
    "round_trip",
    "tensor_scale_of",
    "unpack",
]
