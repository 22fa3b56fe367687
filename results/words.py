"""Words around numbers in sentences."""


def counted(number: int, what: str) -> str:
    """A number of things, as in `2 files`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
