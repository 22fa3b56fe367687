"""An expert made again from what `merging.compress` stored of it, and its base."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from merging.arithmetic import add_rounded
from merging.blocks import Block, blocks
from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.checkpoint import Checkpoint, Stored, TensorInfo, open_safetensors
from merging.checkpoints.dtypes import FLOATS, torch_dtype
from merging.compress import MERGED, REPORT, scale_of
from merging.method import Scope
from merging.packing import Grid, packed_bytes, unpack
from merging.staging import refuse_existing, resumable
from merging.task_vectors import PIECE, widened
from merging.write import WeightsWriter, plan_shards
from results.errors import InputError
from results.json_values import cache_key

_SHARD = 5 * 10**9


def restore(store: Path, task: str, out: Path, base: str | None = None) -> Path:
    """Write the checkpoint of an expert as near as it is stored: θ₀ + τ̂_t, in the base's dtypes.

    Args:
        store: the folder that `compress` wrote.
        task: the expert's name in there.
        out: folder to write; it must not exist.
        base: folder or hub name, where it lies elsewhere now; its weights must be the same.

    Returns:
        `out`.

    Raises:
        InputError: the folder is no such store, has no such expert, or the base's weights are others.
    """
    refuse_existing(out)
    report = _report(store)
    if task not in report["experts"]:
        raise InputError(f"{store} has no expert {task!r}; there are {', '.join(report['experts'])}.")
    where = base or report["base"]["folder"]
    opened = open_checkpoint(where)
    if opened.identity().weights != report["base"]["weights"]:
        raise InputError(
            f"{where} has other weights than the base of {store}; name the one that it was stored "
            "with (--base)."
        )
    stored = _Store(store, task, report)
    missing = [name for name in opened.names if opened.info(name).dtype in FLOATS and not stored.has(name)]
    if missing:
        raise InputError(f"{store} has nothing of {missing[0]!r}, which {where} has; store it anew.")
    with resumable(
        out, cache_key([report["base"], report["experts"][task], report["kind"], report["bits"]])
    ) as folder:
        shards = plan_shards([opened.info(name) for name in opened.names], _SHARD)
        with WeightsWriter(folder, shards) as writer:
            for name in opened.names:
                _write(writer, opened, stored, name)
            writer.write_index()
        for path in sorted((store / task).iterdir()):
            shutil.copyfile(path, folder / path.name)
    return out


def _write(writer: WeightsWriter, base: Checkpoint, stored: "_Store", name: str) -> None:
    info = base.info(name)
    for block in blocks(info.shape, Scope.ELEMENT, PIECE):
        values = base.block(name, block.start, block.stop)
        if info.dtype in FLOATS:
            delta = stored.delta(info, block)
            values = add_rounded(widened(values), delta, torch_dtype(info.dtype)).weights
        writer.write(name, block.start, values)


class _Store:
    """What is stored of one expert."""

    def __init__(self, folder: Path, task: str, report: dict[str, Any]) -> None:
        self._bits = int(report["bits"])
        self._codes = _opened(folder / f"{task}.safetensors")
        self._sums = _opened(folder / MERGED) if report["kind"] == "masks" else None

    def has(self, name: str) -> bool:
        """Whether a tensor is there."""
        return name in self._codes and (name in self._sums if self._sums else scale_of(name) in self._codes)

    def delta(self, info: TensorInfo, block: Block) -> torch.Tensor:
        """Return τ̂ of a block of a tensor, flat, in float32."""
        data = self._codes[info.name].flat
        start, stop = block.start * self._bits // 8, packed_bytes(block.stop, self._bits)
        codes = unpack(data[start:stop], self._bits, block.stop - block.start)
        if self._sums is not None:
            return self._sums[info.name].flat[block.start : block.stop].float() * codes
        step, zero = self._codes[scale_of(info.name)].flat.tolist()
        return Grid(step, int(zero), self._bits).values(codes)


def _opened(path: Path) -> dict[str, Stored]:
    if not path.is_file():
        raise InputError(f"{path.parent} has no {path.name}; copy it again.")
    return open_safetensors(path)


def _report(store: Path) -> dict[str, Any]:
    path = store / REPORT
    if not path.is_file():
        raise InputError(f"{store} has no {REPORT}; name a folder that `manyshot compress` wrote.")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        known = {"kind": str, "bits": int, "base": dict, "experts": dict}
        whole = all(isinstance(report[key], kind) for key, kind in known.items())
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise InputError(f"{path} is not what `manyshot compress` wrote; copy it again.")
    return dict(report)
