"""Two checkpoints head to head, as text: a line for each benchmark, and documents on which they differ."""

import csv
import io
from collections.abc import Iterator
from typing import Literal, get_args

from reports.plain import escaped
from reports.sheet import UNKNOWN, printable
from results.errors import InputError
from results.head_to_head import HeadToHead
from results.paired import SWAPPED, SWAPS, BenchmarkDifference, DifferingDocument

Format = Literal["terminal", "markdown", "csv"]
_HEADS = ("benchmark", "metric", "n", "A", "B", "A − B", "95 %", "p", "p (Holm)", "A better", "B better")
_AGGREGATES = {"average": "average NP", "worst_task": "worst task NP"}
_WIDEST = 1000  # characters; a table is as wide as it takes, so that no number is cut or folded
_LONGEST = 160  # characters of what was asked or said


def comparing_text(
    found: HeadToHead,
    format: Format = "terminal",  # noqa: A002 - the word of the command line
) -> str:
    """The comparison as text.

    Args:
        found: what to show.
        format: terminal; markdown; or csv, which has a row for each benchmark, numbers in full precision, and
            no documents.

    Raises:
        InputError: there is no such format.
    """
    if format == "csv":
        return _csv(found)
    if format == "markdown":
        return _markdown(found)
    if format == "terminal":
        return _terminal(found)
    raise InputError(f"no format '{format}' of a comparison; there are {', '.join(get_args(Format))}")


def _terminal(found: HeadToHead) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, head in enumerate(_HEADS):
        table.add_column(Text(head), justify="left" if index < 2 else "right", no_wrap=True)
    for row in _rows(found):
        table.add_row(*map(Text, row))
    drawn = io.StringIO()
    Console(file=drawn, width=_WIDEST, highlight=False).print(table)
    lines = [f"{side}  {title}" for side, title in _titles(found)]
    lines += ["", *(line.rstrip() for line in drawn.getvalue().splitlines())]
    lines += ["", *_caption(found), *(f"- {printable(note)}" for note in found.notes)]
    for head, documents in _listed(found):
        lines += ["", head]
        for title, texts in documents:
            lines += [f"  {title}", *(f"    {name:5}  {text}" for name, text in texts)]
    return "\n".join(lines) + "\n"


def _markdown(found: HeadToHead) -> str:
    lines = [f"- {side}: {escaped(title)}" for side, title in _titles(found)]
    cells = [_HEADS, ("---", "---", *("---:" for _ in _HEADS[2:]))]
    cells += [tuple(map(escaped, row)) for row in _rows(found)]
    lines += ["", *(f"| {' | '.join(row)} |" for row in cells)]
    lines += ["", " ".join(_caption(found)).replace("*", r"\*")]
    if found.notes:
        lines += ["", *(f"- {escaped(printable(note))}" for note in found.notes)]
    for head, documents in _listed(found):
        lines += ["", escaped(head), ""]
        for title, texts in documents:
            lines += [f"- {escaped(title)}", *(f"  - {name}: {escaped(text)}" for name, text in texts)]
    return "\n".join(lines) + "\n"


def _csv(found: HeadToHead) -> str:
    text = io.StringIO()
    rows = [
        {
            "benchmark": one.benchmark,
            "metric": one.metric,
            "n": one.n,
            "items": one.items,
            "a": one.scores[0],
            "b": one.scores[1],
            "difference": one.difference,
            "low": one.low,
            "high": one.high,
            "p_value": one.p_value,
            "p_corrected": found.corrected[one.benchmark],
            "test": one.test,
            "a_better": one.wins[0],
            "b_better": one.wins[1],
        }
        for one in found.benchmarks
    ]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _titles(found: HeadToHead) -> list[tuple[str, str]]:
    pairs = zip("AB", found.titles, found.digests, strict=True)
    return [(side, f"{printable(title)} ({digest[:12]})") for side, title, digest in pairs]


def _rows(found: HeadToHead) -> list[list[str]]:
    rows = [
        [
            printable(one.benchmark),
            printable(one.metric) + " ↓" * (not one.higher_is_better),
            str(one.n) + f" of {one.items} items" * (one.items < one.n),
            *(f"{score:.3f}" for score in one.scores),
            *_difference(one.difference, one.low, one.high),
            _p(one.p_value) + "*" * (one.test == SWAPPED),
            _p(found.corrected[one.benchmark]),
            *map(str, one.wins),
        ]
        for one in found.benchmarks
    ]
    for name, aggregate in found.aggregates.items():
        by = aggregate.difference
        cells = [*(f"{value:.3f}" for value in aggregate.values), *_difference(by.value, by.low, by.high)]
        rows.append([_AGGREGATES[name], *[UNKNOWN] * 2, *cells, *[UNKNOWN] * 4])
    return rows


def _difference(value: float, low: float, high: float) -> tuple[str, str]:
    return f"{value:+.3f}", f"[{low:+.3f}, {high:+.3f}]"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def _caption(found: HeadToHead) -> list[str]:
    turned = ", of a metric with ↓ too" * (not all(one.higher_is_better for one in found.benchmarks))
    swapped = f" * By {SWAPS:,} random swaps of the two sides." * any(
        one.test == SWAPPED for one in found.benchmarks
    )
    exact = "p: McNemar's exact test of the documents that one side alone got right." * any(
        one.test != SWAPPED for one in found.benchmarks
    )
    items = (
        " Documents of one item, which are translations of each other, are drawn and swapped together."
        * any(one.items < one.n for one in found.benchmarks)
    )
    return [
        f"A − B is above zero where A is better{turned}; 95 % by a paired bootstrap over documents.{items}",
        f"{exact}{swapped}".strip(),
        f"p (Holm): corrected for the number of benchmarks, {len(found.benchmarks)}.",
    ]


def _listed(found: HeadToHead) -> Iterator[tuple[str, list[tuple[str, list[tuple[str, str]]]]]]:
    """A head for every benchmark with documents to list, and for each document a title and texts by name."""
    for one in found.benchmarks:
        documents = [
            (f"{side} is better: {_title(document)}", _texts(document))
            for side, of_side in zip("AB", one.documents, strict=True)
            for document in of_side
        ]
        if documents:
            yield _head(one), documents


def _head(one: BenchmarkDifference) -> str:
    return f"{printable(one.benchmark)}: A is better on {one.wins[0]} documents, B on {one.wins[1]}"


def _title(document: DifferingDocument) -> str:
    a, b = document.scores
    return f"{printable(document.lm_eval_task)}, document {document.doc_id}, scores {a:.3g} and {b:.3g}"


def _texts(document: DifferingDocument) -> list[tuple[str, str]]:
    texts = [("asked", document.prompt), ("gold", document.target)]
    texts += zip("AB", document.outputs, strict=True)
    return [(name, _on_a_line(text)) for name, text in texts if text is not None]


def _on_a_line(text: str) -> str:
    """The text on one line; of a long one the beginning and the end, where questions and answers are."""
    line = " ".join(printable(text).split())
    if len(line) <= _LONGEST:
        return line
    begin = _LONGEST // 4
    return f"{line[:begin]} … {line[begin + 3 - _LONGEST :]}"
