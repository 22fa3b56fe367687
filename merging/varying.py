"""A setting that differs from tensor to tensor: over the depth of the model, or by the tensors' names.

A list of numbers goes evenly over the blocks of a stack, the first number at the first block and the last at
the last, with a straight line between two of them; tensors outside of blocks have the first number. A list of
`{filter, value}` gives a tensor the value of the first entry whose filter is a part of the tensor's name; an
entry without a filter, or with `*`, is for all. This is how mergekit's files say it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from merging.layers import LayerPosition
from results.errors import InputError
from results.validation import Settings, quoted, validated

Scalar = float | int | bool | str
EVERYWHERE = "*"


def _not_empty(layers: list[int]) -> list[int]:
    if len(layers) != 2 or not 0 <= layers[0] < layers[1]:
        raise ValueError("a first block from 0 and one behind the last are expected")
    return layers


class ForTensors(Settings):
    """A value for the tensors whose name has a part."""

    filter: str | None = Field(None, min_length=1)
    """The part; null, or `*`, is all tensors."""
    layers: Annotated[list[int], AfterValidator(_not_empty)] | None = None
    """First block and the one behind the last for which it is, and over which a list goes; null is all, and
    tensors outside of blocks."""
    value: Scalar | Annotated[list[Scalar], Field(min_length=1)]
    """The value, or several over the depth."""

    def holds_for(self, tensor: str, position: LayerPosition) -> bool:
        """Whether a tensor's name has the part, and its block is one of those."""
        if self.layers and (position.layer is None or not self.layers[0] <= position.layer < self.layers[1]):
            return False
        return self.filter in (None, EVERYWHERE) or str(self.filter) in tensor

    def within(self, position: LayerPosition) -> LayerPosition:
        """Return a tensor's position among those blocks."""
        if not self.layers or position.layer is None:
            return position
        return LayerPosition(position.layer - self.layers[0], self.layers[1] - self.layers[0])


def refuse_wrong(value: object) -> object:
    """Return a setting as it is.

    Raises:
        ValueError: it is a list that is neither of plain values nor of `{filter, value}`.
    """
    if is_varying(value):
        _entries(value)
    return value


VaryingNumber = Annotated[float | list[Any], BeforeValidator(refuse_wrong)]
"""A number, or how it differs from tensor to tensor."""


def is_varying(value: object) -> bool:
    """Whether a setting, if it is one of several kinds of tensors, is given for them apart."""
    return isinstance(value, list)


def reader(value: Any, setting: str, depth: int | None = None) -> Callable[[str, LayerPosition], Any]:
    """Return what gives a setting for one tensor, by its name and where it lies; the setting is read once.

    Of a mapping, as of values by task, each value is read.

    Args:
        value: the setting as it is written.
        setting: what an error calls it.
        depth: number of blocks of the deepest stack; None where ranges of blocks need not be within it.

    Raises:
        InputError: the list has another form, or names blocks that are not there; of the function, no filter
            is for the tensor.
    """
    if isinstance(value, Mapping):
        of_each = {key: reader(inner, f"{setting}.{key}", depth) for key, inner in value.items()}
        return lambda tensor, position: {key: read(tensor, position) for key, read in of_each.items()}
    if not is_varying(value):
        return lambda tensor, position: value
    try:
        entries = _entries(value)
    except ValueError as error:
        raise InputError(f"The setting '{setting}': {error}.") from None
    for entry in entries:
        if depth is not None and entry.layers and entry.layers[1] > depth:
            raise InputError(
                f"The setting '{setting}' is for the blocks {entry.layers[0]} to before {entry.layers[1]}, "
                f"and the model has {depth}."
            )

    def read(tensor: str, position: LayerPosition) -> Any:
        for entry in entries:
            if entry.holds_for(tensor, position):
                found = entry.value
                return _over_depth(found, entry.within(position)) if isinstance(found, list) else found
        raise InputError(
            f"The setting '{setting}' has no value for the tensor {tensor!r}; add one without a filter."
        )

    return read


def _entries(value: Any) -> list[ForTensors]:
    are_plain = bool(value) and all(isinstance(entry, Scalar) for entry in value)
    if not are_plain and not (value and all(isinstance(entry, Mapping) for entry in value)):
        raise ValueError(
            f"a list of values over the depth, or of {{filter, value}}, is expected, not {quoted(value)}"
        )
    try:
        if are_plain:
            return [validated(ForTensors, {"value": value}, "the list")]
        return [validated(ForTensors, entry, f"entry {i + 1}") for i, entry in enumerate(value)]
    except InputError as error:
        raise ValueError(str(error).rstrip(".")) from None


def _over_depth(values: Sequence[Scalar], position: LayerPosition) -> Scalar:
    """Return the value at a block. The only block of a stack has the last, as in mergekit."""
    if position.layer is None:
        along = 0.0
    else:
        along = position.layer / (position.depth - 1) if position.depth > 1 else 1.0
    place = along * (len(values) - 1)
    before = int(place)
    first, second = values[before], values[min(before + 1, len(values) - 1)]
    if not (_is_number(first) and _is_number(second)):
        return first
    if first == second:
        return first
    return (1 - (place - before)) * float(first) + (place - before) * float(second)


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
