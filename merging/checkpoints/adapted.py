"""Checkpoints opened by path or hub name: whole models, and those that adapters make of their bases."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path

import numpy as np

from merging.checkpoints.adapter import CONFIG, WEIGHTS, Adapter, is_adapter, scaling_settings
from merging.checkpoints.adapter_changes import Changes, Rows, changes_of, row_factors
from merging.checkpoints.checkpoint import Checkpoint, TensorInfo
from merging.checkpoints.digests import weights_digest
from merging.checkpoints.dtypes import raw_bytes
from merging.checkpoints.folders import exists, locate
from merging.checkpoints.stacked import StackedCheckpoint, stack_parts
from merging.checkpoints.tied import class_ties, untied
from merging.checkpoints.token_rows import vocabulary_size
from merging.checkpoints.tokenizer_files import both_vocabularies, tokenizer_files
from merging.checkpoints.when_used import torch
from results.errors import InputError, and_more
from results.record import CheckpointIdentity


class AdaptedCheckpoint(Checkpoint):
    """The checkpoint that an adapter makes of its base, made block by block: θ + B·A·α/r.

    Its folder is the adapter's, its configuration the base's. Where the adapter changes one of two tables
    that the base ties, the two are apart, since an adapter that runs beside its base changes only the one.
    """

    def __init__(self, base: Checkpoint, adapter: Adapter) -> None:
        self._adapter, self._given = adapter, base
        self._changes = changes = changes_of(adapter)
        self._base = base = _apart_where_changed(base, adapter, changes)
        _refuse_misfits(base, adapter, changes)
        self._replaced = {name: tensor.reshape(-1) for name, tensor in changes.replaced.items()}
        self._factors: dict[str, torch.Tensor] = {}
        self._names = {name: name for name in base.names}
        self.folder, self.config = adapter.folder, base.config
        self.home, self.was_tied = base.home, base.was_tied
        own_tokenizer = bool(tokenizer_files(adapter.folder))
        self.tokenizer_folder = adapter.folder if own_tokenizer else base.tokenizer_folder
        self.files = (
            *(str((base.folder / file).resolve()) for file in base.files),
            str((adapter.folder / CONFIG).resolve()),
            str((adapter.folder / WEIGHTS).resolve()),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names, sorted."""
        return tuple(sorted(self._names))

    def info(self, name: str) -> TensorInfo:
        """Return the dtype and shape of a tensor; what the adapter changes is float32."""
        inner = self._names[name]
        stored = self._base.info(inner)
        return TensorInfo(name, "F32" if inner in self._changes.names else stored.dtype, stored.shape)

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor."""
        info = self.info(name)
        return self.block(name, 0, info.numel).reshape(info.shape)

    def block(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened tensor."""
        inner = self._names[name]
        stored = self._base.block(inner, start, stop)
        if inner not in self._changes.names:
            return stored
        replaced = self._replaced.get(inner)
        block = stored.float() if replaced is None else replaced[start:stop].float()
        stop = start + len(block)
        if inner in self._changes.low_rank:
            block = self._changes.low_rank[inner].block(start, stop).add_(block)
        if inner in self._changes.added:
            block = block + self._changes.added[inner][start:stop]
        if inner in self._changes.magnitudes:
            block = self._scaled(inner, block, start)
        if inner in self._changes.rows:
            block = _with_rows(block.clone(), self._changes.rows[inner], start)
        return block

    def raw(self, name: str, start: int, stop: int) -> np.ndarray:
        """Return the bytes of the same entries, uint8."""
        return raw_bytes(self.block(name, start, stop))

    def _scaled(self, name: str, block: torch.Tensor, start: int) -> torch.Tensor:
        """Return a block of W + ΔW in the lengths that DoRA gives it."""
        changes, columns = self._changes, self._base.info(name).shape[1]
        if name not in self._factors:  # two threads may do it both, and find the same
            weight = self._base.tensor(name).float()
            factors = row_factors(changes.low_rank[name], changes.magnitudes[name], weight)
            self._factors[name] = factors
        places = torch.arange(start, start + len(block))
        by_column = changes.magnitudes[name].by_column
        return block * self._factors[name][places % columns if by_column else places // columns]

    def showing(self, names: Mapping[str, str]) -> AdaptedCheckpoint:
        """Return the same checkpoint with only some of its tensors, under other names."""
        view = copy(self)
        view._names = {new: self._names[old] for new, old in names.items()}
        return view

    def check_named_base(self) -> None:
        """Refuse an adapter that names another base than it is opened on: an engine runs it on that one.

        Raises:
            InputError: the base that it names is another, or cannot be had.
        """
        try:
            named = locate(self._adapter.base)
        except InputError as error:
            raise InputError(
                f"{self.folder} runs on the base that its {CONFIG} names, which cannot be had: {error}"
            ) from error
        if named.resolve() == self._given.folder.resolve():
            return
        if open_checkpoint(named).identity() != self._given.identity():
            raise _other_base(self._adapter, self._adapter.base, str(self._given.folder))

    def hash(self, names: object) -> None:
        """Nothing is hashed ahead: the base is hashed on its own, and the adapter is small."""

    def identity(self) -> CheckpointIdentity:
        """Digests of the base's, with the adapter's tensors and settings in that of the weights."""
        base = self._base.identity()
        lines = self._adapter.digests.described(tuple(self._adapter.stored.values()))
        settings = scaling_settings(self._adapter.config)
        if tokens := self._adapter.config.get("trainable_token_indices"):
            settings["trainable_token_indices"] = tokens
        described = str(sorted(settings.items()))
        weights = weights_digest([*lines, (base.weights, described, (), "")])
        return base.but(weights=weights)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a whole model by folder or hub name, an adapter or `base+adapter` as what it makes, or a stack.

    The folder of `base+adapter` is the adapter's: an engine runs that on the base which it names itself.

    Raises:
        InputError: it is not there, is not whole, or is of a kind that cannot be merged.
    """
    if (parts := stack_parts(path)) and not exists(path):
        return StackedCheckpoint(parts, open_checkpoint)
    base, plus, adapter = str(path).rpartition("+")
    if plus and base and not exists(path):
        opened, given = Adapter.open(_adapter_folder(adapter)), Checkpoint.open(base)
        named = Path(opened.base)
        if named.is_dir() and Checkpoint.open(named).identity() != given.identity():
            raise _other_base(opened, str(named), base)
        return AdaptedCheckpoint(given, opened)
    folder = locate(path)
    if not is_adapter(folder):
        return Checkpoint.open(folder)
    opened = Adapter.open(folder)
    return AdaptedCheckpoint(open_checkpoint(opened.base), opened)


def _other_base(adapter: Adapter, named: str, given: str) -> InputError:
    return InputError(
        f"{adapter.folder} was trained on {named}, which is not {given}, and would run on it; name the "
        "adapter alone, or write the other base into its configuration."
    )


def _adapter_folder(path: str) -> Path:
    folder = locate(path)
    if not is_adapter(folder):
        raise InputError(f"{folder} is no adapter: it has no {CONFIG}, or is a whole model.")
    return folder


def _with_rows(block: torch.Tensor, rows: Rows, start: int) -> torch.Tensor:
    columns = rows.values.shape[1]
    for place, values in zip(rows.places, rows.values, strict=True):
        first, last = max(place * columns, start), min((place + 1) * columns, start + len(block))
        if first < last:
            block[first - start : last - start] = values[first - place * columns : last - place * columns]
    return block


def _apart_where_changed(base: Checkpoint, adapter: Adapter, changes: Changes) -> Checkpoint:
    """Return the base, its tied tables apart where the adapter changes one of them.

    A table that was saved beside factors stands for both: it joins `replaced` under the other's name too.
    Rows of single tokens are both tables', as peft has them.

    Raises:
        InputError: the adapter asks to keep the tie, or the base's kind cannot store the tables apart.
    """
    changed, replaced = {*changes.low_rank, *changes.replaced}, changes.replaced
    known, rows = set(base.names), (vocabulary_size(base.config),)
    # Importing a model class takes seconds, so it is not done for an adapter of other layers.
    if all(name in known and base.info(name).shape[:1] != rows for name in changed):
        return base
    touched = [pair for pair in class_ties(base).items() if changed.intersection(pair)]
    if not touched:
        return base
    if changes.rows:
        raise InputError(
            f"The adapter {adapter.folder} changes single rows of tables that its base {base.folder} ties "
            "(`trainable_token_indices`), and one of the tables otherwise too; leave one out."
        )
    name = min(changed.intersection(touched[0]))
    start = (
        f"The adapter {adapter.folder} changes {name!r}, which its base {base.folder} ties to another table"
    )
    if adapter.config.get("ensure_weight_tying"):
        raise InputError(
            f"{start}, and asks to keep it tied (`ensure_weight_tying`); write the adapted model out with "
            "peft and merge that."
        )
    if base.config.get("is_encoder_decoder"):
        raise InputError(
            f"{start}, and encoder-decoders cannot store the two apart; leave it out of `target_modules` and "
            "`modules_to_save`."
        )
    for duplicate, table in touched:
        for one, other in ((duplicate, table), (table, duplicate)):
            if one in adapter.saved_tables and other not in replaced:
                replaced[other] = replaced[one]
    return untied(base)


def _refuse_misfits(base: Checkpoint, adapter: Adapter, changes: Changes) -> None:
    start, known = f"The adapter {adapter.folder} changes", set(base.names)
    for name in sorted(changes.names - known):
        if name in changes.rows:
            raise InputError(
                f"{start} rows of {name!r} (`trainable_token_indices`), which its base {base.folder} does "
                "not store by itself; train them in the embedding, or name the base that it was trained on."
            )
        if name in changes.added:
            raise InputError(
                f"{start} the bias {name!r} (`lora_bias`), which its base {base.folder} lacks, so that the "
                "merged model has no place for it; train the adapter without `lora_bias`."
            )
        raise InputError(
            f"{start} the tensor {name!r}, which its base {base.folder} lacks; name the base that it was "
            "trained on."
        )
    for name, shape in changes.shapes().items():
        ours = tuple(base.info(name).shape)
        if ours == shape:
            continue
        if ours[1:] == shape[1:] and ours[0] == vocabulary_size(base.config):
            raise InputError(
                f"{start} {name!r} of {shape[0]} rows, but in its base {base.folder} it has {ours[0]}"
                f"{_only_token(base, adapter)}; add the tokens to the base and resize its embedding, as "
                "was done before the adapter was trained."
            )
        raise InputError(
            f"{start} {name!r} of shape {list(shape)}, but in its base {base.folder} it has "
            f"{list(ours)}; name the base that it was trained on."
        )
    for name, rows in changes.rows.items():
        ours = tuple(base.info(name).shape)
        if rows.places[-1] >= ours[0] or rows.values.shape[1:] != ours[1:]:
            raise InputError(
                f"{start} rows up to {rows.places[-1]} of {name!r} (`trainable_token_indices`), which has "
                f"the shape {list(ours)} in its base {base.folder}; name the base that it was trained on."
            )


def _only_token(base: Checkpoint, adapter: Adapter) -> str:
    ours, theirs = both_vocabularies(base.home, adapter.folder)
    added = sorted(theirs.keys() - ours.keys(), key=lambda token: (theirs[token], token))
    return f" (only the adapter's has {added[0]!r}{and_more(added)})" if added else ""
