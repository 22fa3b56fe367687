"""Two checkpoints head to head, as text: a line for each benchmark, and documents on which they differ."""

from collections.abc import Iterator

from reports.table_model import UNKNOWN, Column, Group, Table, TableRow, Value
from reports.terminal import wide_terminal
from reports.writers import TableFormat, comma_separated, markdown
from results.errors import InputError
from results.head_to_head import HeadToHead
from results.markdown import escaped, printable
from results.paired import SWAPPED, SWAPS, BenchmarkDifference
from results.samples import DifferingDocument

_FORMATS = ("terminal", "markdown", "csv")
_COLUMNS = {"metric": Column("metric", "text")} | {
    title: Column(title, ranked=False)
    for title in ("n", "A", "B", "A − B", "95 %", "p", "p (Holm)", "A better", "B better")
}
_OF_AGGREGATES = ("metric", "A", "B", "A − B", "95 %")
_AGGREGATES = {"average": "average NP", "worst_task": "worst task NP"}
_LONGEST = 160  # characters of what was asked or said


def head_to_head_text(
    comparison: HeadToHead,
    format: TableFormat = "terminal",  # noqa: A002 - the word of the command line
) -> str:
    """The comparison as text.

    Args:
        comparison: what to show.
        format: terminal; markdown; or csv, which has a row for each benchmark, numbers in full precision, and
            no documents.

    Raises:
        InputError: there is no such format.
    """
    if format not in _FORMATS:
        raise InputError(f"no format '{format}' of a comparison; there are {', '.join(_FORMATS)}")
    if format == "csv":
        return comma_separated(_data(comparison))
    is_markdown = format == "markdown"
    lines = [
        f"- {side}: {escaped(title)}" if is_markdown else f"{side}  {title}"
        for side, title in _titles(comparison)
    ]
    lines += ["", (markdown if is_markdown else wide_terminal)(_table(comparison)).rstrip("\n")]
    for head, documents in _listed(comparison):
        lines += ["", escaped(head), ""] if is_markdown else ["", head]
        for title, texts in documents:
            lines.append(f"- {escaped(title)}" if is_markdown else f"  {title}")
            lines += [
                f"  - {name}: {escaped(text)}" if is_markdown else f"    {name:5}  {text}"
                for name, text in texts
            ]
    return "\n".join(lines) + "\n"


def _table(comparison: HeadToHead) -> Table:
    """A row for each benchmark, and one for each aggregate of rows of one run."""
    rows = []
    for result in comparison.benchmarks:
        texts = [
            result.metric + " ↓" * (not result.higher_is_better),
            str(result.n) + f" of {result.items} items" * (result.items < result.n),
            *(f"{score:.3f}" for score in result.scores),
            *_difference(result.difference, result.low, result.high),
            _p(result.p_value) + "*" * (result.test == SWAPPED),
            _p(comparison.corrected[result.benchmark]),
            *map(str, result.wins),
        ]
        rows.append(TableRow(result.benchmark, dict(zip(_COLUMNS, texts, strict=True))))
    for name, aggregate in comparison.aggregates.items():
        gain = aggregate.difference
        texts = [
            UNKNOWN,
            *(f"{value:.3f}" for value in aggregate.values),
            *_difference(gain.value, gain.low, gain.high),
        ]
        rows.append(TableRow(_AGGREGATES[name], dict(zip(_OF_AGGREGATES, texts, strict=True))))
    return Table(_COLUMNS, (Group(tuple(rows)),), "benchmark", _caption(comparison), tuple(comparison.notes))


def _data(comparison: HeadToHead) -> Table:
    """All numbers of each benchmark."""
    rows = [
        TableRow(
            result.benchmark,
            {
                "metric": result.metric,
                "n": Value(result.n),
                "items": Value(result.items),
                "a": Value(result.scores[0]),
                "b": Value(result.scores[1]),
                "difference": Value(result.difference),
                "low": Value(result.low),
                "high": Value(result.high),
                "p_value": Value(result.p_value),
                "p_corrected": Value(comparison.corrected[result.benchmark]),
                "test": result.test,
                "a_better": Value(result.wins[0]),
                "b_better": Value(result.wins[1]),
            },
        )
        for result in comparison.benchmarks
    ]
    columns = {name: Column(name) for row in rows[:1] for name in row.values}
    return Table(columns, (Group(tuple(rows)),), "benchmark")


def _titles(comparison: HeadToHead) -> list[tuple[str, str]]:
    pairs = zip("AB", comparison.titles, comparison.digests, strict=True)
    return [(side, f"{printable(title)} ({digest[:12]})") for side, title, digest in pairs]


def _difference(value: float, low: float, high: float) -> tuple[str, str]:
    return f"{value:+.3f}", f"[{low:+.3f}, {high:+.3f}]"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def _caption(comparison: HeadToHead) -> str:
    lower = ", of a metric with ↓ too" * (
        not all(result.higher_is_better for result in comparison.benchmarks)
    )
    swapped = f" * By {SWAPS:,} random swaps of the two sides." * any(
        result.test == SWAPPED for result in comparison.benchmarks
    )
    exact = "p: McNemar's exact test of the documents that one side alone got right." * any(
        result.test != SWAPPED for result in comparison.benchmarks
    )
    items = (
        " Documents of one item, which are translations of each other, are drawn and swapped together."
        * any(result.items < result.n for result in comparison.benchmarks)
    )
    return (
        f"A − B is above zero where A is better{lower}; 95 % by a paired bootstrap over documents.{items} "
        f"{f'{exact}{swapped}'.strip()} "
        f"p (Holm): corrected for the number of benchmarks, {len(comparison.benchmarks)}."
    )


def _listed(comparison: HeadToHead) -> Iterator[tuple[str, list[tuple[str, list[tuple[str, str]]]]]]:
    """A head for every benchmark with documents to list, and for each document a title and texts by name."""
    for result in comparison.benchmarks:
        documents = [
            (f"{side} is better: {_title(document)}", _texts(document))
            for side, of_side in zip("AB", result.documents, strict=True)
            for document in of_side
        ]
        if documents:
            yield _head(result), documents


def _head(result: BenchmarkDifference) -> str:
    return f"{printable(result.benchmark)}: A is better on {result.wins[0]} documents, B on {result.wins[1]}"


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
