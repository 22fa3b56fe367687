"""The figures by name: what each shows, and what it is drawn from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.bars import grouped_bars
from reports.coefficients import coefficients_by_depth, coefficients_over_steps
from reports.correlation import correlation, has_scores
from reports.cost import cost_against_score
from reports.dots import normalised_performance
from reports.erasure import erasure_profiles
from reports.forgetting import forgetting
from reports.heat import cosine_map, divergence_map
from reports.partners import coefficients_by_partner
from reports.radar import radars
from reports.rounds import performance_over_rounds, tasks_over_rounds, weights_over_rounds
from reports.sensitivity import sensitivity
from reports.subsets import performance_by_number
from reports.worst_task import average_against_worst
from results.comparison import Comparison
from results.errors import InputError
from results.signals import KINDS, SignalReport


@dataclass(frozen=True)
class Material:
    """What figures are drawn from, read when one asks for it.

    Attributes:
        run: gives the comparison of a run.
        runs: gives those of several runs that belong together.
        signals: gives what `manyshot signals --out` left.
        setting: of a method.
    """

    run: Callable[[], Comparison]
    runs: Callable[[], Sequence[Comparison]]
    signals: Callable[[], SignalReport]
    setting: str | None = None


@dataclass(frozen=True)
class Picture:
    """A figure that can be asked for.

    Attributes:
        about: what it shows, in a line.
        draw: into a file, whose suffix says the format: .png, .pdf or .svg.
    """

    about: str
    draw: Callable[[Material, Path], Path]


def _of_run(about: str, function: Callable[[Comparison, Path], Path]) -> Picture:
    return Picture(about, lambda material, out: function(material.run(), out))


def _of_runs(about: str, function: Callable[[Sequence[Comparison], Path], Path]) -> Picture:
    return Picture(f"{about} (several --run)", lambda material, out: function(material.runs(), out))


def _of_signals(about: str, function: Callable[[SignalReport, Path], Path]) -> Picture:
    return Picture(f"{about} (--signals)", lambda material, out: function(material.signals(), out))


SIGNALS: Mapping[str, Callable[[SignalReport, Path], Path]] = {
    "kl": lambda report, out: divergence_map(report, "kl", out),
    "js": lambda report, out: divergence_map(report, "js", out),
    "cosines": cosine_map,
    "correlation": correlation,
}
"""The figures of signals."""

GALLERY: Mapping[str, Picture] = {
    "tasks": _of_run("performance by task and method, as dots", normalised_performance),
    "bars": _of_run("performance by task and method, as grouped bars", grouped_bars),
    "radar": _of_run("performance by task, a radar for each method", radars),
    "worst-task": _of_run("average against worst task", average_against_worst),
    "erasure": _of_run("each method's tasks from the best to the worst", erasure_profiles),
    "erasure-rounds": _of_run("each method's tasks over the rounds", tasks_over_rounds),
    "rounds": _of_run("each task over the rounds, by method", performance_over_rounds),
    "forgetting": _of_run("what was lost of the base", forgetting),
    "weights": _of_run("weights of tasks over the rounds, and the gaps they came from", weights_over_rounds),
    "coefficients": _of_run("learned coefficients over the steps", coefficients_over_steps),
    "depth": _of_run("learned coefficients by layer", coefficients_by_depth),
    "partners": _of_runs("each task's learned coefficient beside each other task", coefficients_by_partner),
    "subsets": _of_runs("ANP against the number of merged tasks", performance_by_number),
    "sensitivity": Picture(
        "average and worst task over the values of a setting (--setting)",
        lambda material, out: sensitivity(material.run(), material.setting, out),
    ),
    "cost": _of_run("average against seconds, and against memory", cost_against_score),
    "kl": _of_signals("KL of every model from each expert", SIGNALS["kl"]),
    "js": _of_signals("JS of every model from each expert", SIGNALS["js"]),
    "cosines": _of_signals("cosines of task vectors", SIGNALS["cosines"]),
    "correlation": _of_signals("−D against the score on each task, with ρ", SIGNALS["correlation"]),
}


def picture(name: str) -> Picture:
    """The figure of this name.

    Raises:
        InputError: there is none.
    """
    if name not in GALLERY:
        raise InputError(f"no figure '{name}'; there are {', '.join(GALLERY)}")
    return GALLERY[name]


def listing() -> str:
    """Every figure's name and what it shows, one a line."""
    width = max(map(len, GALLERY))
    return "\n".join(f"{name:{width}}  {one.about}" for name, one in GALLERY.items())


def signal_figures(report: SignalReport, folder: Path) -> list[Path]:
    """Draw heat maps of divergences and cosines into a folder, and the correlation where there are scores."""
    missing = {*KINDS} - {*report.divergences} | ({"correlation"} if not has_scores(report) else set())
    return [draw(report, folder / f"{name}.png") for name, draw in SIGNALS.items() if name not in missing]
