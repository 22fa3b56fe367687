"""What the small functions of the benchmarks raise, and whoever calls them reports with file and line."""


class WrongColumnError(ValueError):
    """A row lacks a column, or holds something else in it than the benchmark reads."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"the column '{column}' {reason}")
