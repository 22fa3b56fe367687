"""lm-eval's coding tasks with a sandbox in place of the metric that runs programs where manyshot runs.

Their modules load the metric `code_eval` by the library `evaluate`, from the hub, and run a program by it as
soon as they are imported. Here they are imported once more, under other names, with another in its place.
"""

import functools
import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from math import comb
from types import ModuleType
from typing import Any

from bench.definition import FunctionReference, replace_references
from bench.sandbox import Outcome, run_program
from results.errors import InputError

_METRIC = "code_eval"
_MODULES = tuple(f"lm_eval.tasks.{name}.utils" for name in ("humaneval", "humaneval_infilling", "mbpp"))
"""What runs programs by that metric alone."""
_FAILS = "1 / 0"


class SandboxedCodeEval:
    """The share of problems that k answers solve, as `code_eval` of the library `evaluate` has it."""

    def compute(
        self,
        *,
        references: Sequence[str],
        predictions: Sequence[Sequence[str]],
        k: Iterable[int] = (1, 10, 100),
    ) -> tuple[dict[str, float], dict[int, list[tuple[int, dict[str, Any]]]]]:
        """Run answers with their problems' tests.

        Args:
            references: a test for each problem.
            predictions: answers to each problem.
            k: numbers of answers, of which those count that no problem has fewer of.

        Returns:
            `pass@k` by name: the mean over problems of 1 − C(n−c, k) / C(n, k), with c of n answers right;
            and how each answer ended.

        Raises:
            InputError: there is no sandbox.
        """
        results: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        for problem, (test, answers) in enumerate(zip(references, predictions, strict=True)):
            for place, answer in enumerate(answers):
                ended = _ended(f"{answer}\n{test}")
                said = {"task_id": problem, "passed": ended.passed, "completion_id": place}
                told = {**said, "result": "passed" if ended.passed else f"failed: {ended.reason}"}
                results.setdefault(problem, []).append((place, told))
        counts = [(len(ends), sum(end["passed"] for _, end in ends)) for ends in results.values()]
        return {
            f"pass@{number}": sum(1 - comb(n - c, number) / comb(n, number) for n, c in counts) / len(counts)
            for number in k
            if all(n >= number for n, _ in counts)
        }, results


def _ended(program: str) -> Outcome:
    """How an answer with its tests ended; it has not passed where it says so of tests that nothing passes.

    An answer may read the interpreter that runs its tests, and end the program as one that has passed.
    """
    outcome = run_program(program)
    if outcome.passed and run_program(f"{program}\n{_FAILS}").passed:
        return Outcome(passed=False, reason="says that it has passed whatever its tests are")
    return outcome


def runs_in_sandbox(config: Mapping[str, Any]) -> bool:
    """Whether a task runs programs by that metric alone."""
    found: list[FunctionReference] = []
    replace_references(config, found.append)
    return all(type(one) is FunctionReference and one.module in _MODULES for one in found)


def sandboxed_functions(config: Mapping[str, Any]) -> Any:
    """A task's definition with its functions, which run programs in the sandbox.

    Raises:
        InputError: one of them runs programs by other means.
    """
    if not runs_in_sandbox(config):
        raise InputError(f"{config.get('task')} runs programs by means of its own, not in a sandbox.")
    return replace_references(config, lambda one: getattr(_module(one.module), one.name))


@functools.cache
def _module(name: str) -> ModuleType:
    import evaluate

    found = importlib.util.find_spec(name)
    assert found is not None and found.origin is not None
    spec = importlib.util.spec_from_file_location(f"sandboxed.{name}", found.origin)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    theirs = evaluate.load
    evaluate.load = _load
    try:
        spec.loader.exec_module(module)
    finally:
        evaluate.load = theirs
    sys.modules[spec.name] = module  # so that lm-eval can show a function's source
    return module


def _load(name: str, *_: Any, **__: Any) -> SandboxedCodeEval:
    if name != _METRIC:
        raise InputError(f"The metric {name} is none that runs in a sandbox.")
    return SandboxedCodeEval()
