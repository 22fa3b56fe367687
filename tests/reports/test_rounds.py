"""Figures over rounds: what is drawn of which method, and what legends explain; the table of choices."""

from dataclasses import replace

import pytest
from made_up_comparisons import changed

from reports.figures.rounds import performance_over_rounds, tasks_over_rounds, weights_over_rounds
from reports.tables.seeds import seeds_report
from results.errors import InputError
from results.merge_trace import MergeTrace, MethodIdentity, RoundScore, RoundSelection, SignalTrace, Trial

TASKS = ("instruction", "math", "multilingual", "safety")


SIGNALS = {
    "loss gap": {"reference": 0, "reference_label": "no gap"},
    "NP before the round": {"reference": 1, "reference_label": "the expert's NP"},
}


def traced(label):
    values = {task: 0.1 * (i + 1) for i, task in enumerate(TASKS)}
    signal = None if label is None else SignalTrace(label=label, values=values, **SIGNALS[label])
    return MergeTrace(weights=dict.fromkeys(TASKS, 0.25), signal=signal)


@pytest.fixture
def in_rounds(make_comparison, make_row):
    """Two methods in two rounds each, one of them merged once too."""
    comparison = make_comparison(0)
    tasks = dict.fromkeys(TASKS, 0.7)
    rounds, merged = [], []
    for method, signal in (("ties", "loss gap"), ("average", "NP before the round"), ("dare", None)):
        about = {
            "method": method,
            "title": method,
            "identity": MethodIdentity(method=method),
            "protocol": "many-shot",
            "seed": 0,
        }
        rounds += [
            make_row(
                f"{method}, round {turn}", "round", tasks, **about, round_index=turn, trace=traced(signal)
            )
            for turn in (1, 2)
        ]
        merged.append(make_row(f"{method}, many-shot", "merged", tasks, **about))
    once = make_row("ties", "merged", tasks, title="ties", identity=MethodIdentity(method="ties"), seed=0)
    return replace(comparison, rows=(*comparison.rows, *merged, once), rounds=tuple(rounds))


def labels(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_what_is_merged_once_is_explained_where_it_is_drawn(drawn, in_rounds):
    assert labels(drawn(performance_over_rounds, in_rounds)) == [
        "ties", "average", "dare", "expert", "merged once",
    ]  # fmt: skip
    alone = replace(in_rounds, rows=in_rounds.rows[:-1])
    assert labels(drawn(performance_over_rounds, alone)) == ["ties", "average", "dare", "expert"]


def test_a_panel_over_an_empty_place_has_numbers_under_it(drawn, in_rounds):
    found = drawn(performance_over_rounds, in_rounds).axes
    assert [axes.get_visible() for axes in found] == [True] * 5 + [False]
    numbered = [any(tick.label1.get_visible() for tick in axes.xaxis.get_major_ticks()) for axes in found[:5]]
    assert numbered == [False, False, True, True, True]


def test_every_weighted_method_has_its_weights_and_what_they_came_from(drawn, in_rounds):
    figure = drawn(weights_over_rounds, in_rounds)
    assert [axes.get_title() for axes in figure.axes] == ["ties", "", "average", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "weight α", "loss gap", "weight α", "NP before the round",
    ]  # fmt: skip
    assert labels(figure) == [*TASKS, "equal weights; no gap, the expert's NP"]
    unweighted = replace(in_rounds, rounds=in_rounds.rounds[4:])
    with pytest.raises(InputError, match="no method weighs by a signal"):
        drawn(weights_over_rounds, unweighted)


def test_the_figure_of_weights_shows_what_a_mask_asks_of_them(drawn, in_rounds):
    def masked(row):
        update = {
            "mask_thresholds": dict.fromkeys(TASKS, 0.3 / 1.3),
            "mask_norm": 0.1 * row.entry.round_index,
        }
        return changed(row, trace=row.entry.trace.model_copy(update=update))

    rounds = [masked(row) if row.title == "ties" else row for row in in_rounds.rounds]
    figure = drawn(weights_over_rounds, replace(in_rounds, rounds=tuple(rounds)))
    assert (
        labels(figure)[-1].replace("\n", " ") == "least weight for the mask to keep what all tasks agree on"
    )
    weights, signal, of_average, _ = figure.axes
    assert signal.get_title().replace("\n", " ") == "mask kept 0.10 to 0.20 of the sum's norm over rounds"
    assert [0.3 / 1.3] * 2 in [list(line.get_ydata()) for line in weights.lines]
    assert [0.3 / 1.3] * 2 not in [list(line.get_ydata()) for line in of_average.lines]


def test_what_was_chosen_on_validation_data_is_told(make_comparison, make_row):
    comparison = make_comparison(0)
    tasks = dict.fromkeys(TASKS, 0.7)
    tuned = MergeTrace(
        settings={"scaling": 0.3}, trials=(Trial(settings={"scaling": 0.3}, value=1),), candidates=8
    )
    kept = RoundSelection(round_index=2, scores=tuple(RoundScore(round_index=i, value=i / 4) for i in (1, 2)))
    rows = [
        make_row("ta", "merged", tasks, title="ta", trace=tuned, seed=4),
        make_row("metis", "merged", tasks, title="metis", selection=kept, protocol="many-shot", seed=4),
        make_row("ties", "merged", tasks, title="ties", seed=4),
    ]
    text = seeds_report(replace(comparison, rows=(*comparison.rows, *rows)))
    assert "| ta | post-hoc | 4 | scaling=0.3 | 8 | last |" in text
    assert "| metis | many-shot | 4 | – | – | 2 of 2 |" in text
    assert "ties | post-hoc | 4" not in text


@pytest.mark.parametrize("figure", [performance_over_rounds, tasks_over_rounds, weights_over_rounds])
def test_rounds_without_what_they_led_to_are_refused_by_name(drawn, in_rounds, figure):
    rows = [row for row in in_rounds.rows if row.label != "ties, many-shot"]
    with pytest.raises(InputError, match=r"rounds without the merged checkpoint that they led to: ties$"):
        drawn(figure, replace(in_rounds, rows=tuple(rows)))
