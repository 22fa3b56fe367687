"""Learned coefficients: over the steps, by depth, and by partner."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_comparisons import comparison_of, learned_of, pairs_of, row_of

from merging.layers import layers_of
from reports.figures.coefficients import coefficients_by_depth, coefficients_over_steps
from reports.figures.partners import coefficients_by_partner
from results.errors import InputError
from results.merge_trace import MergeTrace


@pytest.fixture
def one_method():
    """A comparison with one method that learned this."""

    def make(learned):
        comparison = comparison_of(0, 2)
        values = dict.fromkeys(comparison.suite.tasks, 0.5)
        row = row_of("KL", "merged", values, trace=MergeTrace(learned=learned))
        return replace(comparison, rows=(row,))

    return make


def lines(axes):
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]


def test_a_line_is_a_tasks_mean_over_layers_at_every_kept_step(drawn, one_method):
    comparison = one_method(None)
    tasks = list(comparison.suite.tasks)
    learned = learned_of(tasks, 8).model_copy(update={"path_steps": [3 * step for step in range(30)]})
    (axes,) = drawn(coefficients_over_steps, one_method(learned)).axes
    path = np.array(learned.path)
    for number, (steps, values) in enumerate(lines(axes)):
        assert steps == learned.path_steps
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
        values = learned.coefficients[number]
        assert (first, last) == (([0], [values[0]]), ([5], [values[5]]))
        assert blocks == ([1, 2, 3, 4], values[1:5])
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "embed_tokens", "0", "1", "2", "3", "norm",
    ]  # fmt: skip


def learned_with(layers, tasks):
    """What was learned for these tensors, each coefficient the place of its layer as the run notes it."""
    found = layers_of(sorted(layers), "layer")
    values = [[float(place) for place in range(len(found))] for _ in tasks]
    about = {"layers": tuple(found), "coefficients": values}
    return learned_of(tasks, len(found)).model_copy(update=about)


def ticks(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_layers_stand_from_the_embedding_to_the_head_not_by_the_alphabet(drawn, one_method):
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(12)]
    names += ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
    learned = learned_with(names, list(one_method(None).suite.tasks))
    (axes,) = drawn(coefficients_by_depth, one_method(learned)).axes
    embedding, blocks, norm, head = lines(axes)[:4]
    place = learned.layers.index
    assert blocks == ([*range(1, 13)], [place(f"model.layers.{i}") for i in range(12)])
    assert embedding == ([0], [place("model.embed_tokens.weight")])
    assert norm == ([13], [place("model.norm.weight")])
    assert head == ([14], [place("lm_head.weight")])
    assert ticks(axes) == ["embed_tokens", *(str(i) for i in range(0, 12, 2)), "norm", "lm_head"]


@pytest.mark.parametrize("prefix", ["", "model."])
def test_an_encoder_comes_before_its_decoder_and_is_told_apart(drawn, one_method, prefix):
    names = [
        f"{prefix}{stack}.block.{i}.layer.0.DenseReluDense.wi.weight"
        for stack in ("encoder", "decoder")
        for i in range(2)
    ]
    names += [f"{prefix}{stack}.final_layer_norm.weight" for stack in ("encoder", "decoder")]
    names += ["shared.weight", "lm_head.weight"]
    learned = learned_with(names, list(one_method(None).suite.tasks))
    (axes,) = drawn(coefficients_by_depth, one_method(learned)).axes
    assert [x for x, _ in lines(axes)[:6]] == [[0], [1, 2], [3], [4, 5], [6], [7]]
    assert ticks(axes) == [
        "shared", "encoder 0", "encoder 1", "encoder final_layer_norm",
        "decoder 0", "decoder 1", "decoder final_layer_norm", "lm_head",
    ]  # fmt: skip


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
            learned = row.entry.trace.learned
            one, two = learned.tasks
            for task, partner in ((one, two), (two, one)):
                value = np.mean(learned.coefficients[learned.tasks.index(task)])
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
