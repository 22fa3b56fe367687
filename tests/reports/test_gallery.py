"""Every figure of the gallery, for few and many methods, long names, holes, one task: nothing overlaps."""

import re
import warnings
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import pytest
from made_up_comparisons import (
    comparison_of,
    pairs_of,
    search_of,
    signals_of,
    sweep_of,
    with_holes,
    word_sweep_of,
)
from matplotlib.figure import Figure
from matplotlib.text import Text

from manyshot.cli import main
from reports.figures import FIGURES, Material, draw_figure, figure
from results.errors import InputError

pytestmark = pytest.mark.slow

LEAST_INCHES = 0.75
"""Of a panel's sides."""
TOUCHING = 1.5
"""Points by which boxes of texts, which have a margin of their own, may overlap."""

SIZES = {
    "few": Material(
        lambda: comparison_of(2, seeds=2, rounds=2),
        lambda: pairs_of(3, 2),
        lambda: signals_of(3),
        lambda: search_of(2),
    ),
    "many": Material(
        lambda: with_holes(comparison_of(12, 8, rounds=1)),
        lambda: pairs_of(4, 12),
        lambda: signals_of(8),
        lambda: search_of(4, candidates=60),
    ),
    "long names": Material(
        lambda: with_holes(comparison_of(4, 5, long=True, rounds=1)),
        lambda: pairs_of(3, 3, long=True),
        lambda: signals_of(5, long=True),
        lambda: search_of(3, long=True),
    ),
}
SWEEPS = {"few": sweep_of(2, seeds=2), "many": sweep_of(12), "long names": sweep_of(3, long=True)}


@dataclass(frozen=True)
class Box:
    """Of a text on the page, in points."""

    text: str
    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "Box") -> bool:
        across = min(self.right, other.right) - max(self.left, other.left)
        up = min(self.top, other.top) - max(self.bottom, other.bottom)
        return across > TOUCHING and up > TOUCHING


def boxes(text: Text, renderer: object, scale: float) -> list[Box]:
    """Of a text on the slant several small ones along it."""
    found = text.get_window_extent(renderer)
    left, bottom, right, top = (float(edge) * scale for edge in found.extents)
    parts = 1 if text.get_rotation() % 90 == 0 else 10
    width, height = (right - left) / parts, (top - bottom) / parts
    return [
        Box(
            text.get_text(),
            left + i * width,
            bottom + i * height,
            left + (i + 1) * width,
            bottom + (i + 1) * height,
        )
        for i in range(parts)
    ]


@dataclass(frozen=True)
class Page:
    figure: Figure
    texts: list[list[Box]]

    @property
    def words(self) -> str:
        return "\n".join(one[0].text for one in self.texts)

    @property
    def footer(self) -> list[Box]:
        return next(one for one in self.texts if one[0].text == self.figure.texts[-1].get_text())

    @property
    def basis(self) -> str:
        return " ".join(self.footer[0].text.split())


@pytest.fixture
def page(monkeypatch, tmp_path):
    """Draws a figure and returns it with the texts that it really draws."""
    pages = []
    draw = Text.draw

    def savefig(figure, *_, **__):
        texts = []
        scale = 72 / figure.dpi

        def watched(text, renderer, *given, **named):
            if text.get_visible() and text.get_text().strip():
                texts.append(boxes(text, renderer, scale))
            return draw(text, renderer, *given, **named)

        monkeypatch.setattr(Text, "draw", watched)
        figure.draw_without_rendering()
        monkeypatch.setattr(Text, "draw", draw)
        pages.append(Page(figure, texts))

    monkeypatch.setattr(Figure, "savefig", savefig)

    def drawn(name, material):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # one says that there is no room for the panels
            draw_figure(name, material, tmp_path / "figure.png")
        return pages[-1]

    return drawn


def material(name, size):
    if name != "sensitivity":
        return SIZES[size]
    return replace(SIZES[size], run=lambda: SWEEPS[size], setting="scaling")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_says_what_it_rests_on_and_nothing_overlaps(page, name, size):
    assert faults(page(name, material(name, size))) == []


@pytest.mark.parametrize("long", [False, True])
def test_words_under_an_axis_do_not_overlap(page, long):
    words = word_sweep_of(3, long=long)
    assert faults(page("sensitivity", replace(SIZES["few"], run=lambda: words, setting="level"))) == []


