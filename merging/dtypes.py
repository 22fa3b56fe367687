"""Tensor dtypes: the codes of the safetensors format, torch's dtypes, and the names in config.json."""

import numpy as np
import torch

from results.weights import FLOATS

BY_CODE: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}

CODES: dict[torch.dtype, str] = {dtype: code for code, dtype in BY_CODE.items()}

MERGED = FLOATS
"""What task vectors are taken of; eight-bit floats, which mean nothing without their scales, are copied."""

BY_NAME: dict[str, str] = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""The output dtypes of a recipe, which are also config.json's names."""


def bfloat16_bits(numbers: torch.Tensor) -> np.ndarray:
    """Return flat bfloat16 numbers of the CPU as aligned uint16; a view where the file's layout allows it."""
    return np.require(numbers.view(torch.uint16).numpy(), requirements="A")
