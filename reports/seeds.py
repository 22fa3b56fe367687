"""The table over seeds, in Markdown: every method merged once and in rounds, the difference, and choices."""

from collections.abc import Iterable, Mapping

from results.bootstrap import Interval
from results.comparison import Comparison
from results.merge_trace import MergeTrace
from results.pooled import Pooled, merged_methods
from results.seeds import STATISTICS, gains

_HEADS = {"average": "average", "worst_task": "worst task"}


def seeds_table(comparison: Comparison) -> str:
    """Return means of normalised performance over seeds, with both 95 % intervals, as Markdown."""
    heads = [head for name in STATISTICS for head in (_HEADS[name], "over seeds", "over documents")]
    means = [(one, {name: one.aggregate(name) for name in STATISTICS}) for one in merged_methods(comparison)]
    rows = [[one.title, one.protocol, *_cells(found, "")] for one, found in means]
    text = _table(["method", "protocol", *heads], rows)
    found = gains(comparison)
    if found:
        differences = [[one.method, *_cells(one.differences, "+")] for one in found]
        text += "\nMany-shot less post-hoc, of the same seed on the same documents:\n\n"
        text += _table(["method", *heads], differences)
    choices = chosen(comparison)
    if choices:
        text += "\nChosen on validation data:\n\n"
        text += _table(["method", "protocol", "seed", "settings", "candidates", "round"], choices)
    seeds = {len(one.values) for _, of_method in means for one in of_method.values() if one.values}
    number = " or ".join(map(str, sorted(seeds))) or "no"
    return text + (
        f"\nMeans of {number} {'seed' if seeds == {1} else 'seeds'}, with 95 % intervals: over seeds by "
        "Student's t, over documents by a paired bootstrap of these seeds' means.\n"
    )


def chosen(comparison: Comparison) -> list[list[str]]:
    """Return what was chosen on validation data: method, protocol, seed, settings, of how many, and round."""
    found = []
    for row in comparison.rows:
        trace, selection = row.trace or MergeTrace(), row.selection
        tried, scored = bool(trace.trials), selection is not None and len(selection.scores)
        if not tried and not scored:
            continue
        settings = ", ".join(f"{name}={value}" for name, value in trace.settings.items())
        candidates = str(trace.candidates) if tried else "—"
        kept = f"{selection.round_index} of {scored}" if selection and scored else "last"
        seed = "—" if row.seed is None else str(row.seed)
        method = [row.title or row.label, row.protocol or "", seed]
        found.append([*method, settings if tried else "—", candidates, kept])
    return found


def _table(heads: list[str], rows: Iterable[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _cells(statistics: Mapping[str, Pooled], sign: str) -> list[str]:
    cells = []
    for one in statistics.values():
        if one.value is None:
            cells += ["—"] * 3
        else:
            cells += [f"{one.value:{sign}.3f}", _interval(one.seeds, sign), _interval(one.documents, sign)]
    return cells


def _interval(interval: Interval | None, sign: str) -> str:
    return "—" if interval is None else f"[{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
