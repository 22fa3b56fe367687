"""mergekit's methods and what of ours each is: one entry of a table for each.

An entry says which parameters the method reads, what the models must be, and how its parameters become the
settings and weights of a method of ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from merging.mergekit.parameters import ANY, SWITCHES, Range, Scopes, mapped, one_for_all, plain, setting
from results.errors import InputError

Base = Literal["required", "first", "optional", "merged"]
"""Whether mergekit's method needs a base, needs it as the first of two models, takes one, or merges one as a
model more."""


@dataclass(frozen=True)
class Given:
    """The parameters of one merge.

    Attributes:
        shared: where those of the whole merge stand, the innermost first.
        each: the same of every expert, by its name, in the order of the file; the base before all others
            where the method needs it as the first.
        has_base: whether there is a base that is not merged itself.
        where: what an error calls the file.
    """

    shared: Scopes
    each: Mapping[str, Scopes]
    has_base: bool
    where: str

    def of_merge(self, name: str, default: Any = None, *, varying: bool = False, within: Range = ANY) -> Any:
        """Return a parameter of the merge; one value for all tensors unless it may be `varying`."""
        value = setting(self.shared, name, self.where, default, within=within)
        value = value if varying else plain(value, name, self.where)
        return bool(value) if name in SWITCHES else value

    def required(self, name: str, *, within: Range = ANY) -> Any:
        """Return a parameter of the merge that must be given, and may differ from tensor to tensor."""
        return setting(self.shared, name, self.where, within=within)

    def of_each(self, name: str, *default: Any, within: Range = ANY) -> dict[str, Any]:
        """Return a parameter of every expert; without a default it must be given."""
        return {
            task: setting(scopes, name, f"{self.where}: model {task!r}", *default, within=within)
            for task, scopes in self.each.items()
        }


@dataclass(frozen=True)
class Ours:
    """A method of ours with its settings.

    Attributes:
        name: of the method.
        settings: its own.
        weights: of the experts; where none are given, each has 1.
        divide: divide the weights by their sum.
        notices: what is done otherwise than mergekit does, a sentence each.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    divide: bool = False
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class TheirMethod:
    """A method of mergekit.

    Attributes:
        parameters: the names of those that it reads.
        base: what it does with a base.
        models: fewest and most models that are merged; a base counts where it is one of them.
        read: makes a method of ours of its parameters.
    """

    parameters: tuple[str, ...]
    base: Base
    read: Callable[[Given], Ours]
    models: tuple[int, int | None] = (1, None)


_SHARE = Range("a number above 0 and up to 1", lambda share: 0 < share <= 1)
_PART = Range("a number from 0 on and below 1", lambda part: 0 <= part < 1)
_HALF_WINDOW = Range("a number from 0 on and below 0.5", lambda half: 0 <= half < 0.5)
_ABOVE_0 = Range("a number above 0", lambda number: number > 0)
_FROM_0 = Range("a number from 0 on", lambda number: number >= 0)
_COUNT = Range("a whole number from 1 on", lambda count: count >= 1 and isinstance(count, int))
_ARITHMETIC = ("weight", "density", "normalize", "rescale", "lambda", "int8_mask")
_DRAWN = (
    "entries are drawn by seed, expert, tensor and position, so others are dropped than mergekit drops, as "
    "many in expectation"
)
_L1 = (
    "what is left is divided by its probability, which keeps the expectation; mergekit scales every tensor "
    "to its L1 norm, which differs in small tensors"
)


def _linear(given: Given) -> Ours:
    weights = given.of_each("weight")
    return Ours("average" if given.of_merge("normalize", True) else "weighted_sum", weights=weights)


def _task_arithmetic(given: Given) -> Ours:
    _refuse_rescale(given, "task_arithmetic")
    settings = {
        "normalize": given.of_merge("normalize", False),
        "scaling": given.of_merge("lambda", 1.0, varying=True),
    }
    return Ours("task_arithmetic", settings, given.of_each("weight"))


def _ties(given: Given) -> Ours:
    _refuse_rescale(given, "ties")
    settings = {
        "variant": "mergekit",
        "density": one_for_all(_densities(given)),
        "scaling": given.of_merge("lambda", 1.0, varying=True),
        "aggregate": _aggregate(given.of_merge("normalize", True)),
    }
    return Ours("ties", settings, given.of_each("weight"))


