"""What a merge method is, and the registry of the known ones.

A method is a frozen dataclass of hyper-parameters. It says how much of a tensor it must see at once (its
scope) and is called with that much of all task vectors; it returns the merged delta, which is added to the
base. What it needs to know of a whole tensor or of the whole model it may gather in first passes.
"""

import inspect
import pkgutil
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import StrEnum
from importlib import import_module
from math import prod
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from merging import noise
from merging.arithmetic import sum_of_squares
from merging.mask_reach import MaskReach
from merging.method_file import class_name, is_method_file, load_class
from results.errors import InputError


class Scope(StrEnum):
    """How much of a tensor a method must see at once."""

    ELEMENT = "element"
    ROW = "row"
    TENSOR = "tensor"
    MODEL = "model"


@dataclass(frozen=True)
class Context:
    """Where a block lies, and what is known beside its task vectors.

    Attributes:
        tensor: the tensor's name.
        layer: index of the transformer block it belongs to, counted in its stack; None outside of blocks.
        depth: number of blocks in that stack; of the deepest stack for tensors outside of blocks.
        shape: shape of the whole tensor.
        offset: position of the block's first entry in the flattened tensor.
        base: the base's block in float32, shaped like one task's delta. Not to be written into.
        tasks: the experts' names, in the order of the deltas.
        seed: the merge's seed.
        digests: the experts' weights digests, in the order of the deltas; empty for methods not `random`.
        statistics: what the first passes found, by the pass's name.
        kept: what is left of each task vector's block after dropping entries, where the method says so.
        agreed: what a consensus holds, where the method has one: of the entries where the weighted sum is not
            0, how many it holds and how many there are; and the sum of their squares, held and in all.
    """

    tensor: str
    layer: int | None
    depth: int
    shape: tuple[int, ...]
    offset: int
    base: torch.Tensor
    tasks: tuple[str, ...] = ()
    seed: int = 0
    digests: tuple[str, ...] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)
    kept: list[torch.Tensor] = field(default_factory=list)
    agreed: list[float] = field(default_factory=list)

    def note_kept(self, deltas: Iterable[torch.Tensor]) -> None:
        """Say what is left of the task vectors after dropping entries, for the merge's report.

        Args:
            deltas: one for each task, with zeros for what was dropped; not to be written into afterwards.
        """
        self.kept[:] = deltas

    def note_agreed(self, held: torch.Tensor, merged: torch.Tensor) -> None:
        """Say what a consensus holds, for the merge's report: entries where Σ w_t τ_t is 0 do not count.

        Args:
            held: Σ w_t τ_t with zeros where there is no consensus.
            merged: Σ w_t τ_t.
        """
        counts = [float(one.count_nonzero()) for one in (held, merged)]
        self.agreed[:] = *counts, *(sum_of_squares(one) for one in (held, merged))

    def uniform(self, task: int) -> torch.Tensor:
        """Return uniform numbers in [0, 1) for one task's block, in its shape and in float32.

        They depend on the seed, the expert's weights, the tensor's name and each entry's position in it;
        not on the order of the experts, nor on files, blocks or device. Only for methods with `random`.
        """
        return noise.uniform(*self._stretch(task), self.base.device).reshape(self.base.shape)

    def keep_mask(self, task: int, probability: float) -> torch.Tensor:
        """Return which entries of one task's block are kept when each is kept with a probability.

        An int32 mask for `arithmetic.masked`, in the block's shape. Depends on what `uniform` depends on,
        and takes half its time.
        """
        mask = noise.keep_mask(*self._stretch(task), probability, self.base.device)
        return mask.reshape(self.base.shape)

    def _stretch(self, task: int) -> tuple[noise.Stream, int, int]:
        stream = noise.Stream(self.seed, self.digests[task], self.tensor)
        return stream, self.offset, self.offset + prod(self.base.shape)


