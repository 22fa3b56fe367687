"""What an adapter makes of its base's tensors: sums of low rank, new lengths of rows, rows, whole tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt

from merging.checkpoints.adapter import WEIGHTS, Adapter, LowRank, inner_name
from merging.checkpoints.when_used import torch
from results.errors import InputError

_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(\.weight)?")
_BIAS = re.compile(r"(?P<module>.+)\.lora_B\.bias")
_MAGNITUDE = re.compile(r"(?P<module>.+)\.lora_magnitude_vector(\.weight)?")
_TOKENS = re.compile(r"(?P<module>.+)\.token_adapter\.trainable_tokens_delta")
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Rows:
    """Rows that stand in place of a table's: `values` (n, columns) at `places`, ascending."""

    places: tuple[int, ...]
    values: torch.Tensor


@dataclass(frozen=True)
class Magnitudes:
    """DoRA's lengths m: a matrix becomes m / ‖W + ΔW‖ · (W + ΔW), row by row of its inputs to one output.

    Attributes:
        lengths: m.
        by_column: whether an output is a column of the stored matrix, as in embeddings and GPT-2's layers.
    """

    lengths: torch.Tensor
    by_column: bool


@dataclass(frozen=True)
class Changes:
    """All that an adapter changes, by the base's names of tensors; `added` are vectors for biases."""

    low_rank: dict[str, LowRank] = field(default_factory=dict)
    magnitudes: dict[str, Magnitudes] = field(default_factory=dict)
    added: dict[str, torch.Tensor] = field(default_factory=dict)
    rows: dict[str, Rows] = field(default_factory=dict)
    replaced: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The tensors that are changed."""
        return {*self.low_rank, *self.added, *self.rows, *self.replaced}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes that the base's tensors must have, but for those of which rows are changed."""
        return {
            **{name: (one.left.shape[0], one.right.shape[1]) for name, one in self.low_rank.items()},
            **{name: tuple(one.shape) for name, one in {**self.added, **self.replaced}.items()},
        }


def changes_of(adapter: Adapter) -> Changes:
    """Return what an adapter changes in its base.

    Raises:
        InputError: half of a pair of factors is missing, or a setting does not fit the tensors.
    """
    changes = Changes()
    halves: dict[str, dict[str, torch.Tensor]] = {}
    biases, lengths = {}, {}
    for name, stored in adapter.stored.items():
        tensor = stored.flat.reshape(stored.info.shape)
        inner = inner_name(name)
        if match := _FACTOR.fullmatch(inner):
            side = ("embedding " if match["embedding"] else "") + match["side"]
            halves.setdefault(match["module"], {})[side] = tensor.float()
        elif match := _BIAS.fullmatch(inner):
            biases[match["module"]] = tensor.float()
        elif match := _MAGNITUDE.fullmatch(inner):
            lengths[match["module"]] = tensor.float().reshape(-1)
        elif match := _TOKENS.fullmatch(inner):
            changes.rows[f"{match['module']}.weight"] = _rows(adapter, match["module"], tensor.float())
        else:
            changes.replaced[inner] = tensor
    for module, pair in halves.items():
        weight = f"{module}.weight"
        changes.low_rank[weight] = _low_rank(adapter, module, pair)
        if module in biases:
            changes.added[f"{module}.bias"] = biases[module] * _scaling(adapter, module, pair)
        if module in lengths:
            by_column = _is_embedding(pair) or bool(adapter.config.get("fan_in_fan_out"))
            changes.magnitudes[weight] = Magnitudes(lengths[module], by_column)
    _refuse_unlike(adapter, changes)
    return changes


