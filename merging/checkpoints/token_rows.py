"""Tables of a model with a row for each token: which they are, and their rows in another order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.dtypes import torch_dtype
from merging.checkpoints.patched import Part
from merging.checkpoints.tied import model_class
from merging.checkpoints.when_used import torch

_ROWS_AT_ONCE = 4096


def vocabulary_size(config: Mapping[str, Any]) -> int | None:
    """Return how many rows the tables of a configuration have; None where it does not say."""
    text = config.get("text_config")
    size = config.get("vocab_size", text.get("vocab_size") if isinstance(text, Mapping) else None)
    return size if isinstance(size, int) else None


def with_vocabulary_size(config: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Return a configuration with another number of rows, said wherever it says one."""
    changed = dict(config)
    if isinstance(changed.get("text_config"), Mapping) and "vocab_size" in changed["text_config"]:
        changed["text_config"] = {**changed["text_config"], "vocab_size": rows}
    if "vocab_size" in changed or "text_config" not in changed:
        changed["vocab_size"] = rows
    return changed


def empty_model(config: Mapping[str, Any]) -> Any:
    """Return the model of a configuration without weights; None where transformers knows no class for it."""
    import transformers

    rest = {key: deepcopy(value) for key, value in config.items() if key != "model_type"}
    try:
        settled = transformers.AutoConfig.for_model(config.get("model_type"), **rest)
        with torch.device("meta"):
            return model_class(config)(settled)
    except Exception:  # whatever its checks make of values that it refuses
        return None


def token_tables(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the tensors with a row for each token, as the model class has them: embedding, head, its bias.

    Empty where no class of transformers is known for the configuration.
    """
    model = empty_model(checkpoint.config)
    if model is None:
        return ()
    ends = [end for end in (model.get_input_embeddings(), model.get_output_embeddings()) if end is not None]
    known = {
        f"{name}.{parameter}"
        for name, module in model.named_modules(remove_duplicate=False)
        if any(module is end for end in ends)
        for parameter, _ in module.named_parameters(recurse=False)
    }
    rows = vocabulary_size(checkpoint.config)
    return tuple(
        name
        for name in checkpoint.names
        if checkpoint.info(name).shape[:1] == (rows,)
        and any(f".{name}".endswith(f".{one}") or f".{one}".endswith(f".{name}") for one in known)
    )


@dataclass(frozen=True)
class TokenRows:
    """A table of which each row is one of a checkpoint's table, or comes from elsewhere.

    Attributes:
        owner: the checkpoint.
        name: its table, (rows, columns) or (rows,).
        places: for every new row the owner's, or −1, int64 (new rows,).
        elsewhere: a table of the new rows, for those with −1.
        dtype: of what is returned, a code of safetensors.
    """

    owner: Checkpoint
    name: str
    places: torch.Tensor
    elsewhere: Part
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(new rows, columns), or (new rows,)."""
        return (len(self.places), *self.owner.info(self.name).shape[1:])

    def block(self, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened table."""
        columns = self.shape[1] if len(self.shape) == 2 else 1
        first, last = start // columns, -(-stop // columns)
        places, parts = self.places[first:last], []
        # Rows that lie together on either side are read together.
        breaks = (places.diff() != 1) & ~((places[1:] == -1) & (places[:-1] == -1))
        bounds = [0, *(breaks.nonzero()[:, 0] + 1).tolist(), len(places)]
        for begin, end in pairwise(bounds):
            place = int(places[begin])
            lower = max((first + begin) * columns, start) - first * columns
            upper = min((first + end) * columns, stop) - first * columns
            if place < 0:
                part = self.elsewhere.block(lower + first * columns, upper + first * columns)
            else:
                shift = (place - begin) * columns
                part = self.owner.block(self.name, lower + shift, upper + shift)
            parts.append(part.to(torch_dtype(self.dtype)))
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class FilledRows:
    """Rows that no table has: each the mean of some rows of others, in float32.

    Args:
        shape: (rows, columns), or (rows,).
        donors: by row, whose rows are averaged: a checkpoint, its table and the row there.
        otherwise: gives the row, (columns,), of which there is no donor.
    """

    dtype = "F32"

    def __init__(
        self,
        shape: tuple[int, ...],
        donors: Mapping[int, list[tuple[Checkpoint, str, int]]],
        otherwise: Callable[[], torch.Tensor],
    ) -> None:
        self.shape, self._donors, self._otherwise = shape, donors, otherwise

    def block(self, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened table."""
        columns = self.shape[1] if len(self.shape) == 2 else 1
        first, last = start // columns, -(-stop // columns)
        rows = torch.cat([self._row(row, columns) for row in range(first, last)])
        return rows[start - first * columns : stop - first * columns]

    def _row(self, row: int, columns: int) -> torch.Tensor:
        given = [
            owner.block(name, place * columns, (place + 1) * columns).float()
            for owner, name, place in self._donors.get(row, ())
        ]
        return torch.stack(given).mean(0) if given else self._otherwise()


class ChosenRows:
    """Rows of which some are named, each one of a table or of zeros, and the others lie in another table.

    Args:
        otherwise: the other table, (rows, columns) or (rows,).
        chosen: by row, a checkpoint, its table and the row there; None for zeros.
    """

    def __init__(self, otherwise: Part, chosen: Mapping[int, tuple[Checkpoint, str, int] | None]) -> None:
        self.shape, self.dtype = otherwise.shape, otherwise.dtype
        self._otherwise, self._chosen = otherwise, chosen
        self._sorted = sorted(chosen)

    def block(self, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened table."""
        columns = self.shape[1] if len(self.shape) == 2 else 1
        first, last = start // columns, -(-stop // columns)
        inside = self._sorted[bisect_left(self._sorted, first) : bisect_left(self._sorted, last)]
        parts, at = [], start
        for row in inside:
            begin, end = max(row * columns, start), min((row + 1) * columns, stop)
            if at < begin:
                parts.append(self._otherwise.block(at, begin))
            parts.append(self._row(row, columns)[begin - row * columns : end - row * columns])
            at = end
        if at < stop or not parts:
            parts.append(self._otherwise.block(at, stop))
        return (
            parts[0] if len(parts) == 1 else torch.cat([part.to(torch_dtype(self.dtype)) for part in parts])
        )

    def _row(self, row: int, columns: int) -> torch.Tensor:
        source = self._chosen[row]
        if source is None:
            return torch.zeros(columns)
        owner, name, place = source
        return owner.block(name, place * columns, (place + 1) * columns)


def mean_row(checkpoint: Checkpoint, name: str) -> torch.Tensor:
    """Return the mean of a table's rows, float32 (columns,).

    As a row of the head its logit is the mean of all, so it is never the largest.
    """
    info = checkpoint.info(name)
    columns = info.numel // info.shape[0]
    total = torch.zeros(columns, dtype=torch.float64)
    for start in range(0, info.numel, columns * _ROWS_AT_ONCE):
        block = checkpoint.block(name, start, min(start + columns * _ROWS_AT_ONCE, info.numel))
        total += block.double().reshape(-1, columns).sum(0)
    return (total / info.shape[0]).float()
