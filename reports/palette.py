"""How a method looks, the same in every figure: a colour safe for colour-blind readers, and a marker."""

from collections.abc import Sequence
from dataclasses import dataclass

from results.comparison import Row

# Okabe and Ito, "Color Universal Design", 2008, without yellow (too pale on white) and black (the text's).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
BASE_COLOUR = "#7F7F7F"


@dataclass(frozen=True)
class Look:
    """Colour and marker of a row.

    Attributes:
        colour: of the marker and its interval.
        marker: as matplotlib names it.
        fill: of the marker; white for post-hoc where the figure also shows many-shot.
    """

    colour: str
    marker: str
    fill: str


def looks(rows: Sequence[Row]) -> dict[str, Look]:
    """By label, how each row looks: grey for the base, one colour and marker per method for the merged.

    Where both protocols are there, post-hoc checkpoints are hollow.
    """
    methods = list(dict.fromkeys(row.method or row.label for row in rows if row.role == "merged"))
    both = len({row.protocol for row in rows if row.role == "merged" and row.protocol}) > 1
    found = {}
    for row in rows:
        if row.role != "merged":
            found[row.label] = Look(BASE_COLOUR, "o", BASE_COLOUR)
            continue
        index = methods.index(row.method or row.label)
        colour = COLOURS[index % len(COLOURS)]
        hollow = both and row.protocol == "post-hoc"
        marker = MARKERS[index // len(COLOURS) % len(MARKERS)]
        found[row.label] = Look(colour, marker, "white" if hollow else colour)
    return found
