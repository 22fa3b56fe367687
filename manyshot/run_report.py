"""The report of a run: tables and figures in a folder, and which run's they are."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from manyshot.console import logger
from results.comparison import Comparison
from results.errors import InputError
from results.task_subsets import over_subsets

_Drawn = TypeVar("_Drawn")
_REPORT_OF = ".run"
"""File in a report's folder with the name of its run."""


def report_folder(out: Path, name: str) -> Path:
    """`report/`, or `report-<name>/` where that is the report of another run with the same folder."""
    mark = out / "report" / _REPORT_OF
    is_others = mark.is_file() and mark.read_text(encoding="utf-8") != name
    return out / (f"report-{name}" if is_others else "report")


def mark_report(folder: Path, name: str) -> None:
    """Write down of which run a report is."""
    (folder / _REPORT_OF).write_text(name, encoding="utf-8")


def write_report(comparison: Comparison, folder: Path) -> tuple[Path, ...]:
    """Write the table in three forms and the figures; what there is nothing to draw for is said."""
    from reports.figures.dots import normalised_performance
    from reports.figures.rounds import performance_over_rounds, weighs_by_a_signal, weights_over_rounds
    from reports.figures.scatter import average_against_worst
    from reports.tables import make_table
    from reports.tables.comparison import render
    from reports.tables.seeds import chosen, seeds_report
    from reports.writers import TableFormat, write

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    forms: dict[str, TableFormat] = {"table.md": "markdown", "table.tex": "latex", "table.csv": "csv"}
    for name, form in forms.items():
        files.append(folder / name)
        files[-1].write_text(render(comparison, form), encoding="utf-8")
    for name in ("ranks.md", "seeds.md", "tasks.png", "worst_task.png", "rounds.png", "weights.png"):
        (folder / name).unlink(missing_ok=True)  # one of an earlier run would not be of these numbers
    if has_ranks(comparison):
        files.append(folder / "ranks.md")
        ranked = make_table("ranks", "ours", {comparison.name: comparison})
        files[-1].write_text(write(ranked, "markdown"), encoding="utf-8")
    seeds = {row.seed for row in comparison.rows if row.role == "merged"} - {None}
    if comparison.rounds or len(seeds) > 1 or chosen(comparison):
        files.append(folder / "seeds.md")
        files[-1].write_text(seeds_report(comparison), encoding="utf-8")
    figures = {"tasks.png": normalised_performance, "worst_task.png": average_against_worst}
    if comparison.rounds:
        figures["rounds.png"] = performance_over_rounds
        if weighs_by_a_signal(comparison):
            figures["weights.png"] = weights_over_rounds
    return (*files, *draw_figures(figures, comparison, folder))


def draw_figures(
    figures: Mapping[str, Callable[[_Drawn, Path], Path]], data: _Drawn, folder: Path
) -> list[Path]:
    """Draw figures by the names of their files; what there is nothing to draw for is said."""
    files = []
    for name, draw in figures.items():
        try:
            files.append(draw(data, folder / name))
        except InputError as error:
            logger.warning("%s is not drawn: %s", name, error)
    return files


def has_ranks(comparison: Comparison, least: int = 2) -> bool:
    """Whether a run has at least so many merged methods to rank."""
    return len({(row.title, row.protocol) for row in comparison.rows if row.role == "merged"}) >= least


def write_subsets(comparisons: Mapping[tuple[str, ...], Comparison], folder: Path) -> tuple[Path, ...]:
    """Write the table over subsets of tasks and its figure."""
    from reports.figures.subsets import performance_by_number
    from reports.tables.subsets import subsets_report

    table = folder / "subsets.md"
    table.write_text(subsets_report(over_subsets(comparisons)), encoding="utf-8")
    try:
        return table, performance_by_number(list(comparisons.values()), folder / "subsets.png")
    except InputError as error:
        logger.warning("subsets.png is not drawn: %s", error)
        return (table,)