class FirstPass(Protocol):
    """One reading of all task vectors, before the merge, that ends in a statistic.

    Every tensor of floats is seen in flat pieces of `statistics.PIECE` entries, whatever the blocks of the
    merge, and parts are combined in one fixed order, so a statistic is the same number each time. Pieces are
    observed on several threads.
    """

    def start(self, n_tasks: int) -> Any:
        """Return the empty total."""

    def observe(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> Any:
        """Return the part of one piece: deltas (n_tasks, length); context has the earlier statistics."""

    def combine(self, total: Any, part: Any) -> Any:
        """Return the total with a part added; the total may be changed in place."""

    def finish(self, total: Any) -> Any:
        """Return the statistic, which later passes and the method find in `context.statistics`.

        It is kept as JSON, so that a killed merge need not find it again: numbers, texts, lists and mappings
        with texts as keys.
        """


@dataclass(frozen=True)
class MethodPreset:
    """Settings of a method in rounds that go together, such as those of a paper's code.

    Attributes:
        about: where they come from.
        settings: of the method; a list has one value a round.
        weighting: of the tasks, as an experiment says it.
    """

    about: str
    settings: Mapping[str, Any]
    weighting: Mapping[str, Any]


class Method(ABC):
    """A merge method; subclasses are frozen dataclasses registered with `register`.

    Attributes:
        scope: over how much a method decides together. `element` methods get flat blocks (n_tasks, length);
            `row` methods get whole rows along the last dimension (n_tasks, rows, length); `tensor` methods
            get (n_tasks, *shape).
        streamed: whether a method of scope `tensor` or `model` takes what it must know of them from first
            passes, and gets flat blocks as an `element` method does.
        random: whether `Context.uniform` or `Context.keep_mask` is used, for which the experts are digested
            beforehand.
        presets: settings for an experiment by name.
    """

    scope: ClassVar[Scope]
    streamed: ClassVar[bool] = False
    random: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, MethodPreset]] = {}

    @property
    def block_scope(self) -> Scope:
        """How tensors are cut into the blocks that it is called with."""
        return Scope.ELEMENT if self.streamed else self.scope

    def first_passes(self) -> Mapping[str, FirstPass]:
        """Return the passes that run before the merge, in order, by the name of their statistic."""
        return {}

    def mask_reach(self, weights: Mapping[str, float]) -> MaskReach | None:
        """Return whether what all tasks agree on can pass its consensus mask; None without a mask.

        Args:
            weights: of the recipe, by task.
        """
        return None

    @abstractmethod
    def __call__(self, deltas: torch.Tensor, weights: torch.Tensor, context: Context) -> torch.Tensor:
        """Merge one block.

        Blocks are merged on several threads, in any order. Results must not depend on where a block is cut:
        an operation along the entries belongs to a wider scope or to a first pass, and a sum over the tasks
        is made with `arithmetic.weighted_sum`, since a matrix product may round by its shape.

        Args:
            deltas: task vectors θ_t − θ₀ of the block, float32, (n_tasks, …) as the scope says, in the order
                of the experts' names. Not to be written into.
            weights: the recipe's weights, float32, (n_tasks,).
            context: where the block lies.

        Returns:
            The merged delta, float32, in the shape of one task's block.
        """


