"""Checks of methods' settings, each of which raises InputError in one sentence."""

from math import isfinite

from results.errors import InputError


def check_finite(setting: str, value: float) -> None:
    """Refuse NaN and infinity."""
    if not isfinite(value):
        raise InputError(f"setting {setting!r} is {value}, expected a finite number.")


def check_share(setting: str, value: float) -> None:
    """Refuse what is not in (0, 1]."""
    if not 0 < value <= 1:
        raise InputError(f"setting {setting!r} is {value}, expected more than 0 and at most 1.")


def check_probability_below_one(setting: str, value: float) -> None:
    """Refuse what is not in [0, 1)."""
    if not 0 <= value < 1:
        raise InputError(f"setting {setting!r} is {value}, expected at least 0 and less than 1.")
