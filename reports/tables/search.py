"""What a search chose: numbers on validation data, on test data, and by how much the first are larger."""

from reports.table_model import Column, Group, Table, TableRow, Value
from results.search_report import SearchReport, Statistic

_COLUMNS = {
    "validation": Column("validation", "aggregate", ranked=False),
    "test": Column("test", "aggregate", ranked=False, interval="bounds"),
    "optimism": Column("optimism", "aggregate", ranked=False, signed=True),
}


def search_table(report: SearchReport) -> Table:
    """A group for each candidate that was chosen, with a row for each number."""
    groups = tuple(
        Group(tuple(_row(one) for one in (*tested.objectives, *tested.others)), tested.label, rank=None)
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
    if len(report.objectives) > 1:
        staying = f"{len(report.front_on_test)} of {len(report.tested)}"
        return (cost, read, f"{staying} points of the front are of it on test data too")
    return (cost, read)
