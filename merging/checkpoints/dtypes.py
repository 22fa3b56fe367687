"""Dtypes of stored tensors: their codes and names, and which of them are weights.

Merging, training and scoring all ask here, by the headers of files, so that a checkpoint is taken by all
or by none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from merging.checkpoints.when_used import torch
from results.errors import InputError

_NAMES: dict[str, str] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
"""What torch calls the dtypes, by their codes."""
_CODES = {name: code for code, name in _NAMES.items()}

NBYTES: dict[str, int] = {
    code: 1 if code == "BOOL" else int(re.search(r"\d+", code)[0]) // 8  # type: ignore[index]
    for code in _NAMES
}
"""Bytes of one entry, by the code."""

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Codes of floats of which task vectors are taken; those of eight bits mean nothing without their scales."""

BY_NAME: dict[str, str] = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""The output dtypes of a recipe, which are also config.json's names."""


def torch_dtype(code: str) -> torch.dtype:
    """Return torch's dtype of a code."""
    dtype: torch.dtype = getattr(torch, _NAMES[code])
    return dtype


def code_of(dtype: torch.dtype) -> str | None:
    """Return the code of a dtype of torch; None where the format has none."""
    return _CODES.get(str(dtype).removeprefix("torch."))


def raw_bytes(numbers: torch.Tensor) -> np.ndarray:
    """Return the bytes of a tensor of the CPU in row-major order, uint8 (nbytes,), without a copy."""
    raw: np.ndarray = numbers.reshape(-1).view(torch.uint8).numpy()
    return raw


def bfloat16_bits(numbers: torch.Tensor) -> np.ndarray:
    """Return flat bfloat16 numbers of the CPU as aligned uint16; a view where the file's layout allows it."""
    return np.require(numbers.view(torch.uint16).numpy(), requirements="A")


_COUNTS = frozenset({"I64", "I32", "BOOL"})
"""Positions, indices and masks lie in these beside weights; no parameter does."""

_FLOAT8_NAMES = ("fp8", "float8", "float-quantized", "e4m3", "e5m2")


def refuse_no_weights(where: Path, dtypes: Mapping[str, str], config: Mapping[str, Any]) -> None:
    """Refuse tensors in a dtype that means nothing by itself.

    Weights are floats of sixteen bits or more. Eight-bit floats are weights where the configuration says that
    they are quantised so and their scales lie beside them, and other packed numbers where it has a
    `quantization_config`. Integers that are no weights (positions, masks) may lie in any checkpoint.

    Args:
        where: the folder or file, for the message.
        dtypes: dtype codes of the safetensors format by the tensors' names.
        config: the model's, or adapter's, configuration.

    Raises:
        InputError: names the tensor, its dtype and what is missing.
    """
    quantised = config.get("quantization_config")
    for name, dtype in sorted(dtypes.items()):
        if dtype in FLOATS or _counts(name, dtype):
            continue
        start = f"{where}: the tensor {name!r} has dtype {dtype}"
        advice = "dequantise the model to F32, BF16 or F16."
        if not quantised:
            raise InputError(
                f"{start}, which is no weight without a `quantization_config` that says how to read it; "
                f"{advice}"
            )
        if dtype.startswith("F8"):
            if not any(word in json.dumps(quantised).lower() for word in _FLOAT8_NAMES):
                raise InputError(f"{start}, but `quantization_config` speaks of no 8-bit floats; {advice}")
            if not _has_scale(name, dtypes):
                raise InputError(f"{start}, but its scale does not lie beside it; {advice}")


def _counts(name: str, dtype: str) -> bool:
    last = name.rpartition(".")[2]
    # The causal mask of old GPT-2s is called a bias.
    return (dtype in _COUNTS and last != "weight") or (dtype == "U8" and last == "bias")


def _has_scale(name: str, dtypes: Collection[str]) -> bool:
    module = name.removesuffix("weight")
    return any(
        other != name and other.startswith(module) and "scale" in other[len(module) :] for other in dtypes
    )
