"""What all figures share: their style, and how they are saved."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from results.errors import InputError

SUFFIXES = (".png", ".pdf", ".svg")
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "manyshot",
    "savefig.dpi": 200,
}
GRID = "#E4E4E4"
REFERENCE = "#444444"


def check_suffix(out: Path) -> None:
    """Refuse a file whose format is none of ours.

    Raises:
        InputError: it is not.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"{out}: a figure's name ends in {', '.join(SUFFIXES)}")


def save(figure: Figure, out: Path) -> Path:
    """Write a figure, the same bytes each time."""
    out.parent.mkdir(parents=True, exist_ok=True)
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(out.suffix.lower())
    figure.savefig(out, bbox_inches="tight", pad_inches=0.06, metadata=metadata)
    return out
