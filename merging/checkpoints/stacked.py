"""A checkpoint stacked from blocks of others, in place of a folder: `models/a[0:24] | models/b[8:32]`.

Blocks are counted from 0, and the one behind the last is named, as in Python. Embeddings come from the first
part, the final norm and the head from the last.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.digests import weights_digest
from merging.checkpoints.patched import Borrowed, PatchedCheckpoint
from merging.checkpoints.tied import without_duplicates
from merging.checkpoints.token_rows import empty_model
from merging.layers import layer_positions
from results.errors import InputError
from results.record import CheckpointIdentity

_SEPARATOR = " | "
_PART = re.compile(r"(?P<path>.+)\[(?P<first>\d{1,6}):(?P<stop>\d{1,6})\]")
_EMBEDDING = re.compile(r"embed(?!_out|ding_norm)|wte|wpe")
"""Of tensors outside of blocks; GPT-NeoX's head is `embed_out`, LFM2's final norm `embedding_norm`."""
_DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_BY_LAYER = ("layer_types", "mlp_layer_types", "no_rope_layers", "layers_block_type")
_BY_INDEX = ("mlp_only_layers", "first_k_dense_replace", "cross_attention_layers", "moe_layer_start_index")
"""Keys that say by their index which blocks are of another kind; a stack would mean others by them."""


@dataclass(frozen=True)
class BlockRange:
    """The blocks `first` to `stop` of a checkpoint."""

    path: str
    first: int
    stop: int

    def __str__(self) -> str:
        return f"{self.path}[{self.first}:{self.stop}]"


def stack_parts(location: str | Path) -> tuple[BlockRange, ...]:
    """Return the parts that a location names; none where it names a folder or a hub name."""
    matches = [_PART.fullmatch(part) for part in str(location).split(_SEPARATOR)]
    found = [match for match in matches if match is not None]
    if len(found) != len(matches):
        return ()
    return tuple(BlockRange(match["path"], int(match["first"]), int(match["stop"])) for match in found)


def is_embedding(name: str) -> bool:
    """Whether a tensor outside of blocks stands before them, and is of the first part."""
    return bool(_EMBEDDING.search(name))


def stack_location(parts: Sequence[BlockRange]) -> str:
    """Return the location that names some parts."""
    return _SEPARATOR.join(map(str, parts))


def with_paths(location: str, change: Callable[[str], str]) -> str:
    """Return a location with the path of each part changed, or its own where it is no stack."""
    parts = stack_parts(location)
    return stack_location([replace(part, path=change(part.path)) for part in parts]) or change(location)


class StackedCheckpoint(PatchedCheckpoint):
    """The checkpoint that parts of others make; settings and tokenizer are those of the first part's.

    Attributes:
        sources: the checkpoints by path, the first part's first.
    """

    def __init__(self, parts: Sequence[BlockRange], open_checkpoint: Callable[[str], Checkpoint]) -> None:
        self.stacked = tuple(parts)
        self.sources = {
            path: without_duplicates(open_checkpoint(path)) for path in dict.fromkeys(p.path for p in parts)
        }
        opened = [self.sources[part.path] for part in parts]
        depths = [_depth(source, part) for source, part in zip(opened, parts, strict=True)]
        blocks = [
            (source, index)
            for source, part in zip(opened, parts, strict=True)
            for index in range(part.first, part.stop)
        ]
        borrowed: dict[str, Borrowed] = {}
        for place, (source, index) in enumerate(blocks):
            for name, shown in _of_block(source, index, place):
                borrowed[shown] = Borrowed(source, name)
        for name, source in _outside(opened):
            borrowed[name] = Borrowed(source, name)
        first = opened[0]
        config = _config(parts, opened, depths, len(blocks))
        _refuse_other_blocks(borrowed, blocks, config)
        super().__init__(first.showing({}), borrowed, config)
        files = [source.folder / file for source in self.sources.values() for file in source.files]
        self.files = tuple(str(file.resolve()) for file in files)

    def hash(self, names: object) -> None:
        """Nothing is hashed ahead: a tensor may be of several blocks."""

    def identity(self) -> CheckpointIdentity:
        """Digests of the first part's, with every part in that of the weights."""
        whole = {path: source.identity() for path, source in self.sources.items()}
        lines = [
            (str(place), whole[part.path].weights, (part.first, part.stop), "")
            for place, part in enumerate(self.stacked)
        ]
        return whole[self.stacked[0].path].but(weights=weights_digest(lines))

    def views(self) -> dict[str, Checkpoint]:
        """Return the sources as models of one depth, whose settings can be compared."""
        views = {}
        for path, source in self.sources.items():
            views[path] = source.showing({name: name for name in source.names})
            left_out = {*_DEPTHS, *_BY_LAYER}
            views[path].config = {key: value for key, value in source.config.items() if key not in left_out}
        return views


def _depth(source: Checkpoint, part: BlockRange) -> int:
    """Return a model's number of blocks.

    Raises:
        InputError: it has several stacks, the range is none of it, or its settings name blocks by index.
    """
    depths = {
        name.split(f".{position.layer}.")[0]: position.depth
        for name, position in layer_positions(source.names).items()
        if position.layer is not None
    }
    if len(depths) != 1:
        raise InputError(
            f"{part.path} has {len(depths)} stacks of blocks, and a model of one is expected where blocks "
            "are stacked."
        )
    (depth,) = depths.values()
    if not part.first < part.stop <= depth:
        raise InputError(
            f"{part}: the model has {depth} blocks; a first one and one behind the last, up to {depth}, are "
            "expected."
        )
    for key in _BY_INDEX:
        if source.config.get(key):
            raise InputError(
                f"{part.path}: its configuration names blocks by their index (`{key}`), so they cannot be "
                "stacked."
            )
    return depth