def faults(found):
    """What a reader would complain of: texts over others or cut off, tiny panels, what the footer lacks."""
    width, height = (inches * 72 for inches in found.figure.get_size_inches())
    footer = found.footer
    over = [
        f"{one[0].text!r} over {other[0].text!r}"
        for one, other in combinations(found.texts, 2)
        if any(a.meets(b) for a in one for b in other)
    ]
    outside = [
        f"{one[0].text!r} is cut off"
        for one in found.texts
        if any(box.left <= -2 or box.right >= width + 2 for box in one)
        or (one is not footer and any(box.bottom <= -2 or box.top >= height + 2 for box in one))
    ]
    below = ["the footer is not below everything"] if any(box.top > 1 for box in footer) else []
    says = {"documents": r"\bn = [\d,]+ |\bn, \w+: |\bn not known", "seeds": r"\b\d seeds?\b"}
    silent = [f"no number of {what}" for what, words in says.items() if not re.search(words, found.basis)]
    tiny = [
        f"a panel of {min(sides):.2f} inches"
        for axes in found.figure.axes
        if axes.get_visible() and axes.get_label() != "<colorbar>"
        if min(sides := axes.get_window_extent().size / found.figure.dpi) <= LEAST_INCHES
    ]
    return over + outside + below + silent + tiny


@pytest.fixture
def spoiled_figure():
    """A figure with all that a reader would complain of."""

    @figure("spoiled", "spoiled")
    def spoiled(comparison):
        drawn = Figure(figsize=(4, 3))
        drawn.text(0.4, 0.5, "one text")
        drawn.text(0.4, 0.5, "another")
        drawn.text(0.8, 0.9, "a text that is longer than there is room for")
        drawn.add_axes((0.1, 0.1, 0.1, 0.1))
        return drawn, "a footer"

    yield
    del FIGURES["spoiled"]


def test_what_a_reader_would_complain_of_is_found(spoiled_figure, page):
    found = faults(page("spoiled", SIZES["few"]))
    complaints = [
        "'one text' over 'another'",
        "'a text that is longer than there is room for' is cut off",
        "no number of documents",
        "no number of seeds",
        "a panel of 0.30 inches",
    ]
    assert [complaint for complaint in complaints if complaint not in found] == []


@pytest.mark.parametrize("name", FIGURES)
def test_axes_are_labelled(page, name):
    figure = page(name, material(name, "few")).figure
    across = [figure.get_supxlabel(), *(axes.get_xlabel() for axes in figure.axes)]
    up = [figure.get_supylabel(), *(axes.get_ylabel() for axes in figure.axes)]
    assert any(across)
    named = {"tasks": "task_arithmetic", "forgetting": "task_arithmetic", "radar": "math"}
    assert any(up) or named[name] in page(name, material(name, "few")).words


@pytest.mark.parametrize(
    "name", [name for name in FIGURES if name not in {"kl", "js", "cosines", "sensitivity"}]
)
def test_one_method_and_one_task_are_enough(page, name):
    one = comparison_of(1, 1, rounds=1)
    given = Material(lambda: one, lambda: [one], lambda: signals_of(1), lambda: search_of(1))
    if name in {"radar", "partners", "depth", "subsets", "pareto"}:
        with pytest.raises(InputError, match=r"three tasks|nothing to draw|is one run|has no front"):
            page(name, given)
    else:
        assert "1 seed" in page(name, given).basis


@pytest.mark.parametrize("name", FIGURES)
def test_another_format_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"figure\.gif: a figure's name ends in \.png, \.pdf, \.svg"):
        draw_figure(name, material(name, "few"), tmp_path / "figure.gif")


def test_names_are_told_and_others_refused():
    with pytest.raises(InputError, match=r"no figure 'pie'; there are bars, .*tasks, .*correlation"):
        draw_figure("pie", SIZES["few"], Path("pie.png"))


@pytest.fixture
def toy_figure():
    """A figure that one decorated function adds, and nothing else knows of."""

    @figure("toy", "a toy", needs="runs")
    def toy(comparisons):
        drawn = Figure()
        drawn.subplots().plot([len(run.rows) for run in comparisons])
        return drawn, "a footer"

    yield
    del FIGURES["toy"]


def test_a_figure_is_added_by_one_decorated_function(toy_figure, page, capsys):
    main(["list", "figures"])
    shown = capsys.readouterr().out
    assert all(f"{name} " in shown for name in FIGURES)
    assert re.search(r"^toy +a toy \(several --run\)$", shown, re.MULTILINE)
    drawn = page("toy", SIZES["few"])
    assert len(drawn.figure.axes[0].lines[0].get_ydata()) == 4  # three pairs, and all of three tasks
    assert drawn.basis == "a footer"
