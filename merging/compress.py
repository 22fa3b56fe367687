"""Experts stored as little: one merged vector with a mask for each task, or task vectors of a few bits."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from pathlib import Path
from typing import Any

import torch

from merging.arithmetic import sum_of_squares, weighted_sum
from merging.by_task import of_each_task
from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.checkpoint import Checkpoint, TensorInfo
from merging.checkpoints.dtypes import torch_dtype
from merging.checkpoints.token_rows import vocabulary_size
from merging.companions import copy_companions
from merging.packing import BITS, Grid, pack, packed_bytes
from merging.prepare import task_vectors
from merging.provenance import versions
from merging.sources import absolute_location
from merging.staging import refuse_existing, resumable
from merging.task_vectors import TaskVectors
from merging.write import Shard, WeightsWriter, plan_shards
from results.errors import InputError
from results.json_values import cache_key

REPORT = "compress.json"
MERGED = "merged.safetensors"
MASK_THRESHOLD = 0.4


@dataclass
class _Lost:
    """Sums of squares of a task vector, and of it less what is stored of it, by tensor."""

    all: dict[str, float] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, delta: torch.Tensor, stored: torch.Tensor) -> None:
        """Count one piece of a tensor."""
        self.all[name] = self.all.get(name, 0.0) + sum_of_squares(delta)
        self.lost[name] = self.lost.get(name, 0.0) + sum_of_squares(delta - stored)

    @property
    def tensors(self) -> dict[str, float]:
        """‖τ − τ̂‖ / ‖τ‖ of each tensor that differs from the base's."""
        return {name: sqrt(self.lost[name] / total) for name, total in self.all.items() if total > 0}

    @property
    def whole(self) -> float:
        """The same of the whole model."""
        total = sum(self.all.values())
        return sqrt(sum(self.lost.values()) / total) if total > 0 else 0.0


