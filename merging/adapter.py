"""PEFT adapters (LoRA): read as the checkpoint that one makes of its base, or as factors of their own."""

import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import torch

from merging import kernels
from merging.checkpoint import FACTORS, Checkpoint, Stored, TensorInfo, open_safetensors
from merging.digest import tensor_digest, weights_digest
from merging.hub import locate
from merging.tied import apart, class_ties
from merging.tokenizer import read_json, tokenizer_files
from results.errors import InputError
from results.record import CheckpointIdentity
from results.weights import refuse_no_weights

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX, _BASE_LAYER = "base_model.model.", ".base_layer."
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(\.weight)?")

_OTHER_KINDS = ("alora_invocation_tokens", "use_qalora", "layer_replication")
"""Settings by which an adapter acts after some tokens only, on pooled inputs, or on repeated layers."""


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to a matrix: `left` (rows, rank), scaled, times `right` (rank, columns)."""

    left: torch.Tensor
    right: torch.Tensor

    def block(self, start: int, stop: int) -> torch.Tensor:
        """Return the entries `start` to `stop` of the flattened product, float32."""
        out = torch.empty(stop - start)
        kernels.low_rank(self.left.numpy(), self.right.numpy(), start, out.numpy())
        return out


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter's files.

    Attributes:
        folder: where they lie.
        config: the content of adapter_config.json.
        stored: every tensor of the file, by its name there.
    """

    folder: Path
    config: Mapping[str, Any]
    stored: Mapping[str, Stored]

    @classmethod
    def open(cls, folder: Path) -> "Adapter":
        """Open an adapter's folder.

        Raises:
            InputError: it is not whole, or of a kind other than plain LoRA.
        """
        config = read_json(folder / CONFIG)
        if not isinstance(config, dict):
            raise InputError(f"{folder / CONFIG} holds no mapping; an adapter's configuration is expected.")
        for setting in _OTHER_KINDS:
            if config.get(setting):
                raise InputError(
                    f"{folder} is an adapter with `{setting}`, which is no fixed sum to its base's weights; "
                    "plain LoRA is what can be merged."
                )
        kind = config.get("peft_type")
        if kind != "LORA" or config.get("use_dora") or config.get("use_bdlora"):
            called = "DoRA" if config.get("use_dora") else kind
            raise InputError(
                f"{folder} is an adapter of the kind {called}; plain LoRA is what can be merged."
            )
        if not (folder / WEIGHTS).is_file():
            raise InputError(f"{folder} has no {WEIGHTS}; copy or download the adapter again.")
        stored = open_safetensors(folder / WEIGHTS)
        refuse_no_weights(folder / WEIGHTS, {name: one.info.dtype for name, one in stored.items()}, {})
        return cls(folder, config, stored)

    @property
    def base(self) -> str:
        """Where its base is: a folder, beside the adapter's where it lies there, or a hub name.

        Raises:
            InputError: it names none.
        """
        named = self.config.get("base_model_name_or_path")
        if not isinstance(named, str) or not named:
            raise InputError(f"{self.folder / CONFIG} names no base; write it as base+adapter.")
        beside = self.folder / named
        return str(beside) if beside.is_dir() else named

    def factors(self) -> Checkpoint:
        """The factors themselves as a checkpoint, A and B of every matrix apart."""
        described = {"model_type": FACTORS, **_shape_settings(self.config)}
        return Checkpoint(self.folder, described, [WEIGHTS], self.stored)

    @property
    def saved_tables(self) -> frozenset[str]:
        """The base's own tables that peft saves beside factors of them, by the base's names."""
        return frozenset(
            name.removeprefix(_PREFIX).replace(_BASE_LAYER, ".")
            for name in self.stored
            if _BASE_LAYER in name
        )

    def changes(self) -> tuple[dict[str, LowRank], dict[str, torch.Tensor]]:
        """What it adds to matrices of its base, and what it puts in place of tensors, by the base's names.

        Raises:
            InputError: half of a pair of factors is missing.
        """
        halves: dict[str, dict[str, torch.Tensor]] = {}
        replaced = {}
        for name, stored in self.stored.items():
            tensor = stored.flat.reshape(stored.info.shape)
            inner = name.removeprefix(_PREFIX).replace(_BASE_LAYER, ".")
            match = _FACTOR.fullmatch(inner)
            if match is None:
                replaced[inner] = tensor
                continue
            side = ("embedding " if match["embedding"] else "") + match["side"]
            halves.setdefault(match["module"], {})[side] = tensor.float()
        return {f"{module}.weight": self._low_rank(module, pair) for module, pair in halves.items()}, replaced

    def _low_rank(self, module: str, pair: Mapping[str, torch.Tensor]) -> LowRank:
        embedding = any(side.startswith("embedding") for side in pair)
        start = "embedding " if embedding else ""
        if {f"{start}A", f"{start}B"} != set(pair):
            raise InputError(f"{self.folder / WEIGHTS}: {module} has one of two factors; save it again.")
        a, b = pair[f"{start}A"], pair[f"{start}B"]  # (rank, in) and (out, rank)
        scaling = self._alpha(module) / (sqrt(len(a)) if self.config.get("use_rslora") else len(a))
        if embedding or self.config.get("fan_in_fan_out"):
            a, b = b.T, a.T
        return LowRank((b * scaling).contiguous(), a.contiguous())

    def _alpha(self, module: str) -> float:
        """As peft looks it up: the first pattern that ends the module's name, else the common one."""
        for pattern, alpha in (self.config.get("alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                return float(alpha)
        return float(self.config.get("lora_alpha", 8))


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
        described = str(sorted(_shape_settings(self._adapter.config).items()))
        weights = weights_digest([*lines, (base.weights, described, (), "")])
        return CheckpointIdentity(weights, base.config, base.tokenizer)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no whole model beside it."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a whole model by folder or hub name; or an adapter, also as `base+adapter`, as what it makes.

    The folder of `base+adapter` is the adapter's: an engine runs that on the base which it names itself.

    Raises:
        InputError: it is not there, is not whole, or is of a kind that cannot be merged.
    """
    base, plus, adapter = str(path).rpartition("+")
    if plus and base and not Path(path).exists():
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


def _shape_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide what the factors mean."""
    names = ("r", "lora_alpha", "use_rslora", "fan_in_fan_out", "rank_pattern", "alpha_pattern")
    return {name: config[name] for name in names if config.get(name)}


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
    return apart(base)


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
