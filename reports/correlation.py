"""Nearness against performance: −D from a task's expert, and the score on that task, of every expert."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from reports.drawing import GRID, STYLE, check_suffix, figure_of_panels, label_below, legend_above, save
from reports.palette import look, marker_handle
from reports.shown import documents
from results.errors import InputError
from results.signals import KINDS, SignalReport

_PANELS_PER_LINE = 4


def correlation(report: SignalReport, out: Path) -> Path:
    """A panel per task and kind of divergence, a point per expert, with Spearman's ρ over the points.

    Args:
        report: what was measured.
        out: the figure's file: .png, .pdf or .svg.

    Raises:
        InputError: another suffix, or no expert has a score.
    """
    check_suffix(out)
    if not has_scores(report):
        raise InputError(
            "nothing to draw: no expert has a score in these signals; `manyshot signals --score` makes them"
        )
    across = min(_PANELS_PER_LINE, len(report.tasks))
    of_a_kind = -(-len(report.tasks) // across) * across
    titles = []
    for kind in report.divergences:
        rho = report.correlations(kind)
        titles += [f"{task}\n{KINDS[kind]}: {_rho(rho[task])}" for task in report.tasks]
        titles += [""] * (of_a_kind - len(report.tasks))
    style = {task: look(index) for index, task in enumerate(report.tasks)}
    with rc_context(STYLE):
        figure, found = figure_of_panels(titles, across, (1.9, 1.9), sharey=True)
        for line, kind in enumerate(report.divergences):
            of_kind = found[line * of_a_kind : (line + 1) * of_a_kind]
            for axes, task in zip(of_kind, report.tasks, strict=False):
                _prepare(axes)
                for model in report.tasks:
                    score = _score(report, model, task)
                    if score is not None:
                        nearness = -report.divergences[kind][task][model]
                        axes.plot(nearness, score, clip_on=False, **{**style[model].line, "linestyle": ""})
            for axes in of_kind[len(report.tasks) :]:
                axes.set_visible(False)
        legend_above(figure, [marker_handle(f"expert of {name}", own) for name, own in style.items()])
        bound = ", from above" if report.bounds else ""
        label_below(figure, f"−D(expert of the task ‖ expert), nats{bound}")
        figure.supylabel("score on the task", fontsize=9)
        n = documents(report.documents, "test documents", "tasks")
        footer = f"{len(report.tasks)} experts of 1 seed in each panel. "
        return save(figure, out, f"{footer}{documents(report.inputs, 'validation inputs', 'tasks')}. {n}.")


def has_scores(report: SignalReport) -> bool:
    """Whether an expert has a score on a task."""
    return any(_score(report, model, task) is not None for model in report.tasks for task in report.tasks)


def _score(report: SignalReport, model: str, task: str) -> float | None:
    return report.scores.get(model, {}).get(task)


def _rho(value: float | None) -> str:
    return "ρ not known" if value is None else f"ρ = {value:+.2f}".replace("-", "−")


def _prepare(axes: Axes) -> None:
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(0.1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
