"""Where the papers' own numbers disagree: with each other, or with what their texts say of them.

Everything is computed from the tables; what a rounding explains is no disagreement.
"""

from collections.abc import Mapping
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
    found = [
        *_averages(),
        *_worst_tasks(),
        *_smallest_gaps(),
        *_averages_over_numbers(),
        *_two_tasks(),
        *_correlations(),
        *_accuracies(),
    ]
    return [one for one in found if table in {None, one.table}]


def _averages() -> list[Disagreement]:
    table = "metis_normalized_performance"
    found = []
    for row in published_rows(table):
        average = average_from_tasks({task: float(row[task]) for task in METIS_TASKS}, METIS_TASKS)
        if abs(average - float(row["average"])) > _NP:
            name = f"{row['backbone']}, {row['protocol']} {row['method']}"
            text = f"{name}: the average is printed as {row['average']}, its tasks give {average:.4f}"
            found.append(Disagreement(table, text))
    return found


def _worst_tasks() -> list[Disagreement]:
    table = "metis_worst_task"
    scores = {
        (row["backbone"], row["method"], row["protocol"]): row
        for row in published_rows("metis_normalized_performance")
    }
    found = []
    for row in published_rows(table):
        protocol = "many-shot" if row["method"] == "metis" else "post-hoc"
        of = scores[row["backbone"], row["method"], protocol]
        worst, average = min(float(of[task]) for task in METIS_TASKS), float(of["average"])
        for name, value in {"average": average, "worst_task": worst, "gap": worst - average}.items():
            if abs(value - float(row[name])) > (_GAP if name == "gap" else _NP):
                text = (
                    f"{row['backbone']}, {row['method']}: {name} is printed as {row[name]}, "
                    f"the tasks' performance gives {value:.3f}"
                )
                found.append(Disagreement(table, text))
    return found


def _smallest_gaps() -> list[Disagreement]:
    """METIS's text says that its gap between average and worst task is the smallest."""
    table = "metis_worst_task"
    gaps: dict[str, dict[str, float]] = {}
    for row in published_rows(table):
        gaps.setdefault(row["backbone"], {})[row["method"]] = abs(float(row["gap"]))
    found = []
    for backbone, of_methods in gaps.items():
        smallest = min(of_methods, key=lambda method: of_methods[method])
        if smallest != "metis":
            text = (
                f"{backbone}: the text says that METIS has the smallest gap between average and worst task; "
                f"{smallest} has {of_methods[smallest]:.2f}, METIS {of_methods['metis']:.2f}"
            )
            found.append(Disagreement(table, text))
    return found


def _averages_over_numbers() -> list[Disagreement]:
    table = "divmerge_anp_by_task_count"
    rows = published_rows(table)
    found = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == setting]
        found += _odd_averages(table, f"{setting}, ", own, ("setting", "tasks"), _ANP)
    return found


def _two_tasks() -> list[Disagreement]:
    """Two tables show the mean over all pairs of tasks."""
    table = "divmerge_pairwise_anp"
    pairs = {
        row["setting"]: row for row in published_rows("divmerge_anp_by_task_count") if row["tasks"] == "2"
    }
    rows = published_rows(table)
    found = []
    for setting, of_two in pairs.items():
        odd = [
            f"{row['method']} {float(row[f'{setting}_anp']):.2f} and {float(of_two[row['method']]):.2f}"
            for row in rows
            if abs(float(row[f"{setting}_anp"]) - float(of_two[row["method"]])) > _ANP
        ]
        if odd:
            text = (
                f"{setting}: mean ANP over pairs differs from that at two tasks in the table by number of "
                f"tasks, for {len(odd)} of {len(rows)} methods: {', '.join(odd)}"
            )
            found.append(Disagreement(table, text))
    return found


def _correlations() -> list[Disagreement]:
    table = "divmerge_divergence_correlation"
    return _odd_averages(table, "", published_rows(table), ("task",), _RHO)


def _odd_averages(
    table: str, where: str, rows: list[dict[str, str]], names: tuple[str, ...], tolerance: float
) -> list[Disagreement]:
    """Columns whose last row, the average, is not that of the rows above; `names` are not numbers."""
    found = []
    for column in rows[0]:
        if column in names:
            continue
        printed, mean = float(rows[-1][column]), fmean(float(row[column]) for row in rows[:-1])
        if abs(mean - printed) > tolerance:
            text = f"{where}{column}: the average is printed as {printed}, its rows give {mean:.4f}"
            found.append(Disagreement(table, text))
    return found


def _accuracies() -> list[Disagreement]:
    """An accuracy on n documents is a multiple of 1/n."""
    table = "divmerge_glue_cross_accuracy"
    return [
        Disagreement(table, f"the {row['model']} expert on {task}: {value} % is no share of {size} documents")
        for row in published_rows(table)
        for task, value, size in _sized(row)
        if abs(100 * round(float(value) / 100 * size) / size - float(value)) > 0.0051
    ]


def _sized(row: Mapping[str, str]) -> list[tuple[str, str, int]]:
    return [(task, value, GLUE_SIZES.get(task, 500)) for task, value in row.items() if task != "model"]
