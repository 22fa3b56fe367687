"""Where the papers' own numbers disagree: with each other, or with what their texts say of them.

Everything is computed from the tables; what a rounding explains is no disagreement.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from results.metrics import average_from_tasks
from results.published import published_rows

METIS_TASKS = {"instruction": 1, "math": 1, "multilingual": 3, "safety": 1}
"""METIS's tasks with the number of benchmarks that measure each."""
GLUE_SIZES = {"rte": 277, "mrpc": 400}
"""Test documents in DivMerge's runs; 500 of every other GLUE task."""
# What rounding may do to a number that is computed from printed ones: half a digit of each, and a little.
_NP, _GAP, _ANP, _RHO = 0.0015, 0.0055, 0.0101, 0.0011

_Rows = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Disagreement:
    """Two statements of a paper that cannot both be right.

    Attributes:
        table: the published table that holds the first.
        text: what disagrees, in one sentence.
    """

    table: str
    text: str


def disagreements(table: str | None = None) -> list[Disagreement]:
    """Return the disagreements, all of them or those of one published table."""
    return [
        Disagreement(name, text)
        for name, check in _CHECKS
        if table in {None, name}
        for text in check(published_rows(name))
    ]


def _averages(rows: _Rows) -> Iterator[str]:
    for row in rows:
        average = average_from_tasks({task: float(row[task]) for task in METIS_TASKS}, METIS_TASKS)
        if abs(average - float(row["average"])) > _NP:
            name = f"{row['backbone']}, {row['protocol']} {row['method']}"
            yield f"{name}: the average is printed as {row['average']}, its tasks give {average:.4f}"


def _worst_tasks(rows: _Rows) -> Iterator[str]:
    performance = {
        (row["backbone"], row["method"], row["protocol"]): row
        for row in published_rows("metis_normalized_performance")
    }
    for row in rows:
        protocol = "many-shot" if row["method"] == "metis" else "post-hoc"
        tasks = performance[row["backbone"], row["method"], protocol]
        worst, average = min(float(tasks[task]) for task in METIS_TASKS), float(tasks["average"])
        for name, value in {"average": average, "worst_task": worst, "gap": worst - average}.items():
            if abs(value - float(row[name])) > (_GAP if name == "gap" else _NP):
                yield (
                    f"{row['backbone']}, {row['method']}: {name} is printed as {row[name]}, "
                    f"the tasks' performance gives {value:.3f}"
                )


def _smallest_gaps(rows: _Rows) -> Iterator[str]:
    """METIS's text says that its gap between average and worst task is the smallest."""
    for backbone in dict.fromkeys(row["backbone"] for row in rows):
        gaps = {row["method"]: abs(float(row["gap"])) for row in rows if row["backbone"] == backbone}
        smallest = min(gaps, key=gaps.__getitem__)
        if smallest != "metis":
            yield (
                f"{backbone}: the text says that METIS has the smallest gap between average and worst task; "
                f"{smallest} has {gaps[smallest]:.2f}, METIS {gaps['metis']:.2f}"
            )


def _averages_over_numbers(rows: _Rows) -> Iterator[str]:
    for setting in dict.fromkeys(row["setting"] for row in rows):
        of_setting = [row for row in rows if row["setting"] == setting]
        yield from _odd_averages(of_setting, f"{setting}, ", ("setting", "tasks"), _ANP)


def _two_tasks(rows: _Rows) -> Iterator[str]:
    """Two tables show the mean over all pairs of tasks."""
    for by_number in published_rows("divmerge_anp_by_task_count"):
        if by_number["tasks"] != "2":
            continue
        setting = by_number["setting"]
        odd = [
            f"{row['method']} {float(row[f'{setting}_anp']):.2f} and {float(by_number[row['method']]):.2f}"
            for row in rows
            if abs(float(row[f"{setting}_anp"]) - float(by_number[row["method"]])) > _ANP
        ]
        if odd:
            yield (
                f"{setting}: mean ANP over pairs differs from that at two tasks in the table by number of "
                f"tasks, for {len(odd)} of {len(rows)} methods: {', '.join(odd)}"
            )


def _correlations(rows: _Rows) -> Iterator[str]:
    return _odd_averages(rows, "", ("task",), _RHO)


def _odd_averages(rows: _Rows, where: str, texts: Sequence[str], tolerance: float) -> Iterator[str]:
    """Columns whose last row, the average, is not that of the rows above; columns of text have none."""
    for column in [column for column in rows[0] if column not in texts]:
        printed, mean = float(rows[-1][column]), fmean(float(row[column]) for row in rows[:-1])
        if abs(mean - printed) > tolerance:
            yield f"{where}{column}: the average is printed as {printed}, its rows give {mean:.4f}"


def _accuracies(rows: _Rows) -> Iterator[str]:
    """An accuracy on n documents is a multiple of 1/n."""
    for row in rows:
        for task, value in row.items():
            size = GLUE_SIZES.get(task, 500)
            if task != "model" and abs(100 * round(float(value) / 100 * size) / size - float(value)) > 0.0051:
                yield f"the {row['model']} expert on {task}: {value} % is no share of {size} documents"


_CHECKS: Sequence[tuple[str, Callable[[_Rows], Iterator[str]]]] = (
    ("metis_normalized_performance", _averages),
    ("metis_worst_task", _worst_tasks),
    ("metis_worst_task", _smallest_gaps),
    ("divmerge_anp_by_task_count", _averages_over_numbers),
    ("divmerge_pairwise_anp", _two_tasks),
    ("divmerge_divergence_correlation", _correlations),
    ("divmerge_glue_cross_accuracy", _accuracies),
)
