"""The papers' tables by name: as they are printed, of our own runs, or both beside each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from reports.papers import divmerge, metis
from reports.papers.content import Content, beside, to_sheet
from reports.sheet import Sheet
from results.comparison import Comparison
from results.errors import InputError
from results.signals import SignalReport

Source = Literal["ours", "paper", "both"]


@dataclass(frozen=True)
class Measured:
    """What our own tables are made of.

    Attributes:
        runs: comparisons by the name of their backbone.
        families: by the experiment's name, comparisons by the tasks that they merge.
        signals: by a title.
    """

    runs: Mapping[str, Comparison]
    families: Mapping[str, Mapping[tuple[str, ...], Comparison]]
    signals: Mapping[str, SignalReport]


@dataclass(frozen=True)
class PaperTable:
    """A table by name.

    Attributes:
        title: what it shows.
        ours: makes it of what was measured.
        paper: makes it as it is printed; None where the paper's numbers are not among the published ones.
        needs: what `ours` reads.
    """

    title: str
    ours: Callable[[Measured], Content]
    paper: Callable[[], Content] | None
    needs: Literal["runs", "families", "signals"] = "runs"


TABLES: Mapping[str, PaperTable] = {
    "metis-performance": PaperTable(
        "normalised performance by task, merged once and in rounds",
        lambda measured: metis.performance(measured.runs),
        metis.published_performance,
    ),
    "metis-worst-task": PaperTable(
        "average, worst task and the gap between them",
        lambda measured: metis.worst_task(measured.runs),
        metis.published_worst_task,
    ),
    "metis-forgetting": PaperTable(
        "scores on benchmarks that no expert was trained for, beside the base's",
        lambda measured: metis.forgetting(measured.runs),
        metis.published_forgetting,
    ),
    "metis-ablation": PaperTable(
        "a run's methods beside its first, such as METIS without each of its parts",
        lambda measured: metis.ablation(measured.runs),
        None,
    ),
    "divmerge-pairwise": PaperTable(
        "mean ANP over all pairs of tasks",
        lambda measured: divmerge.pairwise(measured.families),
        divmerge.published_pairwise,
        "families",
    ),
    "divmerge-scaling": PaperTable(
        "mean ANP by the number of merged tasks",
        lambda measured: divmerge.scaling(measured.families),
        divmerge.published_scaling,
        "families",
    ),
    "divmerge-correlation": PaperTable(
        "Spearman's ρ of divergence and score by task",
        lambda measured: divmerge.correlation(measured.signals),
        divmerge.published_correlation,
        "signals",
    ),
    "divmerge-cross-accuracy": PaperTable(
        "every expert's score on every task",
        lambda measured: divmerge.cross_accuracy(measured.families),
        divmerge.published_cross_accuracy,
        "families",
    ),
}


def find_table(name: str) -> PaperTable:
    """Return a table by name.

    Raises:
        InputError: there is none.
    """
    if name not in TABLES:
        raise InputError(f"no table '{name}'; there are {', '.join(TABLES)}")
    return TABLES[name]


def paper_sheet(name: str, source: Source, measured: Measured | None = None) -> Sheet:
    """Lay out a table by name.

    Args:
        name: one of `TABLES`.
        source: our own numbers, the paper's, or both with their differences.
        measured: our own; not read for the paper's alone.

    Raises:
        InputError: no such table or source, or a paper's numbers are asked for that are not there.
    """
    table = find_table(name)
    if source not in get_args(Source):
        raise InputError(f"no source '{source}'; there are {', '.join(get_args(Source))}")
    if source != "ours" and table.paper is None:
        raise InputError(f"{name}: the paper's numbers are not among the published tables; ask for 'ours'")
    if source == "paper" and table.paper is not None:
        return to_sheet(table.paper())
    if measured is None:
        raise InputError(f"{name}: name the runs that our numbers come from")
    ours = table.ours(measured)
    return to_sheet(beside(ours, table.paper()) if source == "both" and table.paper is not None else ours)
