"""Checkpoints opened by path or hub name: whole models, and those that adapters make of their bases."""

from collections.abc import Mapping
from copy import copy
from pathlib import Path

import torch

from merging.checkpoints.adapter import CONFIG, WEIGHTS, Adapter, LowRank, is_adapter, scaling_settings
from merging.checkpoints.checkpoint import Checkpoint, TensorInfo
from merging.checkpoints.digests import tensor_digest, weights_digest
from merging.checkpoints.folders import exists, locate
from merging.checkpoints.tied import class_ties, untied
from merging.checkpoints.tokenizer_files import tokenizer_files
from results.errors import InputError
from results.record import CheckpointIdentity


class AdaptedCheckpoint(Checkpoint):
    """The checkpoint that an adapter makes of its base, made block by block: θ + B·A·α/r.

    Its folder is the adapter's, its configuration the base's. Where the adapter changes one of two tables
    that the base ties, the two are apart, since an adapter that runs beside its base changes only the one.
    """

    def __init__(self, base: Checkpoint, adapter: Adapter) -> None:
        self._adapter = adapter
        self._low_rank, replaced = adapter.changes()
        self._base = base = _apart_where_changed(base, adapter, self._low_rank, replaced)
        _refuse_misfits(base, adapter, self._low_rank, replaced)
        self._replaced = {name: tensor.reshape(-1) for name, tensor in replaced.items()}
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
        changed = inner in self._low_rank or inner in self._replaced
        return TensorInfo(name, "F32" if changed else stored.dtype, stored.shape)

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor."""
        info = self.info(name)
        return self.block(name, 0, info.numel).reshape(info.shape)

    def block(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened tensor."""
        inner = self._names[name]
        replaced = self._replaced.get(inner)
        stored = self._base.block(inner, start, stop)
        block = stored if replaced is None else replaced[start:stop].float()
        if inner not in self._low_rank:
            return block
        return self._low_rank[inner].block(start, start + len(block)).add_(block)

    def showing(self, names: Mapping[str, str]) -> "AdaptedCheckpoint":
        """Return the same checkpoint with only some of its tensors, under other names."""
        view = copy(self)
        view._names = {new: self._names[old] for new, old in names.items()}
        return view

    def hash(self, names: object) -> None:
        """Nothing is hashed ahead: the base is hashed on its own, and the adapter is small."""

    def identity(self) -> CheckpointIdentity:
        """Digests of the base's, with the adapter's tensors and settings in that of the weights."""
        base = self._base.identity()
        lines = [
            (name, stored.info.dtype, stored.info.shape, tensor_digest(stored.flat))
            for name, stored in self._adapter.stored.items()
        ]
        described = str(sorted(scaling_settings(self._adapter.config).items()))
        weights = weights_digest([*lines, (base.weights, described, (), "")])
        return base.but(weights=weights)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a whole model by folder or hub name; or an adapter, also as `base+adapter`, as what it makes.

    The folder of `base+adapter` is the adapter's: an engine runs that on the base which it names itself.

    Raises:
        InputError: it is not there, is not whole, or is of a kind that cannot be merged.
    """
    base, plus, adapter = str(path).rpartition("+")
    if plus and base and not exists(path):
        opened, given = Adapter.open(_adapter_folder(adapter)), Checkpoint.open(base)
        named = Path(opened.base)
        if named.is_dir() and Checkpoint.open(named).identity() != given.identity():
            raise InputError(
                f"{opened.folder} was trained on {named}, which is not {base}, and would run on it; "
                "name the adapter alone, or write the other base into its configuration."
            )
        return AdaptedCheckpoint(given, opened)
    folder = locate(path)
    if not is_adapter(folder):
        return Checkpoint.open(folder)
    opened = Adapter.open(folder)
    return AdaptedCheckpoint(open_checkpoint(opened.base), opened)


def _adapter_folder(path: str) -> Path:
    folder = locate(path)
    if not is_adapter(folder):
        raise InputError(f"{folder} is no adapter: it has no {CONFIG}, or is a whole model.")
    return folder


def _apart_where_changed(
    base: Checkpoint, adapter: Adapter, low_rank: Mapping[str, LowRank], replaced: dict[str, torch.Tensor]
) -> Checkpoint:
    """Return the base, its tied tables apart where the adapter changes one of them.

    A table that was saved beside factors stands for both: it joins `replaced` under the other's name too.

    Raises:
        InputError: the adapter asks to keep the tie, or the base's kind cannot store the tables apart.
    """
    changed = {*low_rank, *replaced}
    known, rows = set(base.names), (base.config.get("vocab_size"),)
    # Importing a model class takes seconds, so it is not done for an adapter of other layers.
    if all(name in known and base.info(name).shape[:1] != rows for name in changed):
        return base
    touched = [pair for pair in class_ties(base).items() if changed.intersection(pair)]
    if not touched:
        return base
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


def _refuse_misfits(
    base: Checkpoint,
    adapter: Adapter,
    low_rank: Mapping[str, LowRank],
    replaced: Mapping[str, torch.Tensor],
) -> None:
    shapes: dict[str, tuple[int, ...]] = {
        name: (one.left.shape[0], one.right.shape[1]) for name, one in low_rank.items()
    }
    shapes |= {name: tuple(tensor.shape) for name, tensor in replaced.items()}
    known = set(base.names)
    for name, shape in shapes.items():
        if name not in known:
            raise InputError(
                f"The adapter {adapter.folder} changes the tensor {name!r}, which its base {base.folder} "
                "lacks; name the base that it was trained on."
            )
        if tuple(base.info(name).shape) != shape:
            raise InputError(
                f"The adapter {adapter.folder} changes {name!r} of shape {list(shape)}, but in its base "
                f"{base.folder} it has {list(base.info(name).shape)}; name the base that it was trained on."
            )
