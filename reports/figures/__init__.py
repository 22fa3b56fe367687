"""The figures by name: what each shows, and what it is drawn from.

A module of this package adds a figure with the decorator `figure`; nothing else has to know of it.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.figure import Figure

from reports.figures.drawing import STYLE, check_suffix, save
from results.comparison import Comparison
from results.errors import InputError
from results.search_report import SearchReport
from results.signal_report import SignalReport

FigureInput = Literal["run", "setting", "runs", "signals", "search"]
"""What a figure is drawn from: the comparison of a run, the same and the name of a method's setting, those of
several runs, what `manyshot signals --out` left, or what `manyshot search` did."""
_OPTIONS = {
    "run": "",
    "setting": " (--setting)",
    "runs": " (several --run)",
    "signals": " (--signals)",
    "search": " (--search)",
}


@dataclass(frozen=True)
class Material:
    """What figures are drawn from, read when one needs it.

    Attributes:
        run: gives the comparison of a run.
        runs: gives those of several runs that belong together.
        signals: gives what `manyshot signals --out` left.
        search: gives what `manyshot search` left.
        setting: of a method.
    """

    run: Callable[[], Comparison]
    runs: Callable[[], Sequence[Comparison]]
    signals: Callable[[], SignalReport]
    search: Callable[[], SearchReport]
    setting: str | None = None


@dataclass(frozen=True)
class NamedFigure:
    """A figure by name.

    Attributes:
        about: what it shows, in a line.
        draw: draws what it needs into a file.
        needs: what that is.
    """

    about: str
    draw: Callable[..., Path]
    needs: FigureInput


FIGURES: dict[str, NamedFigure] = {}


def figure(
    name: str, about: str, *, needs: FigureInput = "run"
) -> Callable[[Callable[..., tuple[Figure, str]]], Callable[..., Path]]:
    """Register a function that draws a figure, in the style of all, and returns it with its footer.

    The function becomes one of what it draws and a file, which is written and returned. The file's suffix
    says the format: .png, .pdf or .svg; another is an InputError.

    Args:
        name: of the figure, for `manyshot report figure --show NAME`.
        about: what it shows, for `manyshot list figures`.
        needs: what the function takes.
    """

    def register(make: Callable[..., tuple[Figure, str]]) -> Callable[..., Path]:
        @functools.wraps(make)
        def draw(data: Any, out: Path, **setting: Any) -> Path:
            check_suffix(out)
            with rc_context(STYLE):
                drawn, footer = make(data, **setting)
                return save(drawn, out, footer)

        FIGURES[name] = NamedFigure(about + _OPTIONS[needs], draw, needs)
        return draw

    return register


def find_figure(name: str) -> NamedFigure:
    """Return the figure of this name.

    Raises:
        InputError: there is none.
    """
    if name not in FIGURES:
        raise InputError(f"no figure '{name}'; there are {', '.join(FIGURES)}")
    return FIGURES[name]


def draw_figure(name: str, material: Material, out: Path) -> Path:
    """Draw the figure of this name into a file.

    Raises:
        InputError: there is none of this name, or nothing to draw.
    """
    named = find_figure(name)
    if named.needs == "setting":
        return named.draw(material.run(), out, setting=material.setting)
    return named.draw(getattr(material, named.needs)(), out)


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
