"""The linear layers of a model, and matrices of what goes into and out of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from merging.layers import layer_of, layer_positions
from merging.measured import OUTPUT
from merging.texts import Pair, drawn_log_likelihood, forward_inputs, seed_of
from results.errors import InputError

AT_ONCE = 8 * 2**30
"""Bytes of measurements that are gathered in one pass over the texts."""
Advance = Callable[[], None]
"""Called after each text."""


@dataclass(frozen=True)
class LinearLayers:
    """The linear layers inside of a model's transformer blocks.

    Attributes:
        modules: by the name of their weight.
        stored: the name of each one's Gram matrix; layers of a block that read the same tensor have one.
    """

    modules: Mapping[str, Any]
    stored: Mapping[str, str]

    @classmethod
    @torch.no_grad()
    def of(cls, model: Any, pair: Pair) -> "LinearLayers":
        """Find a model's layers; on one text is seen which of them read the same.

        Raises:
            InputError: there is none.
        """
        linear = {
            f"{name}.weight": module
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear | Conv1D)
        }
        positions = layer_positions(linear)
        modules = {name: module for name, module in linear.items() if positions[name].layer is not None}
        if not modules:
            raise InputError(
                f"{type(model).__name__} has no linear layers inside of blocks, whose inputs could be "
                "measured."
            )
        read: list[tuple[str, torch.Tensor]] = []
        with reading(modules, lambda name, value: read.append((name, value))):
            model(**forward_inputs(model, pair)[0])
        first: dict[tuple[int, str], str] = {}
        same = {name: first.setdefault((id(value), layer_of(name)), name) for name, value in read}
        return cls(modules, {name: same.get(name, name) for name in modules})

    @property
    def reads_first(self) -> list[str]:
        """Weights whose first dimension is that of the inputs."""
        return [name for name, module in self.modules.items() if isinstance(module, Conv1D)]

    def sizes(self, name: str) -> tuple[int, int]:
        """Return a layer's numbers of inputs and outputs."""
        one, other = self.modules[name].weight.shape
        return (one, other) if isinstance(self.modules[name], Conv1D) else (other, one)


@contextmanager
def reading(modules: Mapping[str, Any], see: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    """Have what goes into some modules seen, by name."""
    hooks = [
        module.register_forward_pre_hook(lambda _, given, name=name: see(name, given[0]))
        for name, module in modules.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Grams:
    """Means over rows of x x', gathered by name."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._rows: dict[str, int] = {}

    def add(self, name: str, values: torch.Tensor) -> None:
        """Add rows (…, width)."""
        rows = values.detach().reshape(-1, values.shape[-1]).float()
        if name in self._sums:
            self._sums[name].addmm_(rows.t(), rows)
        else:
            self._sums[name] = rows.t() @ rows
        self._rows[name] = self._rows.get(name, 0) + len(rows)

    def means(self, widths: Mapping[str, int]) -> dict[str, torch.Tensor]:
        """Return the means of all names; zeros where no row came, as to an expert of a mixture."""
        return {
            name: self._sums[name] / self._rows[name] if self._rows.get(name) else torch.zeros(width, width)
            for name, width in widths.items()
        }


def in_groups(sizes: Mapping[str, int], at_once: int = AT_ONCE) -> list[list[str]]:
    """Cut names into groups, in order, of at most so many bytes together (one name at least)."""
    groups: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if not groups or size > room:
            groups.append([])
            room = at_once
        groups[-1].append(name)
        room -= size
    return groups


@torch.no_grad()
def input_grams(
    model: Any, layers: LinearLayers, names: Sequence[str], pairs: Sequence[Pair], advance: Advance
) -> dict[str, torch.Tensor]:
    """Return the matrices of these names: the mean over all tokens that are read of x x'."""
    grams = Grams()
    with reading({name: layers.modules[name] for name in names}, grams.add):
        for pair in pairs:
            model(**forward_inputs(model, pair)[0])
            advance()
    return grams.means({name: layers.sizes(name)[0] for name in names})


def kronecker_factors(
    model: Any,
    layers: LinearLayers,
    names: Sequence[str],
    pairs: Sequence[Pair],
    advance: Advance,
    *,
    seed: int,
    task: str,
) -> dict[str, torch.Tensor]:
    """Return of each layer the mean over tokens of x x', and that of g g' under its name with `OUTPUT`.

    g is the gradient of log p(y|x) at the layer's output, with y drawn from the model; it is 0 behind the
    places that y is read from.
    """
    grams = Grams()
    model.requires_grad_(False)
    nothing = torch.zeros((), device=model.device, requires_grad=True)  # by which all outputs have gradients
    hooks = [
        module.register_forward_hook(lambda _, __, output: output + nothing)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
    ]
    for name in names:

        def watch(_: Any, given: Any, output: torch.Tensor, name: str = name) -> None:
            grams.add(name, given[0])
            output.register_hook(lambda gradient: grams.add(name + OUTPUT, gradient))

        hooks.append(layers.modules[name].register_forward_hook(watch))
    try:
        for number, pair in enumerate(pairs):
            if pair[1]:
                drawn_log_likelihood(model, pair, seed_of(seed, task, number)).backward()
            advance()
    finally:
        for hook in hooks:
            hook.remove()
    sizes = {name: layers.sizes(name) for name in names}
    widths = {name: size[0] for name, size in sizes.items()}
    return grams.means(widths | {name + OUTPUT: size[1] for name, size in sizes.items()})


@torch.no_grad()
def input_magnitudes(model: Any, pairs: Sequence[Pair], advance: Advance) -> dict[str, torch.Tensor]:
    """Return for every weight but those of embeddings the mean over tokens of |x|, of each input channel."""
    modules = {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), torch.Tensor)
        and not isinstance(module, torch.nn.Embedding)
    }
    sums: dict[str, torch.Tensor] = {}
    rows: dict[str, int] = {}

    def see(name: str, values: torch.Tensor) -> None:
        flat = values.reshape(-1, values.shape[-1]).abs().double()
        sums[name] = sums.get(name, 0) + flat.sum(0)
        rows[name] = rows.get(name, 0) + len(flat)

    with reading(modules, see):
        for pair in pairs:
            model(**forward_inputs(model, pair)[0])
            advance()
    return {name: (total / rows[name]).float() for name, total in sums.items()}
