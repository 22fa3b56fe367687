"""Names beside the ends of lines, moved apart where they are close."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from reports.drawing import wrapped

_LONGEST = 40
_GAP = 1.5
NAME_WIDTH = 30
"""Characters in a line of a name in a figure."""


def can_be_named(names: Sequence[str], most: int = 26) -> bool:
    """Whether names are few and short enough to stand in a figure; others go into a legend."""
    return len(names) <= most and all(len(name) <= _LONGEST for name in names)


def name_ends(axes: Axes, names: Sequence[str], ends: Sequence[float], colours: Sequence[str]) -> None:
    """Write names right of the axes, each at the height of its line's end, moved apart where they are close.

    Args:
        axes: of a figure that is laid out by constrained layout, with their limits set.
        names: short ones.
        ends: values of y.
        colours: of the lines.
    """
    figure = axes.figure.get_figure(root=True)
    texts = [
        axes.annotate(
            wrapped(name, NAME_WIDTH),
            (1, end),
            (14, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=8,
            va="center",
            color=colour,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),
                "color": colour,
                "linewidth": 0.8,
                # A box around the text, which is wider than it, would end the line beside another name.
                "patchA": None,
                "shrinkA": 2,
                "shrinkB": 2,
            },
        )
        for name, end, colour in zip(names, ends, colours, strict=True)
    ]
    figure.draw_without_rendering()  # which makes room for the names
    renderer = FigureCanvasAgg(figure).get_renderer()
    scale = 72 / figure.dpi
    heights = [float(text.get_window_extent(renderer).height) * scale + _GAP for text in texts]
    wanted = [float(axes.transData.transform((0, end))[1]) * scale for end in ends]
    frame = axes.get_window_extent(renderer)
    places = _apart(wanted, heights, float(frame.y0) * scale, float(frame.y1) * scale)
    for text, place, want in zip(texts, places, wanted, strict=True):
        text.set_position((14, place - want))


def _apart(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Middles of things of some heights, near where they are wanted, none over another, in a range.

    Neighbours that would overlap make a block, whose middle is where they are wanted on average.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks: list[tuple[float, list[int]]] = []
    for index in order:
        members = [index]
        while True:
            total = sum(heights[i] for i in members)
            middle = sum(wanted[i] for i in members) / len(members)
            middle = max(min(middle, high - total / 2), low + total / 2)
            if not blocks:
                break
            below, others = blocks[-1]
            if middle - total / 2 >= below + sum(heights[i] for i in others) / 2:
                break
            members = blocks.pop()[1] + members
        blocks.append((middle, members))
    found = [0.0] * len(wanted)
    for middle, members in blocks:
        edge = middle - sum(heights[i] for i in members) / 2
        for index in members:
            found[index] = edge + heights[index] / 2
            edge += heights[index]
    return found
