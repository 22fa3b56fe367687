"""Figures of signals: the numbers in heat maps, and −D against scores with ρ."""

import pytest
from made_up_comparisons import signals_of

from reports.figures.signals import correlation, cosine_map, js_map, kl_map, signal_figures
from results.errors import InputError


@pytest.mark.parametrize("kind", ["kl", "js"])
def test_a_cell_is_the_models_divergence_from_the_rows_expert(drawn, kind):
    report = signals_of(3)
    axes = drawn({"kl": kl_map, "js": js_map}[kind], report).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(report.tasks)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(report.models)
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    for line, task in enumerate(report.tasks):
        for column, model in enumerate(report.models):
            assert shown[column, line] == f"{report.divergences[kind][task][model]:.2f}"
    assert axes.figure.texts[-1].get_text() == "n = 100 validation inputs in each of 3 tasks. 1 seed."


def test_numbers_can_be_read_on_dark_and_on_bright(drawn):
    axes = drawn(cosine_map, signals_of(2)).axes[0]
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    assert colours == {"1.00": "black", "0.12": "white"}


def test_points_are_minus_the_divergence_and_the_score_with_their_rho(drawn):
    report = signals_of(5)
    figure = drawn(correlation, report)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == 10 and len(figure.axes) == 16
    for kind, of_kind in (("kl", panels[:5]), ("js", panels[5:])):
        rho = report.spearman[kind]
        for axes, task in zip(of_kind, report.tasks, strict=True):
            assert axes.get_title() == f"{task}\n{kind.upper()}: ρ = {rho[task]:+.2f}".replace("-", "−")
            points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines]
            assert points == [
                (-report.divergences[kind][task][model], report.scores[model][task]) for model in report.tasks
            ]


def test_experts_without_a_score_are_left_out_and_rho_is_not_known(drawn):
    report = signals_of(3)
    scores = {**report.scores, "math": {**report.scores["math"], "math": None}}
    axes = drawn(correlation, report.but(scores=scores)).axes
    assert axes[1].get_title() == "math\nKL: ρ not known"
    assert (len(axes[0].lines), len(axes[1].lines)) == (3, 2)


def test_without_scores_there_is_no_correlation(drawn, tmp_path):
    report = signals_of(2).but(scores={})
    with pytest.raises(InputError, match="`manyshot signals --score` makes them"):
        drawn(correlation, report)
    assert [path.name for path in signal_figures(report, tmp_path)] == ["kl.png", "js.png", "cosines.png"]
    assert signal_figures(signals_of(2), tmp_path)[-1].name == "correlation.png"