def _dare(given: Given, *, elect: bool) -> Ours:
    settings = {
        "drop_rate": _drop_rate(_densities(given)),
        "scaling": given.of_merge("lambda", 1.0, varying=True),
        "rescale": given.of_merge("rescale", True),
    }
    notices = (_DRAWN, _L1) if settings["rescale"] else (_DRAWN,)
    return _consensus("dare", settings, given, elect=elect, normalize=False, notices=notices)


def _breadcrumbs(given: Given, *, elect: bool) -> Ours:
    _refuse_rescale(given, "breadcrumbs")
    settings = {
        "density": one_for_all(_densities(given)),
        "outliers": one_for_all(given.of_each("gamma", 0.01, within=_PART)),
        "scaling": given.of_merge("lambda", 1.0, varying=True),
    }
    return _consensus("breadcrumbs", settings, given, elect=elect, normalize=False)


def _della(given: Given, *, elect: bool) -> Ours:
    if not given.of_merge("rescale", True):
        raise InputError(f"{given.where}: 'rescale: false' is not supported for della; leave it out.")
    densities, halves = _densities(given), given.of_each("epsilon", 0.15, within=_HALF_WINDOW)
    for task, density in densities.items():
        # Those that differ from tensor to tensor are checked where a tensor is merged.
        if not isinstance(density, list) and not isinstance(half := halves[task], list):
            _refuse_certain_drops(density, half, f"{given.where}: model {task!r}")
    settings = {
        "drop_rate": _drop_rate(densities),
        "window": one_for_all(mapped_by_task(halves, lambda half: 2 * half)),
        "scaling": given.of_merge("lambda", 1.0, varying=True),
    }
    notices = (
        _DRAWN,
        "each entry that is left is divided by its own probability, which keeps the expectation; mergekit "
        "has one factor for a tensor, by which small entries come out too small and large ones too large",
    )
    return _consensus("della", settings, given, elect=elect, normalize=elect, notices=notices)


def _consensus(
    name: str,
    settings: dict[str, Any],
    given: Given,
    *,
    elect: bool,
    normalize: bool,
    notices: tuple[str, ...] = (),
) -> Ours:
    """Return a method that drops, with an election after it or without one."""
    divide, weights = given.of_merge("normalize", normalize), given.of_each("weight")
    if elect:
        return Ours(
            name, {**settings, "then": "ties", "aggregate": _aggregate(divide)}, weights, notices=notices
        )
    return Ours(name, {**settings, "then": "task_arithmetic"}, weights, bool(divide), notices)


def _slerp(given: Given) -> Ours:
    first, second = given.each
    t = given.required("t")
    # Ours goes from the first name to the second, mergekit from the base to the other model.
    return Ours("slerp", {"t": t if first < second else mapped(t, lambda there: 1 - there)})


def _multislerp(given: Given) -> Ours:
    settings = {
        "of": "task_vectors" if given.has_base else "weights",
        # One model beside the base is taken as it is, whatever its weight.
        "normalize": given.of_merge("normalize_weights", True) or len(given.each) == 1,
    }
    return Ours("multislerp", settings, given.of_each("weight"))


def _passthrough(given: Given) -> Ours:
    return Ours("weighted_sum", weights=given.of_each("scale", 1.0))


def _nuslerp(given: Given) -> Ours:
    rows, flat = given.of_merge("nuslerp_row_wise", False), given.of_merge("nuslerp_flatten", True)
    settings = {
        "of": "task_vectors" if given.has_base else "weights",
        "within": "tensor" if flat else "column" if rows else "row",
    }
    return Ours("nuslerp", settings, given.of_each("weight"))


def _model_stock(given: Given) -> Ours:
    within = "row" if given.of_merge("filter_wise", False) else "tensor"
    notice = (
        "where task vectors point apart (a negative mean cosine) it gives the base; mergekit goes beyond it"
    )
    return Ours("model_stock", {"within": within}, notices=(notice,))


def _sce(given: Given) -> Ours:
    return Ours(
        "sce",
        {"variant": "mergekit", "density": given.of_merge("select_topk", 1.0, varying=True, within=_SHARE)},
    )


def _karcher(given: Given) -> Ours:
    settings = {
        "max_iterations": given.of_merge("max_iter", 10, within=_COUNT),
        "tolerance": given.of_merge("tol", 1e-5, within=_ABOVE_0),
    }
    return Ours("karcher", settings)


def _nearswap(given: Given) -> Ours:
    return Ours("nearswap", {"t": given.required("t", within=_ABOVE_0)})


