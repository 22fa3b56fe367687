"""What a search chose: numbers on validation data, on test data, and by how much the first are larger."""

from reports.table_model import Column, Group, Table, TableRow, Value
from results.search_report import EstimateErrors, SearchReport, Statistic, SurrogateFit

_COLUMNS = {
    "validation": Column("validation", "aggregate", ranked=False),
    "test": Column("test", "aggregate", ranked=False, interval="bounds"),
    "optimism": Column("optimism", "aggregate", ranked=False, signed=True),
}


def search_table(report: SearchReport) -> Table:
    """A group for each candidate that was chosen, with a row for each number."""
    groups = tuple(
        Group(
            tuple(_row(one) for one in (*tested.objectives, *tested.others)),
            f"{tested.label} (chosen)" if tested.number == report.chosen else tested.label,
            rank=None,
        )
        for tested in report.tested
    )
    return Table(
        _COLUMNS,
        groups,
        "normalised performance",
        f"Chosen on validation data by {report.sampler} (seed {report.seed}), scored on test data once. "
        "Optimism is validation − test. [ ]: 95 % over documents.",
        _notes(report),
    )


def _row(statistic: Statistic) -> TableRow:
    return TableRow(
        statistic.name.replace("_", " "),
        {
            "validation": Value(statistic.validation),
            "test": Value(statistic.test, statistic.low, statistic.high),
            "optimism": Value(statistic.optimism),
        },
    )


def _notes(report: SearchReport) -> tuple[str, ...]:
    """What the search cost."""
    tried = len(report.trials)
    stopped = sum(trial.stopped for trial in report.trials)
    failed = sum(bool(trial.failed) for trial in report.trials)
    all_documents = (tried - failed) * report.documents
    counted = [f"{tried} candidates"]
    counted += [f"{stopped} of them stopped early"] * (stopped > 0) + [f"{failed} failed"] * (failed > 0)
    cost = f"{', '.join(counted)}; {report.seconds:.0f} s of merging and scoring"
    read = f"{report.read} validation documents scored"
    if stopped and report.read:
        read += f", {all_documents} without stopping ({all_documents / report.read:.1f} times as many)"
    notes = [cost, read]
    if len(report.objectives) > 1:
        staying = f"{len(report.front_on_test)} of {len(report.tested)}"
        notes.append(f"{staying} points of the front are of it on test data too")
    if report.estimates:
        notes += _estimates(report.estimates)
    if report.surrogate:
        fits = [f"{name.replace('_', ' ')} {_fit(fit)}" for name, fit in report.surrogate.items()]
        notes.append(f"R² of the surrogate, and of each candidate by a fit to the others: {', '.join(fits)}")
    return tuple(notes)


def _estimates(errors: EstimateErrors) -> list[str]:
    """How far estimates are off, and what they cost."""
    offs = [
        f"{'the part alone' if name == 'part' else name} {_off(errors.of_drawn[name])} and {_off(of_best)}"
        for name, of_best in errors.of_best.items()
    ]
    return [
        f"searched by estimates ({errors.estimator}); the base and the experts were scored on "
        f"{errors.endpoint_documents} documents for them",
        f"mean absolute error of estimates, of {len(errors.drawn)} candidates drawn by chance and of the "
        f"{len(errors.best)} best: {', '.join(offs)}",
    ]


def _off(error: float | None) -> str:
    return "?" if error is None else f"{error:.3f}"


def _fit(fit: SurrogateFit) -> str:
    """Both shares, where they are known."""
    shares = ("?" if of is None else f"{of:.2f}" for of in (fit.r_squared, fit.r_squared_left_out))
    return " and ".join(shares)
