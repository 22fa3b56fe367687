"""What a merge did to each tensor, counted block by block while the numbers are in the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from math import sqrt
from typing import Any

import numpy as np

from merging import kernels
from merging.arithmetic import count_nonzero, sum_of_squares
from merging.checkpoints.when_used import torch
from merging.method import MaskSums, MergedBlock


@dataclass
class Tally:
    """Sums over the entries of a tensor, or of several.

    Attributes:
        entries: how many there are.
        result: of the merged delta Δ: Σ Δ², how many are not 0, and Σ (stored − θ₀ − Δ)², (3,).
        tasks: of each task vector τ_t: Σ τ², how many are not 0, how many the method kept, in how many
            neither τ nor Δ is 0, and in how many both have one sign, (n_tasks, 5).
        sparse: whether the method drops entries, and said which.
        mask: what a consensus mask keeps of the weighted sum.
    """

    entries: int
    result: np.ndarray
    tasks: np.ndarray
    sparse: bool
    mask: MaskSums

    @classmethod
    def empty(cls, n_tasks: int) -> Tally:
        """Return the tally of no entries."""
        return cls(0, np.zeros(3), np.zeros((n_tasks, 5)), False, MaskSums())

    def add(self, other: Tally) -> None:
        """Add another's sums."""
        self.entries += other.entries
        self.result += other.result
        self.tasks += other.tasks
        self.sparse = self.sparse or other.sparse
        self.mask = self.mask + other.mask

    def to_json(self) -> list[Any]:
        """Return the sums, for `from_json`."""
        return [
            self.entries,
            self.result.tolist(),
            self.tasks.tolist(),
            self.sparse,
            list(astuple(self.mask)),
        ]

    @classmethod
    def from_json(cls, content: Sequence[Any]) -> Tally:
        """Return the tally that `to_json` gave."""
        entries, result, tasks, sparse, mask = content
        return cls(entries, np.array(result), np.array(tasks), sparse, MaskSums(*mask))

    def summary(self, tasks: Sequence[str]) -> dict[str, Any]:
        """Return the report's numbers.

        `norm` and `density` of the merged delta: its L2 norm, and the share of entries that are not 0;
        `mask_density`: among the entries where Σ w_t τ_t is not 0, the share that a consensus holds (null for
        methods without one); `mask_norm`: the L2 norm of what it holds of Σ w_t τ_t, over the whole sum's;
        `rounding`: the L2 norm of what rounding to the output's dtype took from it or added, over its norm.
        For each expert the norm and density of its task vector, `kept`: the share of the tensor's entries
        that the method kept of it (null where it drops none), and `sign_agreement`: among the entries where
        both are not 0, the share in which the merged delta has its sign. A share of nothing is null.
        """
        squares, nonzero, errors = self.result.tolist()
        norm = _share(self.mask.kept_squares, self.mask.squares)
        return {
            "entries": self.entries,
            "norm": sqrt(squares),
            "density": _share(nonzero, self.entries),
            "mask_density": _share(self.mask.kept, self.mask.entries),
            "mask_norm": None if norm is None else sqrt(norm),
            "rounding": sqrt(errors / squares) if squares else None,
            "experts": {
                name: {
                    "norm": sqrt(moved),
                    "density": _share(changed, self.entries),
                    "kept": _share(kept, self.entries) if self.sparse else None,
                    "sign_agreement": _share(agreeing, both),
                }
                for name, (moved, changed, kept, both, agreeing) in zip(
                    tasks, self.tasks.tolist(), strict=True
                )
            },
        }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def tally(deltas: torch.Tensor, merged: MergedBlock, lost: float) -> Tally:
    """Count one block.

    Args:
        deltas: task vectors, (n_tasks, …).
        merged: what the method made of them.
        lost: Σ (stored − θ₀ − Δ)².
    """
    count = _count_on_cpu if deltas.device.type == "cpu" else _count_by_torch
    delta = merged.delta.reshape(-1)
    tasks = count(deltas.reshape(len(deltas), -1), delta)
    kept = tasks[:, 1] if merged.kept is None else [count_nonzero(left) for left in merged.kept]
    return Tally(
        delta.numel(),
        np.array([sum_of_squares(delta), count_nonzero(delta), lost]),
        np.insert(tasks, 2, kept, axis=1),
        merged.kept is not None,
        merged.mask or MaskSums(),
    )


def _count_on_cpu(deltas: torch.Tensor, merged: torch.Tensor) -> np.ndarray:
    """Return by task what `kernels.tally_beside` says, (n_tasks, 4)."""
    tasks, values = np.zeros((len(deltas), 4)), deltas.numpy()
    kernels.tally_beside(values, values.view(np.uint32), merged.numpy().view(np.uint32), tasks)
    return tasks


def _count_by_torch(deltas: torch.Tensor, merged: torch.Tensor) -> np.ndarray:
    signs = deltas.sign() * merged.sign()
    by_task = torch.stack(
        [
            deltas.square().sum(1, dtype=torch.float64),
            deltas.count_nonzero(1),
            signs.count_nonzero(1),
            (signs > 0).sum(1),
        ],
        dim=1,
    )
    return by_task.to(torch.float64).cpu().numpy()


def whole_model(tensors: Mapping[str, Tally], n_tasks: int) -> Tally:
    """Return the tally over all tensors."""
    total = Tally.empty(n_tasks)
    for tensor in tensors.values():
        total.add(tensor)
    return total