def _arcee_fusion(given: Given) -> Ours:
    notice = "quartiles are exact; mergekit draws a million entries by chance for those of larger tensors"
    return Ours("arcee_fusion", notices=(notice,))


def _ram(given: Given) -> Ours:
    return Ours("ram", {"smallest": given.of_merge("epsilon", 1e-5, within=_FROM_0)})


def _ramplus_tl(given: Given) -> Ours:
    settings = {
        "within": "tensor",
        "rescale": given.of_merge("r", 0.1, within=_FROM_0),
        "limit": given.of_merge("alpha", 0.2, within=_FROM_0),
        "smallest": given.of_merge("epsilon", 1e-5, within=_FROM_0),
    }
    return Ours("ram", settings)


THEIRS: Mapping[str, TheirMethod] = {
    "linear": TheirMethod(("weight", "normalize"), "merged", _linear),
    "task_arithmetic": TheirMethod(_ARITHMETIC, "required", _task_arithmetic),
    "ties": TheirMethod(_ARITHMETIC, "required", _ties),
    "dare_linear": TheirMethod(_ARITHMETIC, "required", lambda given: _dare(given, elect=False)),
    "dare_ties": TheirMethod(_ARITHMETIC, "required", lambda given: _dare(given, elect=True)),
    "breadcrumbs": TheirMethod(
        (*_ARITHMETIC, "gamma"), "required", lambda given: _breadcrumbs(given, elect=False)
    ),
    "breadcrumbs_ties": TheirMethod(
        (*_ARITHMETIC, "gamma"), "required", lambda given: _breadcrumbs(given, elect=True)
    ),
    "della": TheirMethod((*_ARITHMETIC, "epsilon"), "required", lambda given: _della(given, elect=True)),
    "della_linear": TheirMethod(
        (*_ARITHMETIC, "epsilon"), "required", lambda given: _della(given, elect=False)
    ),
    "slerp": TheirMethod(("t",), "first", _slerp, models=(2, 2)),
    "multislerp": TheirMethod(("weight", "normalize_weights", "eps"), "optional", _multislerp),
    "nuslerp": TheirMethod(
        ("weight", "nuslerp_row_wise", "nuslerp_flatten"), "optional", _nuslerp, models=(2, 2)
    ),
    "passthrough": TheirMethod(("scale",), "merged", _passthrough, models=(1, 1)),
    "model_stock": TheirMethod(("filter_wise",), "required", _model_stock, models=(2, None)),
    "sce": TheirMethod(("select_topk", "int8_mask"), "required", _sce),
    "karcher": TheirMethod(("max_iter", "tol"), "merged", _karcher),
    "nearswap": TheirMethod(("t",), "required", _nearswap, models=(1, 1)),
    "arcee_fusion": TheirMethod((), "required", _arcee_fusion, models=(1, 1)),
    "ram": TheirMethod(("epsilon",), "required", _ram),
    "ramplus_tl": TheirMethod(("r", "alpha", "epsilon"), "required", _ramplus_tl),
}
"""mergekit's methods by name."""


def their_method(name: str, where: str) -> TheirMethod:
    """Return a method of mergekit.

    Raises:
        InputError: it is not supported.
    """
    if name not in THEIRS:
        raise InputError(
            f"{where}: mergekit's merge_method {name!r} is not supported; supported are {', '.join(THEIRS)}."
        )
    return THEIRS[name]


def mapped_by_task(by_task: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a setting by task with every value in it changed."""
    return {task: mapped(value, change) for task, value in by_task.items()}


def _densities(given: Given) -> dict[str, Any]:
    return given.of_each("density", 1.0, within=_SHARE)


def _drop_rate(densities: Mapping[str, Any]) -> Any:
    return one_for_all(mapped_by_task(densities, lambda density: 1 - density))


def _refuse_certain_drops(density: float, half: float, where: str) -> None:
    if density < 1 and half >= min(density, 1 - density):
        raise InputError(
            f"{where}: the parameter 'epsilon' is {half:g} (0.15 where none is given), where a number below "
            f"'density', {density:g}, and below 1 − 'density' is expected."
        )


def _aggregate(normalize: object) -> str:
    return "mean" if normalize else "sum"


def _refuse_rescale(given: Given, name: str) -> None:
    if given.of_merge("rescale", False):
        raise InputError(f"{given.where}: 'rescale: true' is not supported for {name}; leave it out.")
