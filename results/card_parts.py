"""Parts of a model card that are written again: each between two comments, beside what people write."""

import re

MERGE, RECIPE, SCORES = "merge", "recipe", "scores"
_PARTS = (MERGE, RECIPE, SCORES)
_RECIPE_HEADING = "\n## Recipe\n"
_TITLE = re.compile(r"^# A merge by .*$", re.MULTILINE)
"""The title that a merge's card has, until somebody writes another."""


def card_part(name: str, text: str) -> str:
    """Return a part of a card by its name."""
    return f"{_begin(name)}\n{text}\n{_end(name)}"


def without_parts(text: str) -> str:
    """Return what a card has beside its parts."""
    for name in _PARTS:
        text = _pattern(name).sub("", text)
    return text


def with_scores(text: str, part: str) -> str:
    """Return a card with scores in place of those that it has, else before its recipe or at its end."""
    if _pattern(SCORES).search(text):
        return _pattern(SCORES).sub(lambda _: part, text, count=1)
    if _RECIPE_HEADING in text:
        return text.replace(_RECIPE_HEADING, f"\n{part}\n{_RECIPE_HEADING}", 1)
    return f"{text.rstrip()}\n\n{part}\n"


def renewed(text: str, new: str) -> str:
    """Return a card with the parts, and the title of a merge, of a new one; all else stays.

    Args:
        text: the card, maybe with words of people beside its parts.
        new: the card that is made now, without such words.
    """
    scores = _pattern(SCORES).search(new)
    text = with_scores(text, scores[0]) if scores else _pattern(SCORES).sub("", text)
    for pattern in (_pattern(MERGE), _pattern(RECIPE), _TITLE):
        if (here := pattern.search(text)) and (there := pattern.search(new)):
            text = f"{text[: here.start()]}{there[0]}{text[here.end() :]}"
    return text


def _begin(name: str) -> str:
    return f"<!-- manyshot: {name} -->"


def _end(name: str) -> str:
    return f"<!-- manyshot: end of {name} -->"


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(f"{re.escape(_begin(name))}.*?{re.escape(_end(name))}", re.DOTALL)
