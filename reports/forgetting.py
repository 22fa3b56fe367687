"""Forgetting: what merging did to the benchmarks that no task trains for, as a difference to the base."""

from pathlib import Path

from matplotlib import rc_context

from reports.dots import draw_dots
from reports.drawing import STYLE, check_suffix, label_below, save
from reports.shown import Shown, basis, both_protocols, shown
from results.comparison import Comparison
from results.errors import InputError


def forgetting(comparison: Comparison, out: Path) -> Path:
    """Dots with 95 % intervals: a panel per benchmark that watches forgetting, a line per method.

    The dashed line is the base.

    Args:
        comparison: what to show.
        out: the figure's file; its suffix says the format: .png, .pdf or .svg.

    Raises:
        InputError: another suffix, or nothing was scored that watches forgetting.
    """
    check_suffix(out)
    drawn = shown(comparison, base=False)
    names = [
        one.name
        for one in comparison.suite.forgetting
        if any(method.forgetting(one.name)[0].value is not None for method in drawn)
    ]
    if not names:
        raise InputError(
            f"run {comparison.name}: nothing to draw, because neither base nor merged checkpoint was scored "
            "on a benchmark that watches forgetting; the suite may name some under `forgetting`"
        )
    known = any(method.forgetting(name)[0].low is not None for method in drawn for name in names)
    with rc_context(STYLE):
        figure = draw_dots(drawn, names, Shown.forgetting, 0.0)
        hollow = "; hollow: post-hoc, filled: many-shot" if both_protocols(drawn) else ""
        label_below(figure, f"score − score of the base (dashed; left of it: forgotten{hollow})")
        return save(figure, out, basis(comparison, drawn, intervals=known, forgetting=True))
