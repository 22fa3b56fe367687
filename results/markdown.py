"""Text of others inside of Markdown."""

import re


def escaped(text: str) -> str:
    """The text with everything that Markdown or HTML would read as more than text made harmless."""
    return re.sub(r"([\\`*_{}\[\]<>#+!|~&$])", r"\\\1", text)


def printable(text: str) -> str:
    """The text on one line, without control characters: names come from users."""
    return "".join(character if character.isprintable() else " " for character in text)


def code(text: str) -> str:
    """The text as code in a line, in backticks of which it has no run as long."""
    text = printable(text)
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def fenced(text: str, language: str = "") -> str:
    """The text as a block of code, between fences of which it has none as long."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
