"""Numbers in sentences."""

from results.words import ranges


def test_numbers_next_to_each_other_are_one_range():
    assert ranges({7, 1, 3, 2, 9, 10}) == "1–3, 7, 9–10"
    assert ranges(set()) == ""
