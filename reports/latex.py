"""Tables in LaTeX: a document of one page that compiles by itself, from which the table can be copied."""

import unicodedata

from reports.sheet import Cell, Column, Sheet

_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "−": "$-$",
    "≈": r"$\approx$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "‖": r"$\Vert$",
    "×": r"$\times$",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
# Pages and sizes as wide and high as the table, and only packages that every LaTeX has.
_BEFORE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{booktabs}
\usepackage[landscape,margin=1cm,paperwidth=70cm,paperheight=50cm]{geometry}
\pagestyle{empty}
\begin{document}
\noindent
"""
_AFTER = r"""
\end{document}
"""


def latex_table(sheet: Sheet) -> str:
    r"""A document with a `tabular` with booktabs rules; caption and notes are comments above it."""
    caption = sheet.caption + sheet.legend()
    lines = [f"% {latex_text(text)}" for text in (caption, *sheet.notes)]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(sheet.columns)}}}", r"\toprule"]
    lines.append(rf"{latex_text(sheet.head)} & {' & '.join(_title(column) for column in sheet.columns)} \\")
    for index, group in enumerate(sheet.groups):
        lines.append(r"\midrule")
        if sheet.titles:
            title = latex_text(sheet.titles[index])
            lines.append(rf"\multicolumn{{{len(sheet.columns) + 1}}}{{l}}{{\emph{{{title}}}}} \\")
        for line in group:
            lines.append(rf"{latex_text(line.label)} & {' & '.join(_cell(cell) for cell in line.cells)} \\")
    return _BEFORE + "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + _AFTER


def latex_text(text: str) -> str:
    """The text as LaTeX prints it, on one line; characters that its fonts lack by their code point."""
    return "".join(map(_character, text))


def _character(character: str) -> str:
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    name = unicodedata.name(character, "")
    kind, _, letter = name.rpartition(" ")
    if kind in {"GREEK SMALL LETTER", "GREEK CAPITAL LETTER"}:
        # LaTeX has no commands for capitals that look Latin, nor for omicron.
        capital = kind == "GREEK CAPITAL LETTER"
        looks_latin = letter in _LATIN_CAPITALS if capital else letter == "OMICRON"
        if looks_latin:
            return _LATIN_CAPITALS.get(letter, "o") if capital else "o"
        command = "lambda" if letter in {"LAMDA", "LAMBDA"} else letter.lower()
        return rf"$\{command.capitalize() if capital else command}$"
    # Basic Latin, Latin-1's and Latin Extended-A's letters are in T1 fonts.
    if character.isascii() and character.isprintable():
        return character
    if name.startswith("LATIN ") and ord(character) < 0x180:
        return character
    return " " if not character.isprintable() else f"[U+{ord(character):04X}]"


_LATIN_CAPITALS = dict(
    zip(
        (
            "ALPHA",
            "BETA",
            "EPSILON",
            "ZETA",
            "ETA",
            "IOTA",
            "KAPPA",
            "MU",
            "NU",
            "OMICRON",
            "RHO",
            "TAU",
            "CHI",
        ),
        "ABEZHIKMNOPTX",
        strict=True,
    )
)


def _title(column: Column) -> str:
    return rf"$\Delta$ {latex_text(column.title)}" if column.is_difference else latex_text(column.title)


def _cell(cell: Cell) -> str:
    value = latex_text(cell.value)
    if value[:1] in {"+", "-"} and not value.startswith("--"):
        value = f"${value[0]}${value[1:]}"
    marked = {
        "best": rf"\textbf{{{value}}}",
        "second": rf"\underline{{{value}}}",
        "tie": rf"{value}\,$\approx$",
    }.get(cell.mark, value)
    return rf"{marked} {{\scriptsize {latex_text(cell.interval)}}}" if cell.interval else marked
