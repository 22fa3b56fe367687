"""Figures of signals: divergences and cosines as heat maps, and nearness against performance."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures import FIGURES, figure
from reports.figures.drawing import figure_of_panels, label_below, legend_above, prepare
from reports.figures.heat import draw_map, maps
from reports.figures.palette import look, marker_handle
from reports.figures.plotted_methods import documents
from results.errors import InputError
from results.signal_report import KINDS, SignalReport

_PANELS_PER_LINE = 4


@figure("kl", "KL of every model from each expert", needs="signals")
def kl_map(report: SignalReport) -> tuple[Figure, str]:
    """KL of every model from each expert, on the expert's continuations of its own task."""
    return _divergence_map(report, "kl")


@figure("js", "JS of every model from each expert", needs="signals")
def js_map(report: SignalReport) -> tuple[Figure, str]:
    """JS of every model from each expert, on the expert's continuations of its own task."""
    return _divergence_map(report, "js")


def _divergence_map(report: SignalReport, kind: str) -> tuple[Figure, str]:
    bound = ", at least" if report.bounds else ""
    return _signal_map(
        report.divergences[kind],
        report.models,
        ("model", f"{KINDS[kind]}(expert ‖ model), nats{bound}", "expert, on its own task"),
        f"{documents(report.inputs, 'validation inputs', 'tasks')}. 1 seed.",
    )


@figure("cosines", "cosines of task vectors", needs="signals")
def cosine_map(report: SignalReport) -> tuple[Figure, str]:
    """The cosines of the experts' task vectors."""
    names = ("task vector of", "cosine of task vectors", "task vector of")
    footer = f"n = {len(report.tasks)} experts, each of 1 seed; over all entries of their tensors."
    return _signal_map(report.cosines, report.tasks, names, footer)


def _signal_map(
    matrix: Mapping[str, Mapping[str, float]],
    columns: Sequence[str],
    names: tuple[str, str, str],
    footer: str,
) -> tuple[Figure, str]:
    across, title, down = names
    values = [[row[column] for column in columns] for row in matrix.values()]
    drawn, (axes,) = maps([""], list(matrix), columns)
    limits = min(map(min, values)), max(map(max, values))
    image = draw_map(axes, values, list(matrix), columns, limits)
    axes.set(xlabel=across, ylabel=down)
    drawn.colorbar(image, ax=axes, shrink=0.9, label=title)
    return drawn, footer


@figure("correlation", "−D against the score on each task, with ρ", needs="signals")
def correlation(report: SignalReport) -> tuple[Figure, str]:
    """A panel per task and kind of divergence, a point per expert, with Spearman's ρ over the points.

    Raises:
        InputError: no expert has a score.
    """
    if not _has_scores(report):
        raise InputError(
            "nothing to draw: no expert has a score in these signals; `manyshot signals --score` makes them"
        )
    across = min(_PANELS_PER_LINE, len(report.tasks))
    of_a_kind = -(-len(report.tasks) // across) * across
    titles = []
    for kind in report.divergences:
        rho = report.spearman[kind]
        titles += [f"{task}\n{KINDS[kind]}: {_rho(rho[task])}" for task in report.tasks]
        titles += [""] * (of_a_kind - len(report.tasks))
    style = {task: look(index) for index, task in enumerate(report.tasks)}
    drawn, all_axes = figure_of_panels(titles, across, (1.9, 1.9), sharey=True)
    for line, kind in enumerate(report.divergences):
        of_kind = all_axes[line * of_a_kind : (line + 1) * of_a_kind]
        for axes, task in zip(of_kind, report.tasks, strict=False):
            prepare(axes)
            axes.margins(0.1)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
            for model in report.tasks:
                score = _score(report, model, task)
                if score is not None:
                    nearness = -report.divergences[kind][task][model]
                    axes.plot(nearness, score, clip_on=False, **{**style[model].line, "linestyle": ""})
        for axes in of_kind[len(report.tasks) :]:
            axes.set_visible(False)
    legend_above(drawn, [marker_handle(f"expert of {name}", own) for name, own in style.items()])
    bound = ", from above" if report.bounds else ""
    label_below(drawn, f"−D(expert of the task ‖ expert), nats{bound}")
    drawn.supylabel("score on the task", fontsize=9)
    rests_on = (
        f"{len(report.tasks)} experts of 1 seed in each panel",
        documents(report.inputs, "validation inputs", "tasks"),
        documents(report.documents, "test documents", "tasks"),
    )
    return drawn, f"{'. '.join(rests_on)}."


def signal_figures(report: SignalReport, folder: Path) -> list[Path]:
    """Draw heat maps of divergences and cosines into a folder, and the correlation where there are scores."""
    names = [*report.divergences, "cosines", *["correlation"] * _has_scores(report)]
    return [FIGURES[name].draw(report, folder / f"{name}.png") for name in names]


def _has_scores(report: SignalReport) -> bool:
    return any(_score(report, model, task) is not None for model in report.tasks for task in report.tasks)


def _score(report: SignalReport, model: str, task: str) -> float | None:
    return report.scores.get(model, {}).get(task)


def _rho(value: float | None) -> str:
    return "ρ not known" if value is None else f"ρ = {value:+.2f}".replace("-", "−")
