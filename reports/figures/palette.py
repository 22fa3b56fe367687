"""How methods and tasks look, the same in every figure.

A colour that colour-blind readers can tell apart, and beside it a marker, a line and a hatch, so that a print
in grey says the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.artist import Artist
from matplotlib.lines import Line2D

from reports.colours import BASE_COLOUR, COLOURS
from reports.figures.plotted_methods import PlottedMethod, both_protocols

# As many markers, and hatches, as have no divisor in common with the colours: looks repeat after 104.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">", "*", "h", "d")
HATCHES = (
    "",
    "////",
    "....",
    "\\\\\\\\",
    "xxxx",
    "----",
    "||||",
    "++++",
    "oooo",
    "//..",
    "\\\\--",
    "****",
    "xx..",
)
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))


@dataclass(frozen=True)
class Look:
    """How a method or a task is drawn.

    Attributes:
        colour: of the marker, its interval, its line and its bar.
        marker: as matplotlib names it.
        fill: of the marker; white for post-hoc where the figure also shows many-shot.
        dashes: of its line.
        hatch: of its bar.
    """

    colour: str
    marker: str
    fill: str
    dashes: Any = "-"
    hatch: str = ""

    @property
    def line(self) -> dict[str, Any]:
        """What `Axes.plot` takes for a line with markers."""
        return {
            "color": self.colour, "linestyle": self.dashes, "linewidth": 1.4,
            "marker": self.marker, "markersize": 4.5, "markerfacecolor": self.fill,
        }  # fmt: skip


BASE = Look(BASE_COLOUR, "o", BASE_COLOUR)


def look(index: int) -> Look:
    """The look of the method, or the task, of this number; thirteen differ by their markers alone."""
    colour = COLOURS[index % len(COLOURS)]
    return Look(
        colour,
        MARKERS[index % len(MARKERS)],
        colour,
        DASHES[index // len(COLOURS) % len(DASHES)],
        HATCHES[index % len(HATCHES)],
    )


def looks(methods: Sequence[PlottedMethod]) -> dict[str, Look]:
    """By label, how each is drawn: grey for the base, one look per title for the methods.

    Where both protocols are there, post-hoc checkpoints are hollow.
    """
    titles = list(dict.fromkeys(method.title for method in methods if not method.is_base))
    both = both_protocols(methods)
    style = {}
    for method in methods:
        own = BASE if method.is_base else look(titles.index(method.title))
        style[method.label] = replace(own, fill="white") if both and method.protocol == "post-hoc" else own
    return style


Handle = Callable[[str, Look], Artist]
"""What a legend shows of a name and its look."""


def method_handles(methods: Sequence[PlottedMethod], handle: Handle) -> list[Artist]:
    """What a legend says of methods: each title once, and what hollow and filled mean."""
    style = looks(methods)
    if not both_protocols(methods):
        return [handle(method.label, style[method.label]) for method in methods]
    named = {method.title: style[method.label] for method in methods}
    handles = [handle(title, replace(own, fill=own.colour)) for title, own in named.items()]
    return [*handles, *protocol_handles(methods, handle)]


def protocol_handles(methods: Sequence[PlottedMethod], handle: Handle) -> list[Artist]:
    """What hollow and filled mean, where there are both."""
    if not both_protocols(methods):
        return []
    fills = {"post-hoc": "white", "many-shot": "black"}
    return [handle(protocol, Look("black", "o", fill)) for protocol, fill in fills.items()]


def line_handle(name: str, own: Look) -> Artist:
    """A line with its marker."""
    return Line2D([], [], label=name, **own.line)


def marker_handle(name: str, own: Look) -> Artist:
    """A marker alone."""
    return Line2D([], [], label=name, **{**own.line, "linestyle": "", "markersize": 6})
