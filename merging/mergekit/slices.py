"""Slices: the merged model's blocks from ranges of the models' blocks, one slice after the other.

Each slice is merged for itself, by its own sources and parameters, so a slice's lists go over its own blocks.
Ours is one merge of stacks: the base stacked from the sources that are the base, each expert from the first,
second, … source of every slice, with settings that hold for a slice's blocks.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.stacked import BlockRange, is_embedding, stack_location
from merging.layers import LayerPosition, layer_positions
from merging.mergekit.document import Document, Parameters, Slice
from merging.mergekit.experts import Merged, named, with_base
from merging.mergekit.methods import Given, Ours, TheirMethod
from merging.mergekit.parameters import filters
from merging.varying import reader
from results.errors import InputError

_BLOCK_NUMBER = re.compile(r"\.\d+(\.|$)|layers?\.\d")


@dataclass(frozen=True)
class Sliced:
    """A document, of models or of slices, as one merge of ours.

    Attributes:
        base: location of the base.
        experts: locations by name.
        ours: the method, with settings by the blocks.
    """

    base: str
    experts: Mapping[str, str]
    ours: Ours


@dataclass(frozen=True)
class _Segment:
    """One slice: what is merged in the order of its sources, and the base's blocks where it has some."""

    merged: Sequence[BlockRange]
    base: BlockRange | None
    parameters: Sequence[Parameters | None]
    own: Parameters | None

    @property
    def length(self) -> int:
        return self.merged[0].stop - self.merged[0].first


def read_slices(
    document: Document, slices: Sequence[Slice], theirs: TheirMethod, base: str | None, where: str
) -> Sliced:
    """Return slices, whose models are locations, as one merge.

    Raises:
        InputError: sources do not fit together, or their parameters cannot be told apart by blocks.
    """
    refuse_numbers_in_filters(document, slices, where)
    segments = [
        _segment(one, document, theirs, base, f"{where}: slice {i}") for i, one in enumerate(slices, start=1)
    ]
    counts = {len(segment.merged) for segment in segments}
    if len(counts) > 1 or len({segment.base is None for segment in segments}) > 1:
        raise InputError(
            f"{where}: the slices merge different numbers of models ({', '.join(map(str, sorted(counts)))}); "
            "merge those of each number by a document of its own, and stack the results by 'passthrough'."
        )
    columns = [[segment.merged[i] for segment in segments] for i in range(counts.pop())]
    names = named([column[0].path for column in columns])
    read = [
        theirs.read(
            Given(
                (segment.own, document.parameters),
                {
                    name: (parameters, segment.own, document.parameters)
                    for name, parameters in zip(names, segment.parameters, strict=True)
                },
                has_base=segment.base is not None and theirs.base != "merged",
                where=f"{where}: slice {i + 1}",
            )
        )
        for i, segment in enumerate(segments)
    ]
    bases = [segment.base or segment.merged[0] for segment in segments]
    start = stack_location(bases)
    return Sliced(
        start,
        {name: stack_location(column) for name, column in zip(names, columns, strict=True)},
        _joined(read, [segment.length for segment in segments], start, where),
    )


def refuse_numbers_in_filters(document: Document, slices: Sequence[Slice], where: str) -> None:
    """Refuse filters by a block's number, which is one in the source and another in the merged model."""
    given = [source.parameters for one in slices for source in one.sources]
    for text in filters([document.parameters, *(one.parameters for one in slices), *given]):
        if _BLOCK_NUMBER.search(text):
            raise InputError(f"{where}: the filter {text!r} names a block by its number; slices take none.")


def _segment(one: Slice, document: Document, theirs: TheirMethod, base: str | None, where: str) -> _Segment:
    base = one.base_model or base
    ranges = {source.model: source.layer_range for source in one.sources}
    lengths = {stop - first for first, stop in ranges.values()}
    if len(lengths) > 1:
        raise InputError(f"{where}: the sources have different numbers of blocks; give each as many.")
    if base is not None and base not in ranges:
        if theirs.base != "merged":
            raise InputError(f"{where}: the base model is none of its sources; list its blocks too.")
        base = None
    listed = [Merged(source.model, source.parameters) for source in one.sources]
    merged = with_base(theirs, document.merge_method, base, listed, where)
    parts = {model: BlockRange(model, *pair) for model, pair in ranges.items()}
    return _Segment(
        [parts[each.location] for each in merged],
        parts[base] if base is not None else None,
        [each.parameters for each in merged],
        one.parameters,
    )


def _joined(read: Sequence[Ours], lengths: Sequence[int], base: str, where: str) -> Ours:
    """Return one method for all slices, with each setting by their blocks where it differs."""
    stops = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    blocks = [[stop - length, stop] for stop, length in zip(stops, lengths, strict=True)]
    names = open_checkpoint(base).names
    outside = [name for name, position in layer_positions(names).items() if position.layer is None]
    tasks = list(dict.fromkeys(task for ours in read for task in ours.weights))

    def of_all(key: str, values: Sequence[Any]) -> Any:
        if len(values) == 1:
            return values[0]
        if any(isinstance(value, Mapping) for value in values):
            by_task = [
                value if isinstance(value, Mapping) else dict.fromkeys(tasks, value) for value in values
            ]
            return {task: of_all(key, [value[task] for value in by_task]) for task in by_task[0]}
        if all(value == values[0] for value in values) and not isinstance(values[0], list):
            return values[0]
        if any(isinstance(value, str | bool) for value in values):
            raise InputError(f"{where}: '{key}' differs between slices, which is not supported.")
        return _by_blocks(key, values, blocks, outside)

    first = read[0]
    if any(ours.name != first.name or ours.divide != first.divide for ours in read):
        raise InputError(f"{where}: 'normalize' differs between slices, which is not supported.")
    return replace(
        first,
        settings={key: of_all(key, [ours.settings[key] for ours in read]) for key in first.settings},
        weights={task: of_all("weight", [ours.weights[task] for ours in read]) for task in tasks},
    )


def _by_blocks(
    key: str, values: Sequence[Any], blocks: Sequence[list[int]], outside: Sequence[str]
) -> list[dict[str, Any]]:
    """Return one setting from those of the slices: in their blocks, and outside of blocks by tensor."""
    entries = [
        {**(entry if isinstance(entry, Mapping) else {"value": value}), "layers": span}
        for value, span in zip(values, blocks, strict=True)
        for entry in (value if isinstance(value, list) and isinstance(value[0], Mapping) else [value])
    ]
    nowhere = LayerPosition(None, blocks[-1][1])
    for name in outside:
        # As mergekit has it, embeddings are of the first slice, the rest of the last, at its lists' start.
        value = values[0] if is_embedding(name) else values[-1]
        entries.append({"filter": name, "value": reader(value, key)(name, nowhere)})
    return entries