def row_factors(low_rank: LowRank, magnitudes: Magnitudes, weight: torch.Tensor) -> torch.Tensor:
    """Return m / ‖W + ΔW‖, one number for each row of a stored matrix, or for each column.

    Args:
        low_rank: ΔW.
        magnitudes: m.
        weight: W, (rows, columns).
    """
    rows, columns = weight.shape
    squares = torch.zeros(columns if magnitudes.by_column else rows, dtype=torch.float64)
    for start in range(0, rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, rows)
        changed = low_rank.block(start * columns, stop * columns).reshape(-1, columns)
        wide = changed.add_(weight[start:stop]).double().square_()
        if magnitudes.by_column:
            squares += wide.sum(0)
        else:
            squares[start:stop] = wide.sum(1)
    return (magnitudes.lengths.double() / squares.sqrt()).float()


def _refuse_unlike(adapter: Adapter, changes: Changes) -> None:
    config = adapter.config
    for setting, asked, there in (
        ("use_dora", bool(config.get("use_dora")), bool(changes.magnitudes)),
        ("lora_bias", bool(config.get("lora_bias")), bool(changes.added)),
        ("trainable_token_indices", bool(config.get("trainable_token_indices")), bool(changes.rows)),
    ):
        if asked != there:
            has = "has tensors of it" if there else "has no tensor of it"
            raise InputError(
                f"{adapter.folder}: its configuration says `{setting}: {config.get(setting)}`, but "
                f"{WEIGHTS} {has}; save it again."
            )
    if changes.magnitudes and changes.added:
        raise InputError(
            f"{adapter.folder} has `lora_bias` with `use_dora`, whose lengths peft takes with the bias in "
            "them; write the adapted model out with peft and merge that."
        )
    if both := sorted({*changes.rows}.intersection({*changes.low_rank, *changes.replaced})):
        raise InputError(
            f"{adapter.folder} changes {both[0]!r} by `trainable_token_indices` and whole; leave one out."
        )


def _is_embedding(pair: Mapping[str, torch.Tensor]) -> bool:
    return any(side.startswith("embedding") for side in pair)


def _low_rank(adapter: Adapter, module: str, pair: Mapping[str, torch.Tensor]) -> LowRank:
    start = "embedding " if _is_embedding(pair) else ""
    if {f"{start}A", f"{start}B"} != set(pair):
        raise InputError(f"{adapter.folder / WEIGHTS}: {module} has one of two factors; save it again.")
    a, b = pair[f"{start}A"], pair[f"{start}B"]  # (rank, in) and (out, rank)
    if a.ndim != 2 or b.ndim != 2:
        raise InputError(
            f"{adapter.folder / WEIGHTS}: the factors of {module} have {a.ndim} dimensions; `target_modules` "
            "with convolutions cannot be merged."
        )
    scaling = _scaling(adapter, module, pair)
    if start or adapter.config.get("fan_in_fan_out"):
        a, b = b.T, a.T
    return LowRank((b * scaling).contiguous(), a.contiguous())


def _scaling(adapter: Adapter, module: str, pair: Mapping[str, torch.Tensor]) -> float:
    rank = len(pair["embedding A" if _is_embedding(pair) else "A"])
    return _alpha(adapter, module) / (sqrt(rank) if adapter.config.get("use_rslora") else rank)


def _alpha(adapter: Adapter, module: str) -> float:
    """As peft looks it up: the first pattern that ends the module's name, else the common one."""
    for pattern, alpha in (adapter.config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return float(alpha)
    return float(adapter.config.get("lora_alpha", 8))


def _rows(adapter: Adapter, module: str, values: torch.Tensor) -> Rows:
    asked = adapter.config.get("trainable_token_indices") or []
    if isinstance(asked, Mapping):
        asked = next((one for name, one in asked.items() if f".{module}".endswith(f".{name}")), [])
    if len(asked) != len(values) or len(set(asked)) != len(asked):
        raise InputError(
            f"{adapter.folder}: `trainable_token_indices` names {len(asked)} rows of {module}, and {WEIGHTS} "
            f"has {len(values)}; save it again."
        )
    order = sorted(range(len(asked)), key=lambda i: asked[i])
    return Rows(tuple(int(asked[i]) for i in order), values[order].contiguous())
