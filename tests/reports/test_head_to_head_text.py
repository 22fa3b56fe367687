"""Two checkpoints head to head, as their readers see them."""

import csv
import io
from dataclasses import replace

import pytest

from reports.tables.head_to_head import head_to_head_text
from results.errors import InputError
from results.head_to_head import AggregateDifference, HeadToHead
from results.minima import PairedDifference
from results.paired import BenchmarkDifference
from results.samples import DifferingDocument

NASTY = "one\ntwo \x1b[31mred \u202e| *bold* <b>"


def benchmark(name: str = "gsm8k", **changes: object) -> BenchmarkDifference:
    document = DifferingDocument(name, 17, "What is 9 + 9?", "18", (NASTY, None), (1.0, 0.0))
    made = BenchmarkDifference(
        benchmark=name,
        metric="exact_match",
        n=1319,
        items=1319,
        higher_is_better=True,
        scores=(0.5625, 0.4375),
        difference=0.125,
        low=0.0625,
        high=0.1875,
        p_value=0.0123,
        test="McNemar",
        wins=(12, 5),
        documents=((document,), ()),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def made_up(*benchmarks: BenchmarkDifference, **changes: object) -> HeadToHead:
    found = benchmarks or (benchmark(),)
    made = HeadToHead(
        titles=("metis", "ties\x1b[2J"),
        digests=("a" * 64, "b" * 64),
        benchmarks=found,
        corrected={one.benchmark: 0.0246 for one in found},
        aggregates={},
        notes=(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_a_line_has_scores_difference_interval_p_values_and_wins(form: str) -> None:
    text = head_to_head_text(made_up(), form).replace("\\", "")  # type: ignore[arg-type]
    line = next(line for line in text.splitlines() if "1319" in line)
    words = line.replace("|", " ").split()
    numbers = "1319 0.562 0.438 +0.125 [+0.062, +0.188] 0.0123 0.0246 12 5"
    assert " ".join(words) == f"gsm8k exact_match {numbers}"
    assert "metis (aaaaaaaaaaaa)" in text
    assert "corrected for the number of benchmarks, 1" in text
    assert "random swaps" not in text and "translations" not in text


def test_where_documents_are_translations_it_says_of_how_many_items() -> None:
    text = head_to_head_text(made_up(benchmark(n=400, items=100), benchmark("m_arc")))
    assert "400 of 100 items" in text and "1319 of" not in text
    assert "Documents of one item, which are translations of each other, are drawn and swapped" in text


def test_what_is_not_mcnemars_or_not_higher_is_better_is_marked() -> None:
    one = benchmark(test="swaps", higher_is_better=False, p_value=0.0001)
    text = head_to_head_text(made_up(one))
    assert "0.0001*" in text
    assert "* By 9,999 random swaps" in text
    assert "exact_match ↓" in text
    assert "of a metric with ↓ too" in text
    assert "<0.0001" in head_to_head_text(made_up(benchmark(p_value=1e-9)))


def test_aggregates_of_rows_of_one_run_are_lines_too() -> None:
    gain = AggregateDifference((0.9, 0.7), PairedDifference(0.2, -0.01, 0.31))
    text = head_to_head_text(made_up(aggregates={"average": gain, "worst_task": gain}))
    (line,) = [line for line in text.splitlines() if line.startswith("worst task NP")]
    assert line.split()[3:] == ["–", "–", "0.900", "0.700", "+0.200", "[-0.010,", "+0.310]", *"––––"]


def test_documents_show_what_was_asked_expected_and_said() -> None:
    text = head_to_head_text(made_up())
    lines = text[text.index("gsm8k: A is better") :].splitlines()
    assert lines[0] == "gsm8k: A is better on 12 documents, B on 5"
    assert lines[1] == "  A is better: gsm8k, document 17, scores 1 and 0"
    assert lines[2:] == [
        "    asked  What is 9 + 9?",
        "    gold   18",
        "    A      one two [31mred | *bold* <b>",
    ]
    none_listed = made_up(benchmark(documents=((), ())))
    assert "is better on" not in head_to_head_text(none_listed)


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_nothing_that_a_model_or_a_user_wrote_is_more_than_text(form: str) -> None:
    text = head_to_head_text(made_up(notes=(f"note {NASTY}",)), form)  # type: ignore[arg-type]
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "one two" in text
    if form == "markdown":
        assert r"\| \*bold\* \<b\>" in text
        assert "<b>" not in text


def test_a_long_text_is_cut_in_the_middle() -> None:
    document = DifferingDocument("gsm8k", 1, "begin " + "word " * 200 + "end", None, (None, None), (0, 1))
    text = head_to_head_text(made_up(benchmark(documents=((), (document,)))))
    (line,) = [line for line in text.splitlines() if "begin" in line]
    assert line.startswith("    asked  begin word")
    assert line.endswith("word end")
    assert " … " in line
    assert len(line) == len("    asked  ") + 160


def test_csv_has_full_precision() -> None:
    found = made_up(benchmark(low=1 / 3), benchmark("m_arc", test="swaps"))
    first, second = csv.DictReader(io.StringIO(head_to_head_text(found, "csv")))
    assert (float(first["low"]), float(first["a"]), first["n"]) == (1 / 3, 0.5625, "1319")
    assert (second["benchmark"], second["test"], second["a_better"]) == ("m_arc", "swaps", "12")


def test_a_format_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(InputError, match=r"'latex' .* terminal, markdown, csv"):
        head_to_head_text(made_up(), "latex")  # type: ignore[arg-type]
