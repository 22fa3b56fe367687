"""Learned coefficients of task vectors: over the steps of learning, and by the depth of their layer."""

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import figure
from reports.figures.drawing import draw_curves, figure_of_panels, label_below, legend_above, prepare
from reports.figures.palette import line_handle, look
from reports.figures.plotted_methods import PlottedMethod, documents, plotted_methods, seeds
from results.comparison import Comparison
from results.errors import InputError
from results.merge_trace import LearnedCoefficients

_PANELS_PER_LINE = 3
_BLOCK = re.compile(r"(?P<stack>.*)\.(?P<index>\d+)")
_MOST_TICKS = 14
_UNSAID = frozenset({"weight", "bias", "model", "transformer"})
"""Parts of a tensor's name that do not tell it from others."""


def learned_of(method: PlottedMethod) -> list[LearnedCoefficients]:
    """What each seed of a method learned; nothing where it learns no coefficients."""
    return [row.entry.trace.learned for row in method.rows if row.entry.trace and row.entry.trace.learned]


def learned_inputs(runs: Iterable[LearnedCoefficients]) -> dict[str, int]:
    """How many inputs of each task coefficients were learned from, where that is noted."""
    inputs: dict[str, int] = {}
    for run in runs:
        for task, number in run.inputs.items():
            inputs[task] = max(number, inputs.get(task, 0))
    return inputs


@figure("coefficients", "learned coefficients over the steps")
def coefficients_over_steps(comparison: Comparison) -> tuple[Figure, str]:
    """A panel per method that learned coefficients, a line per task: its coefficient before every step.

    Where layers have coefficients of their own the line is their mean. Thin lines are several seeds.

    Raises:
        InputError: no method learned coefficients.
    """
    methods = {
        method: learned
        for method in plotted_methods(comparison, base=False)
        if (learned := learned_of(method))
    }
    if not methods:
        raise InputError(f"run {comparison.name}: nothing to draw, because no method learned coefficients")
    tasks = {task: look(index) for index, task in enumerate(comparison.suite.tasks)}
    drawn, all_axes = _panels(methods, 2.0)
    for axes, runs in zip(all_axes, methods.values(), strict=True):
        prepare(axes)
        for task, own in tasks.items():
            draw_curves(axes, [_path(learned, task) for learned in runs], own)
    legend_above(drawn, [line_handle(*named) for named in tasks.items()])
    label_below(drawn, "step of learning (where layers have their own: mean over layers)")
    return drawn, _basis(methods)


@figure("depth", "learned coefficients by layer")
def coefficients_by_depth(comparison: Comparison) -> tuple[Figure, str]:
    """A panel per method that learned coefficients by layer, a line per task over the layers, first to last.

    Lines join the blocks of one stack; embeddings, norms and the head stand by themselves. With several seeds
    thin lines are seeds.

    Raises:
        InputError: no method learned coefficients for each layer.
    """
    layered = {
        method: [learned for learned in learned_of(method) if len(learned.layers) > 1]
        for method in plotted_methods(comparison, base=False)
    }
    methods = {method: runs for method, runs in layered.items() if runs}
    if not methods:
        raise InputError(
            f"run {comparison.name}: nothing to draw, because no method learned coefficients for each layer"
        )
    tasks = {task: look(index) for index, task in enumerate(comparison.suite.tasks)}
    drawn, all_axes = _panels(methods, 2.6)
    for axes, runs in zip(all_axes, methods.values(), strict=True):
        prepare(axes)
        layers = sorted(runs[0].layers, key=_depth)
        for task, own in tasks.items():
            by_run = [_by_layer(learned, task) for learned in runs]
            for stack in _stacks(layers):
                draw_curves(axes, [[(at, by_layer[layers[at]]) for at in stack] for by_layer in by_run], own)
        _name_layers(axes, layers)
    legend_above(drawn, [line_handle(*named) for named in tasks.items()])
    label_below(drawn, "layer, from the embedding to the head")
    return drawn, _basis(methods)


def _panels(methods: Mapping[PlottedMethod, object], height: float) -> tuple[Figure, list[Axes]]:
    titles = [method.label for method in methods]
    drawn, all_axes = figure_of_panels(titles, _PANELS_PER_LINE, (2.5, height), sharey=True)
    for axes in all_axes[:: min(len(titles), _PANELS_PER_LINE)]:
        axes.set_ylabel("coefficient Γ")
    return drawn, all_axes


def _path(learned: LearnedCoefficients, task: str) -> list[tuple[int, float]]:
    """Step, and the mean of a task's coefficients over all layers."""
    row = learned.tasks.index(task)
    steps = learned.path_steps or range(len(learned.path))
    return [(step, fmean(of[row])) for step, of in zip(steps, learned.path, strict=True)]


def _by_layer(learned: LearnedCoefficients, task: str) -> dict[str, float]:
    """A task's coefficients by the name of their layer."""
    row = learned.tasks.index(task)
    return dict(zip(learned.layers, learned.coefficients[row], strict=True))


def _depth(layer: str) -> tuple[int, str, int]:
    """What layers are sorted by, from the embedding to the head: runs note them in the alphabet's order."""
    parts = layer.split(".")
    last = _named(parts)[-1]
    block = _BLOCK.fullmatch(layer)
    if block:
        return (1 if "encoder" in parts else 4), block["stack"], int(block["index"])
    if last in {"embed_out", "score"} or "head" in last or "classifier" in last:
        return 6, layer, 0
    if any("emb" in part or part in {"shared", "wte", "wpe"} for part in parts):
        return (3 if "decoder" in parts else 0), layer, 0
    return (2 if "encoder" in parts else 5), layer, 0


def _stacks(layers: Sequence[str]) -> list[list[int]]:
    """Places of the blocks of each stack, and of every layer that is no block."""
    stacks: dict[str, list[int]] = {}
    for at, layer in enumerate(layers):
        match = _BLOCK.fullmatch(layer)
        stacks.setdefault(match["stack"] if match else layer, []).append(at)
    return list(stacks.values())


def _name_layers(axes: Axes, layers: Sequence[str]) -> None:
    """Blocks by their number, others by their own name; with their stack's name where that is not enough."""
    blocks = [_BLOCK.fullmatch(layer) for layer in layers]
    parts = [_named(layer.split(".")) for layer in layers]
    short = [match["index"] if match else own[-1] for match, own in zip(blocks, parts, strict=True)]
    several = len({match["stack"] for match in blocks if match}) > 1
    names = [
        f"{own[0]} {name}" if len(own) > 1 and (several if match else short.count(name) > 1) else name
        for match, own, name in zip(blocks, parts, short, strict=True)
    ]
    step = -(-len(layers) // _MOST_TICKS)
    shown_at = [i for i, match in enumerate(blocks) if not match or int(match["index"]) % step == 0]
    axes.set_xticks(shown_at, [names[i] for i in shown_at], rotation=90, fontsize=7)


def _named(parts: Sequence[str]) -> list[str]:
    """The parts of a tensor's name that say what it is."""
    return [part for part in parts if part not in _UNSAID] or [".".join(parts)]


def _basis(methods: Mapping[PlottedMethod, Sequence[LearnedCoefficients]]) -> str:
    n = documents(
        learned_inputs(run for runs in methods.values() for run in runs),
        "inputs that were learned from",
        "tasks",
    )
    return f"{n}. {seeds([len(runs) for runs in methods.values()], 'thin lines')}."
