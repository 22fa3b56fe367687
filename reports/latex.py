"""Tables in LaTeX: a document of one page that compiles by itself, from which the table can be copied."""

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


def latex_table(sheet: Sheet) -> str:
    r"""A document with a `tabular` with booktabs rules; caption and notes are comments above it."""
    caption = sheet.caption + sheet.legend()
    lines = [f"% {latex_text(text)}" for text in (caption, *sheet.notes)]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(sheet.columns)}}}", r"\toprule"]
    lines.append(rf"{latex_text(sheet.head)} & {' & '.join(_title(column) for column in sheet.columns)} \\")
    for index, group in enumerate(sheet.groups):
        lines.append(r"\midrule")
        if sheet.titles and sheet.titles[index]:
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