@dataclass(frozen=True)
class KnownMethod:
    """A registered method: its name, the paper it comes from, and its class."""

    name: str
    paper: str
    kind: type[Method]

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the settings it accepts."""
        return tuple(setting.name for setting in fields(self.kind))  # type: ignore[arg-type]


_KNOWN: dict[str, KnownMethod] = {}
_Kind = TypeVar("_Kind", bound=type[Method])


def register(name: str, *, paper: str) -> Callable[[_Kind], _Kind]:
    """Make a method known under a name, with the address of the paper that describes it.

    Raises:
        ValueError: the name is taken, or the class is not a frozen dataclass with a scope that is carried out
            (`model` is for methods that are `streamed`).
    """

    def add(kind: _Kind) -> _Kind:
        if name in _KNOWN:
            raise ValueError(f"a method named {name!r} is registered already")
        _check(name, kind)
        _KNOWN[name] = KnownMethod(name, paper, kind)
        return kind

    return add


def _check(name: str, kind: type[Method]) -> None:
    if not is_dataclass(kind) or not kind.__dataclass_params__.frozen:
        raise ValueError(f"method {name!r} must be a frozen dataclass")
    if not kind.streamed and getattr(kind, "scope", None) not in (Scope.ELEMENT, Scope.ROW, Scope.TENSOR):
        raise ValueError(f"method {name!r} must declare the scope element, row or tensor, or be streamed")


def known_methods() -> dict[str, KnownMethod]:
    """Return the registered methods by name, those in `merging.methods` included."""
    package = import_module("merging.methods")
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"merging.methods.{module.name}")
    return dict(sorted(_KNOWN.items()))


def find_method(name: str) -> KnownMethod:
    """Return a method by its name, or from a user's file by `path/to/file.py:Class`.

    Raises:
        InputError: there is none, or the class is no method.
    """
    if is_method_file(name):
        kind = load_class(name)
        if not issubclass(kind, Method):
            raise InputError(f"Method {name!r} is not a subclass of merging.Method.")
        if inspect.isabstract(kind):
            missing = ", ".join(sorted(kind.__abstractmethods__))
            raise InputError(f"Method {name!r} does not define {missing}.")
        try:
            _check(class_name(name), kind)
        except ValueError as error:
            raise InputError(f"{name.rpartition(':')[0]}: {error}.") from None
        papers = [one.paper for one in _KNOWN.values() if one.kind is kind]
        return KnownMethod(name, papers[0] if papers else "", kind)
    known = known_methods()
    if name not in known:
        raise InputError(
            f"Method {name!r} is not known; choose one of {', '.join(known)}, or name your own as "
            "path/to/file.py:Class."
        )
    return known[name]


def find_preset(method: str, preset: str) -> MethodPreset:
    """Return a method's preset by its name.

    Raises:
        InputError: the method, or the preset, is not known.
    """
    presets = find_method(method).kind.presets
    if preset not in presets:
        known = f"there are {', '.join(presets)}" if presets else "it has none"
        raise InputError(f"Method {method!r} has no preset {preset!r}; {known}.")
    return presets[preset]


def make(name: str, settings: Mapping[str, Any]) -> Method:
    """Return a method with its settings, checked against their declared types.

    Raises:
        InputError: no such method or setting, or a value of the wrong type or out of range.
    """
    method = find_method(name)
    accepted = f"it accepts {', '.join(method.settings) or 'none'}"
    for unknown in sorted(settings.keys() - set(method.settings)):
        raise InputError(f"Method {name!r} has no setting {unknown!r}; {accepted}.")
    try:
        hints = get_type_hints(method.kind)
    except (NameError, TypeError) as error:
        raise InputError(f"Method {name!r}: a setting's type is not known ({error}).") from None
    checked = {}
    for setting in fields(method.kind):  # type: ignore[arg-type]
        if setting.name in settings:
            checked[setting.name] = _checked(
                name, setting.name, hints[setting.name], settings[setting.name], accepted
            )
        elif setting.default is MISSING and setting.default_factory is MISSING:
            raise InputError(f"Method {name!r} needs the setting {setting.name!r}; {accepted}.")
    try:
        return method.kind(**checked)
    except (InputError, ValueError, TypeError) as error:
        raise InputError(f"Method {name!r}: {error}") from None


def _checked(method: str, setting: str, hint: Any, value: Any, accepted: str) -> Any:
    try:
        return TypeAdapter(hint).validate_python(value, strict=True)
    except PydanticUserError:
        raise InputError(
            f"Method {method!r}: setting {setting!r} is a {_in_words(hint)}, which no file can give."
        ) from None
    except ValidationError:
        expected = _in_words(hint)
        raise InputError(
            f"Method {method!r}: setting {setting!r} is {reprlib.repr(value)}, expected {expected}; "
            f"{accepted}."
        ) from None


def _in_words(hint: Any) -> str:
    if hint is type(None):
        return "null"
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is None and isinstance(hint, type):
        return hint.__name__
    if get_args(hint) and get_origin(hint) is not dict:
        return " or ".join(map(_in_words, get_args(hint)))
    return str(hint)
