"""Figures: that they are files, that all is in them, and that names do not cover one another."""

import re
import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_comparisons import changed
from matplotlib.image import imread

from reports.colours import BASE_COLOUR
from reports.figures.dots import normalised_performance
from reports.figures.palette import looks
from reports.figures.plotted_methods import plotted_methods
from reports.figures.scatter import average_against_worst
from results.comparison import Comparison, Estimate
from results.errors import InputError

Make = Callable[[int], Comparison]
FIGURES = (normalised_performance, average_against_worst)
HEADS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


def words(path: Path) -> list[str]:
    """The texts of an SVG."""
    return [one.text or "" for one in xml.etree.ElementTree.parse(path).iter() if one.tag.endswith("}text")]


@pytest.mark.parametrize("draw", FIGURES)
@pytest.mark.parametrize("suffix", list(HEADS))
def test_the_suffix_says_the_format(make_comparison: Make, tmp_path: Path, draw, suffix: str) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "new folder" / f"figure{suffix}"
    assert draw(make_comparison(4), out) == out
    assert out.read_bytes().startswith(HEADS[suffix])


@pytest.mark.parametrize("draw", FIGURES)
def test_another_suffix_is_refused(make_comparison: Make, tmp_path: Path, draw) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=r"figure\.gif.*\.png, \.pdf, \.svg"):
        draw(make_comparison(4), tmp_path / "figure.gif")


@pytest.mark.parametrize("draw", FIGURES)
def test_the_same_comparison_gives_the_same_file(make_comparison: Make, tmp_path: Path, draw) -> None:  # type: ignore[no-untyped-def]
    one, two = (draw(make_comparison(4), tmp_path / name).read_bytes() for name in ("one.svg", "two.svg"))
    assert one == two


def test_performance_names_every_task_and_method_once(make_comparison: Make, tmp_path: Path) -> None:
    comparison = make_comparison(12)
    found = words(normalised_performance(comparison, tmp_path / "f.svg"))
    shown = ["base", *(row.label for row in comparison.rows if row.role == "merged")]
    for name in ["average", *comparison.suite.tasks, *shown]:
        assert found.count(name) == 1, name
    assert any("expert" in one for one in found)


@pytest.mark.parametrize("number", [12, 24])
def test_many_methods_are_sorted_by_their_average(make_comparison: Make, tmp_path: Path, number: int) -> None:
    comparison = make_comparison(12)
    merged = [row for row in comparison.rows if row.role == "merged"]
    others = [changed(row, label=f"{row.label} again", title=f"{row.title} again") for row in merged]
    comparison = replace(comparison, rows=(*comparison.rows, *others[: number - 12]))
    rows = [row for row in comparison.rows if row.role == "merged"]
    by_average = sorted(rows, key=lambda row: -(row.average.value or 0.0))
    assert by_average != rows
    expected = [row.label for row in (by_average if number == 24 else rows)]
    found = words(normalised_performance(comparison, tmp_path / "f.svg"))
    assert [name for name in found if name in expected] == expected


def test_performance_shows_the_dots_in_their_colours(make_comparison: Make, tmp_path: Path) -> None:
    comparison = make_comparison(4)
    text = normalised_performance(comparison, tmp_path / "f.svg").read_text().lower()
    style = looks(plotted_methods(comparison))
    for label in ("base", "linear", "ties"):
        # Five panels, in each an interval and a marker.
        assert len(re.findall(rf"stroke: {style[label].colour}".lower(), text)) >= 10, label
    assert style["base"].colour == BASE_COLOUR


def test_what_was_not_scored_is_told_and_not_drawn(make_comparison: Make, tmp_path: Path) -> None:
    comparison = make_comparison(4)
    none = Estimate(None)
    last = comparison.rows[-1]
    gone = replace(
        last, average=none, worst_task=none, gap=none, tasks={**last.tasks, "math": none}, complete=(4, 5)
    )
    comparison = replace(comparison, rows=(*comparison.rows[:-1], gone))
    assert words(normalised_performance(comparison, tmp_path / "f.svg")).count("incomplete") == 2
    found = words(average_against_worst(comparison, tmp_path / "g.svg"))
    assert "dare" not in found
    assert "Without an average: dare." in found


def test_nothing_to_draw_is_an_error(make_comparison: Make, tmp_path: Path) -> None:
    comparison = make_comparison(4)
    experts = replace(comparison, rows=tuple(row for row in comparison.rows if row.role == "expert"))
    for draw in FIGURES:
        with pytest.raises(InputError, match="nothing to draw"):
            draw(experts, tmp_path / "f.svg")


def test_names_are_text_whatever_they_hold(make_comparison: Make, tmp_path: Path) -> None:
    comparison = make_comparison(2)
    last = changed(comparison.rows[-1], label=r"_$\frac{a$ & <b>")
    comparison = replace(comparison, rows=(*comparison.rows[:-1], last))
    for draw in FIGURES:
        assert r"_$\frac{a$ & <b>" in words(draw(comparison, tmp_path / "f.svg"))


@pytest.mark.parametrize("draw", FIGURES)
def test_twelve_methods_fit_on_the_page(make_comparison: Make, tmp_path: Path, draw) -> None:  # type: ignore[no-untyped-def]
    """Nothing is cut off: there is a white margin, and something inside it."""
    image = imread(draw(make_comparison(12), tmp_path / "f.png"))[..., :3]
    height, width, _ = image.shape
    assert 0.3 < height / width < 1.3
    edges = np.concatenate(
        [image[:4].ravel(), image[-4:].ravel(), image[:, :4].ravel(), image[:, -4:].ravel()]
    )
    assert (edges == 1).all()
    assert (image < 0.5).any()


def test_a_method_looks_the_same_in_both_protocols_but_for_the_filling(make_comparison: Make) -> None:
    comparison = make_comparison(12)
    once = looks(plotted_methods(comparison)).values()
    assert len({(look.colour, look.marker) for look in once}) == 13
    assert len({look.hatch for look in once}) == len({look.marker for look in once}) == 12  # in print, too
    again = changed(comparison.rows[-1], label="metis again", title="metis", protocol="many-shot")
    style = looks(plotted_methods(replace(comparison, rows=(*comparison.rows, again))))
    assert style["metis again"].colour == style["metis"].colour
    assert style["metis again"].marker == style["metis"].marker
    assert style["metis"].fill == "white"
    assert style["metis again"].fill == style["metis"].colour


def test_reports_need_neither_torch_nor_a_screen() -> None:
    code = (
        "import sys, reports.tables, reports.figures; "
        "sys.exit('torch' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
