"""The table over seeds, in Markdown: every method merged once and in rounds, and the difference."""

from collections.abc import Iterable

from results.comparison import Comparison
from results.seeds import STATISTICS, Spread, gains, over_seeds

_HEADS = {"average": "average", "worst_task": "worst task"}


def seeds_table(comparison: Comparison) -> str:
    """Return means of normalised performance over seeds, with 95 % intervals over seeds, as Markdown."""
    heads = [_HEADS[name] for name in STATISTICS]
    rows = [[one.method, one.protocol, *map(_shown, one.spreads.values())] for one in over_seeds(comparison)]
    text = _table(["method", "protocol", *heads], rows)
    found = gains(comparison)
    if found:
        differences = [[one.method, *map(_signed, one.spreads.values())] for one in found]
        text += "\nMany-shot less post-hoc, of the same seed:\n\n" + _table(["method", *heads], differences)
    return text + "\nMean over seeds with a 95 % interval by Student's t; the number of seeds is n.\n"


def _table(heads: list[str], rows: Iterable[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _shown(spread: Spread | None) -> str:
    return "—" if spread is None else _with_interval(spread, "")


def _signed(spread: Spread | None) -> str:
    return "—" if spread is None else _with_interval(spread, "+")


def _with_interval(spread: Spread, sign: str) -> str:
    if spread.low is None or spread.high is None:
        return f"{spread.mean:{sign}.3f} (n = {spread.n})"
    return f"{spread.mean:{sign}.3f} [{spread.low:{sign}.3f}, {spread.high:{sign}.3f}] (n = {spread.n})"
