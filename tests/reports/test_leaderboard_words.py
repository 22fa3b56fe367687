"""Settings are told in a line that people read."""

from reports.leaderboard.words import in_words


def test_settings_are_names_with_values_that_can_be_read():
    settings = {
        "scaling": 0.483292723991291,
        "density": {"choose": [0.1, 0.25]},
        "thresholds": {"math": 1 / 3, "safety": 0.5},
        "seed": 1234,
        "limit": None,
        "engine": "hf",
        "exact": True,
    }
    assert in_words(settings) == (
        "scaling 0.483293, density one of [0.1, 0.25], thresholds (math 0.333333, safety 0.5), seed 1234, "
        "engine hf, exact True"
    )
