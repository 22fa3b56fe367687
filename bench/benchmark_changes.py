"""What a suite may say otherwise than a benchmark's definition, whoever defines it."""

from pydantic import Field

from bench.benchmark import Benchmark
from results.validation import Settings


class BenchmarkChanges(Settings):
    """Changes of a benchmark in a suite alone; it keeps its name."""

    num_fewshot: int | None = Field(None, ge=0)
    """Worked examples before a question."""
    max_new_tokens: int | None = Field(None, gt=0)
    """Most tokens of an answer."""

    def applied_to(self, benchmark: Benchmark) -> Benchmark:
        """The benchmark with these changes."""
        if self.num_fewshot is not None:
            benchmark = benchmark.with_fewshot(self.num_fewshot)
        return benchmark if self.max_new_tokens is None else benchmark.with_new_tokens(self.max_new_tokens)