def compress(
    base: str,
    experts: Mapping[str, str],
    out: Path,
    *,
    bits: int | None = None,
    mask_threshold: float | Mapping[str, float] | None = None,
) -> Path:
    """Write what experts can be made again from, beside their base, by `merging.restore`.

    With `bits`, each expert's task vector at so many bits an entry, on a grid of each tensor's own (TVQ,
    arXiv 2503.06921). Else TALL masks (arXiv 2405.07813): τ_M = Σ_t τ_t in the base's dtype, once for all of
    them, and of each expert one bit an entry, m_t = 1[|τ_t| > λ_t |τ_M − τ_t|]; its task vector is then
    m_t ⊙ τ_M.

    `compress.json` has the bytes of either, and ‖τ_t − τ̂_t‖ / ‖τ_t‖ of every tensor and of each expert.

    Args:
        base: folder or hub name, of an adapter or a stack too.
        experts: by task.
        out: folder to write; it must not exist.
        bits: 8, 4, 3 or 2.
        mask_threshold: λ, one for all or one for each task; 0.4 by default.

    Returns:
        `out`.

    Raises:
        InputError: they do not fit together, have other tokens than the base, or both ways are asked for.
    """
    if bits is not None and (bits not in BITS or mask_threshold is not None):
        wrong = "with masks there are no bits to choose" if bits in BITS else f"bits are {bits}"
        raise InputError(f"{wrong}; give one of {', '.join(map(str, BITS))}, or a threshold of masks alone.")
    _refuse_names(experts)
    refuse_existing(out)
    opened = {name: open_checkpoint(path) for name, path in experts.items()}
    _refuse_other_tokens(open_checkpoint(base), opened)
    vectors = task_vectors(base, experts)
    identities = {name: expert.identity().model_dump() for name, expert in vectors.experts.items()}
    made_from = {
        "kind": "masks" if bits is None else "quantised",
        "bits": bits or 1,
        "base": {"folder": absolute_location(base), **vectors.base.identity().model_dump()},
        "experts": identities,
        "versions": versions(),
    }
    if bits is None:
        threshold = MASK_THRESHOLD if mask_threshold is None else mask_threshold
        each = of_each_task(threshold, tuple(vectors.experts), "masks", "mask_threshold")
        made_from["mask_threshold"] = dict(zip(vectors.experts, each, strict=True))
    with resumable(out, cache_key(made_from)) as folder:
        if bits is None:
            lost = _write_masks(vectors, folder, each)
        else:
            lost = _write_quantised(vectors, folder, bits)
        for name, expert in vectors.experts.items():
            (folder / name).mkdir(exist_ok=True)
            copy_companions(expert, folder / name, None)
        report = {
            **made_from,
            "bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
            "bytes_of_experts": sum(map(_bytes, vectors.experts.values())),
            "error": {name: of_task.whole for name, of_task in lost.items()},
            "tensors": {name: dict(sorted(of_task.tensors.items())) for name, of_task in lost.items()},
            "notices": list(vectors.notices),
        }
        (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return out


def _write_masks(vectors: TaskVectors, folder: Path, thresholds: list[float]) -> dict[str, _Lost]:
    lost = {name: _Lost() for name in vectors.experts}
    sums = _file(MERGED, (vectors.base.info(name) for name in vectors.names))
    packed = [_file(f"{name}.safetensors", _packed(vectors, 1)) for name in lost]
    equally = torch.ones(len(lost))
    with WeightsWriter(folder, [sums]) as to_sums, _Writers(folder, packed) as to_masks:
        for name, block in vectors.pieces():
            deltas, _ = vectors.read(name, block, {})
            merged = weighted_sum(deltas, equally)
            stored = merged.to(torch_dtype(vectors.base.info(name).dtype))
            to_sums.write(name, block.start, stored)
            for place, (of_task, threshold) in enumerate(zip(lost.values(), thresholds, strict=True)):
                mask = deltas[place].abs() > threshold * (merged - deltas[place]).abs()
                to_masks[place].write(name, block.start // 8, pack(mask.to(torch.uint8), 1))
                of_task.add(name, deltas[place], stored.float() * mask)
    return lost


def _write_quantised(vectors: TaskVectors, folder: Path, bits: int) -> dict[str, _Lost]:
    lost = {name: _Lost() for name in vectors.experts}
    scales = [TensorInfo(scale_of(name), "F64", (2,)) for name in vectors.names]
    files = [_file(f"{name}.safetensors", [*_packed(vectors, bits), *scales]) for name in lost]
    grids = _grids(vectors, bits)
    with _Writers(folder, files) as writers:
        for writer, of_tensors in zip(writers, grids, strict=True):
            for name, grid in of_tensors.items():
                writer.write(scale_of(name), 0, torch.tensor([grid.step, grid.zero], dtype=torch.float64))
        for name, block in vectors.pieces():
            deltas, _ = vectors.read(name, block, {})
            for delta, writer, of_tensors, of_task in zip(deltas, writers, grids, lost.values(), strict=True):
                codes = of_tensors[name].codes(delta)
                writer.write(name, block.start * bits // 8, pack(codes, bits))
                of_task.add(name, delta, of_tensors[name].values(codes))
    return lost


def _grids(vectors: TaskVectors, bits: int) -> list[dict[str, Grid]]:
    """Return each task's grids by tensor, from the least and the largest entry."""
    bounds: list[dict[str, tuple[float, float]]] = [{} for _ in vectors.experts]
    for name, block in vectors.pieces():
        deltas, _ = vectors.read(name, block, {})
        for of_tensors, delta in zip(bounds, deltas, strict=True):
            low, high = of_tensors.get(name, (0.0, 0.0))
            of_tensors[name] = min(low, float(delta.min())), max(high, float(delta.max()))
    return [
        {name: Grid.over(*of_tensors.get(name, (0.0, 0.0)), bits) for name in vectors.names}
        for of_tensors in bounds
    ]


def scale_of(name: str) -> str:
    """Return the name of the step and the zero of a tensor, beside its codes."""
    return f"{name}:scale"


class _Writers:
    """A writer for each of several files, in a `with` statement."""

    def __init__(self, folder: Path, files: Iterable[Shard]) -> None:
        self._writers = [WeightsWriter(folder, [file]) for file in files]

    def __enter__(self) -> list[WeightsWriter]:
        return [writer.__enter__() for writer in self._writers]

    def __exit__(self, *error: object) -> None:
        for writer in self._writers:
            writer.__exit__(*error)


def _file(name: str, tensors: Iterable[TensorInfo]) -> Shard:
    listed = list(tensors)
    (only,) = plan_shards(listed, sum(tensor.nbytes for tensor in listed))
    return replace(only, name=name)


def _packed(vectors: TaskVectors, bits: int) -> Iterator[TensorInfo]:
    for name in vectors.names:
        yield TensorInfo(name, "U8", (packed_bytes(vectors.base.info(name).numel, bits),))


def _bytes(expert: Checkpoint) -> int:
    return sum(expert.info(name).nbytes for name in expert.names)


def _refuse_names(experts: Mapping[str, Any]) -> None:
    for name in experts:
        if f"{name}.safetensors" == MERGED or "/" in name or name.startswith("."):
            raise InputError(f"An expert's files cannot be called {name!r}; name the task otherwise.")


def _refuse_other_tokens(base: Checkpoint, experts: Mapping[str, Checkpoint]) -> None:
    for name, expert in experts.items():
        ours, theirs = (vocabulary_size(one.config) for one in (base, expert))
        if ours != theirs:
            raise InputError(
                f"Expert {name!r} ({expert.folder}) has tables of {theirs} rows and the base of {ours}; "
                "resize the base's to the expert's tokens first."
            )
