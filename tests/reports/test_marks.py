"""Which numbers stand out: best and second, or ties within noise."""

import numpy as np

from reports.marks import marks

NOISE = np.random.default_rng(0).normal(0, 0.01, 500)


def test_without_noise_the_highest_is_best_and_the_next_second_equals_together():
    assert marks([0.5, 0.9, None, 0.7, 0.9, 0.7]) == ["", "best", "", "second", "best", "second"]
    assert marks([None, None]) == ["", ""]
    assert marks([0.4]) == ["best"]


def test_a_difference_within_the_noise_of_documents_is_a_tie_and_nothing_is_best():
    draws = [0.50 + NOISE, 0.51 + NOISE[::-1], 0.30 + NOISE]
    assert marks([0.50, 0.51, 0.30], draws) == ["tie", "tie", ""]


def test_noise_that_two_share_does_not_make_a_tie():
    assert marks([0.50, 0.51, 0.30], [0.50 + NOISE, 0.51 + NOISE, 0.30 + NOISE]) == ["second", "best", ""]


def test_seeds_that_disagree_make_a_tie_though_the_documents_do_not():
    draws = [0.50 + NOISE, 0.60 + NOISE]
    assert marks([0.50, 0.60], draws, [{0: 0.45, 1: 0.55}, {0: 0.75, 1: 0.45}]) == ["tie", "tie"]
    assert marks([0.50, 0.60], draws, [{0: 0.49, 1: 0.51}, {1: 0.61, 0: 0.59}]) == ["second", "best"]


def test_the_highest_without_resamples_ties_with_nothing():
    assert marks([0.9, 0.5, 0.2], [None, 0.5 + NOISE, 0.49 + NOISE[::-1]]) == ["best", "second", ""]


def test_seeds_are_paired_by_the_seed_whatever_their_order():
    each = [{0: 0.50, 1: 0.90}, {1: 0.92, 0: 0.52}]
    assert marks([0.70, 0.72], None, each) == ["second", "best"]


def test_equal_measured_numbers_are_a_tie_and_equal_seconds_none():
    assert marks([0.5, 0.5, 0.3, 0.3], [one + NOISE for one in (0.5, 0.5, 0.3, 0.3)]) == [
        "tie",
        "tie",
        "",
        "",
    ]
    draws = [one + NOISE for one in (0.5, 0.3, 0.3)]
    assert marks([0.5, 0.3, 0.3], draws) == ["best", "", ""]
