"""Learned coefficients: over the steps, by depth, and by partner."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_comparisons import comparison_of, learned_of, pairs_of, row_of

from reports.coefficients import coefficients_by_depth, coefficients_over_steps
from reports.partners import coefficients_by_partner
from results.errors import InputError


@pytest.fixture
def one_method():
    """A comparison with one method that learned this."""

    def make(learned):
        comparison = comparison_of(0, 2)
        values = dict.fromkeys(comparison.suite.tasks, 0.5)
        row = row_of("KL", "merged", values, measured={"learned": learned})
        return replace(comparison, rows=(row,))

    return make


def lines(axes):
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]


def test_a_line_is_a_tasks_mean_over_layers_at_every_kept_step(drawn, one_method):
    comparison = one_method(None)
    tasks = list(comparison.suite.tasks)
    learned = {**learned_of(tasks, 8), "path_steps": [3 * step for step in range(30)]}
    (axes,) = drawn(coefficients_over_steps, one_method(learned)).axes
    path = np.array(learned["path"])
    for number, (steps, values) in enumerate(lines(axes)):
        assert steps == learned["path_steps"]
        assert values == pytest.approx(path[:, number].mean(axis=1))
    assert axes.get_ylabel() == "coefficient Γ"


def test_seeds_are_thin_lines_about_their_mean(drawn):
    comparison = comparison_of(1, 2, seeds=3, rounds=0)
    (axes,) = drawn(coefficients_over_steps, comparison).axes
    assert len(axes.lines) == 2 * (3 + 1)
    assert " ".join(axes.figure.texts[-1].get_text().split()) == (
        "n = 100 inputs that were learned from in each of 2 tasks. Means of 3 seeds; thin lines: each seed."
    )


def test_layers_stand_in_their_order_with_blocks_joined(drawn, one_method):
    tasks = list(one_method(None).suite.tasks)
    learned = learned_of(tasks, 6)
    (axes,) = drawn(coefficients_by_depth, one_method(learned)).axes
    for number in range(2):
        first, blocks, last = lines(axes)[3 * number : 3 * number + 3]
        values = learned["coefficients"][number]
        assert (first, last) == (([0], [values[0]]), ([5], [values[5]]))
        assert blocks == ([1, 2, 3, 4], values[1:5])
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "embed_tokens", "0", "1", "2", "3", "norm",
    ]  # fmt: skip


def test_an_encoder_and_a_decoder_are_told_apart(drawn, one_method):
    tasks = list(one_method(None).suite.tasks)
    layers = ["shared.weight", "encoder.block.0", "encoder.block.1", "decoder.block.0", "decoder.block.1"]
    learned = {**learned_of(tasks, 5), "layers": layers}
    (axes,) = drawn(coefficients_by_depth, one_method(learned)).axes
    assert [x for x, _ in lines(axes)[:3]] == [[0], [1, 2], [3, 4]]
    named = [label.get_text() for label in axes.get_xticklabels()]
    assert named == ["shared", "encoder 0", "encoder 1", "decoder 0", "decoder 1"]


def test_a_deep_model_has_few_ticks(drawn, one_method):
    learned = learned_of(list(one_method(None).suite.tasks), 66)
    (axes,) = drawn(coefficients_by_depth, one_method(learned)).axes
    named = [label.get_text() for label in axes.get_xticklabels()]
    assert named == ["embed_tokens", *(str(block) for block in range(0, 64, 5)), "norm"]


def test_where_nothing_was_learned_there_is_nothing_to_draw(drawn, one_method):
    with pytest.raises(InputError, match="no method learned coefficients"):
        drawn(coefficients_over_steps, one_method(None))
    with pytest.raises(InputError, match="for each layer"):
        drawn(coefficients_by_depth, one_method(learned_of(list(one_method(None).suite.tasks), 1)))


def test_a_cell_is_the_rows_task_beside_the_columns(drawn):
    runs = pairs_of(3, 2)
    figure = drawn(coefficients_by_partner, runs)
    maps = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in maps] == ["average", "task_arithmetic"]
    tasks = [label.get_text() for label in maps[0].get_yticklabels()]
    for axes in maps:
        shown = axes.images[0].get_array()
        for run in runs[:3]:  # the last is of all tasks
            row = run.row(axes.get_title())
            learned = row.measured["learned"]
            one, two = learned["tasks"]
            for task, partner in ((one, two), (two, one)):
                value = np.mean(learned["coefficients"][learned["tasks"].index(task)])
                cell = tasks.index(task), tasks.index(partner)
                assert shown[cell] == pytest.approx(value)
                assert f"{value:.2f}" in {
                    text.get_text() for text in axes.texts if text.get_position() == (cell[1], cell[0])
                }
        assert all(shown.mask[i, i] for i in range(3))
    assert "3 pairs." in figure.texts[-1].get_text()


def test_without_pairs_there_are_no_partners(drawn):
    with pytest.raises(InputError, match=r"none is of two tasks .* `subsets: \[2\]` makes them"):
        drawn(coefficients_by_partner, pairs_of(3, 2)[-1:])
