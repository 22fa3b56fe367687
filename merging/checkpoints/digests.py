"""Digests that say what a checkpoint is: of its weights, its configuration and its tokenizer.

The weights digest is over the sorted (name, dtype, shape, bytes) of every stored tensor, whatever the
files they lie in. The configuration digest covers config.json and generation_config.json, both of which
change what a model answers, less the keys that say only who wrote them; `dtype` stays in, since an engine
may load in it. The tokenizer digest covers the files that shape a prompt.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from merging.checkpoints.folders import read_json
from merging.checkpoints.tokenizer_files import tokenizer_files

_SAYS_ONLY_WHO_WROTE_IT = frozenset({"transformers_version", "_name_or_path", "name_or_path", "_commit_hash"})
_WRITTEN_IN_ANY_ORDER = frozenset({"added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"})


def tensor_digest(raw: np.ndarray) -> str:
    """Return the BLAKE3 digest of a tensor's bytes in row-major order, reading a mapped one page by page.

    As safe as SHA-256 and twice as fast or more, which counts where a merge reads gigabytes.
    """
    return blake3(raw.data).hexdigest()


def weights_digest(tensors: Iterable[tuple[str, str, tuple[int, ...], str]]) -> str:
    """Return the digest over (name, dtype code, shape, digest of the bytes) of every tensor."""
    total = hashlib.sha256()
    for name, dtype, shape, digest in sorted(tensors):
        total.update(_canonical([name, dtype, list(shape), digest]) + b"\n")
    return total.hexdigest()


def config_digest(folder: Path) -> str:
    """Return the digest of config.json (or an adapter's), and of generation_config.json where it is there."""
    name = "config.json" if (folder / "config.json").is_file() else "adapter_config.json"
    files = {name: _without_authors(_renamed_dtype(read_json(folder / name)))}
    generation = folder / "generation_config.json"
    if generation.is_file():
        files["generation_config.json"] = _without_authors(read_json(generation))
    return hashlib.sha256(_canonical(files)).hexdigest()


def tokenizer_digest(folder: Path) -> str:
    """Return the digest over the tokenizer's files that are there; small JSON files in any key order."""
    files: dict[str, Any] = {}
    for name in tokenizer_files(folder):
        path = folder / name
        if name in _WRITTEN_IN_ANY_ORDER:
            files[name] = _without_authors(read_json(path))
        else:
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashlib.sha256(_canonical(files)).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _without_authors(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return {key: value for key, value in content.items() if key not in _SAYS_ONLY_WHO_WROTE_IT}


def _renamed_dtype(config: dict[str, Any]) -> dict[str, Any]:
    """Write `torch_dtype`, as transformers before version 5 had it, as `dtype`."""
    if "torch_dtype" not in config:
        return config
    rest = {key: value for key, value in config.items() if key != "torch_dtype"}
    return {"dtype": config["torch_dtype"]} | rest
