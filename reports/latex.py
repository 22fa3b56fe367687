"""Tables in LaTeX: a document of one page that compiles by itself, from which the table can be copied."""

from collections.abc import Sequence

from reports.table_model import Cell, Table

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
    "↓": r"$\downarrow$",
    "×": r"$\times$",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
# Pages and sizes as wide and high as the table, and only packages that every LaTeX has.
_BEFORE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{booktabs}
\usepackage[margin=1cm,paperwidth=120cm,paperheight=60cm]{geometry}
\pagestyle{empty}
\begin{document}
\noindent
"""
_AFTER = r"""
\end{document}
"""


def latex(table: Table) -> str:
    r"""A document with a `tabular` with booktabs rules; caption and notes are comments above it."""
    columns = table.columns.values()
    lines = [f"% {latex_text(text)}" for text in (table.caption + table.legend(), *table.notes)]
    aligned = "".join("l" if column.is_text else "r" for column in columns)
    lines += [rf"\begin{{tabular}}{{l{aligned}}}", r"\toprule"]
    lines.append(_line([table.head, *(column.heading for column in columns)]))
    for group, cells in zip(table.groups, table.cells, strict=True):
        lines.append(r"\midrule")
        if group.title:
            title = latex_text(group.title)
            lines.append(rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\emph{{{title}}}}} \\")
        for row, of_row in zip(group.rows, cells, strict=True):
            lines.append(rf"{latex_text(row.label)} & {' & '.join(map(_cell, of_row))} \\")
    return _BEFORE + "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + _AFTER


def _line(texts: Sequence[str]) -> str:
    return " & ".join(map(latex_text, texts)) + r" \\"


def latex_text(text: str) -> str:
    """The text as LaTeX prints it, on one line; characters that its fonts lack by their code point."""
    return "".join(map(_character, text))


def _character(character: str) -> str:
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    if character.isascii() or character in _LETTERS:
        return character if character.isprintable() else " "
    return _GREEK.get(character, f"[U+{ord(character):04X}]" if character.isprintable() else " ")


# Letters that LaTeX's T1 fonts have.
_LETTERS = frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ"
    "ĂăĄąĆćČčĎďĐđĘęĚěĞğİıĹĺĽľŁłŃńŇňŐőŒœŔŕŘřŚśŞşŠšŢţŤťŮůŰűŸŹźŻżŽž"
)
_SMALL = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi o pi rho sigma tau upsilon phi "
    "chi psi omega"
)
# LaTeX has commands for those capitals alone that do not look Latin.
_CAPITALS = "A B Gamma Delta E Z H Theta I K Lambda M N Xi O Pi P Sigma T Upsilon Phi X Psi Omega"
_GREEK = {
    letter: f"$\\{name}$" if len(name) > 1 else f"${name}$"
    for letters, names in (("αβγδεζηθικλμνξοπρστυφχψω", _SMALL), ("ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ", _CAPITALS))
    for letter, name in zip(letters, names.split(), strict=True)
}


def _cell(cell: Cell) -> str:
    value = latex_text(cell.text)
    if value[:1] in {"+", "-"} and not value.startswith("--"):
        value = f"${value[0]}${value[1:]}"
    marked = {
        "best": rf"\textbf{{{value}}}",
        "second": rf"\underline{{{value}}}",
        "tie": rf"{value}\,$\approx$",
    }.get(cell.mark, value)
    return rf"{marked} {{\scriptsize {latex_text(cell.interval)}}}" if cell.interval else marked