def _of_block(source: Checkpoint, index: int, place: int) -> Iterator[tuple[str, str]]:
    """Yield each tensor of a block, with its name where the block stands in the stack."""
    for name, position in layer_positions(source.names).items():
        if position.layer == index:
            before, after = name.split(f".{index}.", 1)
            yield name, f"{before}.{place}.{after}"


def _outside(opened: Sequence[Checkpoint]) -> Iterator[tuple[str, Checkpoint]]:
    """Yield each tensor outside of blocks with the checkpoint that it is taken from."""
    names = [
        {name for name, position in layer_positions(source.names).items() if position.layer is None}
        for source in opened
    ]
    for source, own in zip(opened, names, strict=True):
        if own != names[0]:
            raise InputError(
                f"{source.folder} and {opened[0].folder} differ in the tensor {min(own ^ names[0])!r}, which "
                "only one has; stack models of one kind."
            )
    for name in sorted(names[0]):
        yield name, opened[0] if is_embedding(name) else opened[-1]


def _refuse_other_blocks(
    borrowed: Mapping[str, Borrowed], blocks: Sequence[tuple[Checkpoint, int]], config: Mapping[str, Any]
) -> None:
    """Refuse blocks of different models with other tensors or shapes, and blocks in places of another kind.

    In a model of alternating kinds (dense, then experts) a block's place decides its kind. Kinds are judged
    by the blocks that the model class makes of the configurations, since files name experts otherwise.
    """
    expected = _blocks(config)
    known = {source.folder: _blocks(source.config) if expected else {} for source, _ in blocks}
    made = [known[source.folder].get(index, {}) for source, index in blocks]
    stored = _by_block({name: one.shape for name, one in borrowed.items()})
    first = blocks[0][0]
    for place, (source, _) in enumerate(blocks):
        alike = (
            p for p, (one, _) in enumerate(blocks) if one is first and made[p].keys() == made[place].keys()
        )
        like = next(alike, place)
        if source is not first and (differing := {*stored[place].items()} ^ {*stored[like].items()}):
            raise InputError(
                f"Blocks of {source.folder} and {first.folder} differ in the tensor "
                f"{min(differing)[0]!r} or its shape; stack models of one kind."
            )
    for place, (source, index) in enumerate(blocks):
        if made[place] and (differing := {*made[place].items()} ^ {*expected[place].items()}):
            raise InputError(
                f"Block {index} of {source.folder} would be block {place} of the stack, where there is "
                f"one of another kind (it differs in {min(differing)[0]!r}); take blocks so that the kinds "
                "alternate as before."
            )


def _blocks(config: Mapping[str, Any]) -> dict[int, dict[str, tuple[int, ...]]]:
    """Return the tensors of each block that a model class has, by their shapes; empty where none is known."""
    model = empty_model(config)
    shapes = {} if model is None else {name: tuple(one.shape) for name, one in model.state_dict().items()}
    return _by_block(shapes)


def _by_block(shapes: Mapping[str, tuple[int, ...]]) -> dict[int, dict[str, tuple[int, ...]]]:
    """Return shapes by block and by the name within it."""
    blocks: dict[int, dict[str, tuple[int, ...]]] = {}
    for name, position in layer_positions(shapes).items():
        if position.layer is not None:
            blocks.setdefault(position.layer, {})[name.split(f".{position.layer}.", 1)[1]] = shapes[name]
    return blocks


def _config(
    parts: Sequence[BlockRange], opened: Sequence[Checkpoint], depths: Sequence[int], blocks: int
) -> dict[str, Any]:
    """Return the first part's configuration with the stack's depth, and what blocks are of each kind."""
    config = dict(opened[0].config)
    key = next((key for key in _DEPTHS if key in config), None)
    if key is None:
        raise InputError(f"{parts[0].path}: its configuration names no number of blocks ({_DEPTHS[0]}).")
    settled = [_lists(source, depth) for source, depth in zip(opened, depths, strict=True)]
    config[key] = blocks
    for name in _BY_LAYER:
        if all(name in lists for lists in settled):
            config[name] = [
                kind
                for part, lists in zip(parts, settled, strict=True)
                for kind in lists[name][part.first : part.stop]
            ]
    return config


def _lists(source: Checkpoint, depth: int) -> dict[str, list[Any]]:
    """Return what a configuration says of each block, also where its class derives it from other keys."""
    import transformers

    content = dict(source.config)
    kind = content.pop("model_type", None)
    if kind in transformers.CONFIG_MAPPING:
        derived = transformers.AutoConfig.for_model(kind, **content).to_dict()
        content |= {key: derived[key] for key in _BY_LAYER if derived.get(key) is not None}
    lists = {key: content[key] for key in _BY_LAYER if isinstance(content.get(key), list)}
    return {
        key: values
        for key, values in lists.items()
        if len(values) == depth and (key in source.config or len(set(values)) > 1)
    }
