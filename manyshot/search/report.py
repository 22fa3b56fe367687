"""The report of a search: what was tried, what was chosen, and what that gives on test data."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from manyshot.run_report import draw_figures
from manyshot.search.checked import Checked
from manyshot.search.opened import OpenedSearch
from manyshot.search.surrogate import Surrogate
from manyshot.search.trials import Trial
from results.json_values import json_value
from results.search_report import SearchReport, SearchTrial, TestedTrial
from results.writing import write_atomically

REPORT = "search.json"


def search_report(
    opened: OpenedSearch,
    trials: Sequence[Trial],
    best: Sequence[Trial],
    tested: Sequence[TestedTrial],
    *,
    chosen: Trial | None,
    checked: Checked | None,
    importances: Mapping[str, Mapping[str, float]],
    surrogate: Surrogate | None,
) -> SearchReport:
    """Return the report of a search.

    Args:
        opened: the search.
        trials: all that were tried, in order.
        best: those of the front.
        tested: the same with their test numbers.
        chosen: the point of the front that the user's weights took.
        checked: what was estimated and then scored on all documents; None where nothing was.
        importances: by objective and number of the space.
        surrogate: of the sampler map.
    """
    settings, numbers = opened.search.settings, {trial.number for trial in best}
    titles = tuple(objective.title for objective in opened.objectives)
    return SearchReport(
        name=opened.name,
        objectives=titles,
        sampler=settings.sampler_name,
        seed=settings.seed,
        documents=best[0].outcome.documents,
        trials=tuple(
            SearchTrial(
                number=trial.number,
                method=trial.candidate.title,
                params=json_value(trial.params),
                values=trial.outcome.values,
                tasks=dict(trial.outcome.tasks),
                documents=trial.outcome.documents,
                seconds=trial.outcome.seconds,
                stopped=trial.outcome.stopped,
                estimated=trial.outcome.estimated,
                estimates=checked.estimates.get(trial.number, ()) if checked else (),
                failed=trial.outcome.failed,
                front=trial.number in numbers,
            )
            for trial in trials
        ),
        tested=tuple(tested),
        chosen=None if chosen is None else chosen.number,
        estimates=checked.errors if checked else None,
        importances={name: dict(of) for name, of in importances.items()},
        surrogate=dict(zip(titles, surrogate.fits, strict=True)) if surrogate else {},
    )


def write_report(report: SearchReport, out: Path) -> tuple[Path, ...]:
    """Write a search's report as JSON, its table and its figures, where there is something to draw."""
    from reports.figures.search import importance, pareto
    from reports.tables.search import search_table
    from reports.writers import write

    content = json.dumps(report.model_dump(mode="json"), indent=1)
    write_atomically(out / REPORT, f"{content}\n".encode())
    (out / "table.md").write_text(write(search_table(report), "markdown"), encoding="utf-8")
    figures = {"importance.png": importance} | ({"pareto.png": pareto} if len(report.objectives) > 1 else {})
    return (out / REPORT, out / "table.md", *draw_figures(figures, report, out))
