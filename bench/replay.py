"""An lm-eval model that gives recorded answers, so that they go through the whole harness."""

from collections.abc import Callable, Mapping
from pathlib import Path

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from bench.benchmark import Benchmark
from bench.recorded import Choices, Recordings, read_recorded, recorded_form
from results.errors import InputError

Answerer = Callable[[Instance], str | Choices]

_SHOWN = 60  # characters of a question that a message shows


class ReplayLM(LM):
    """Answers each request with what `answer` gives for it; a text ends at the task's stop strings, as live.

    Attributes:
        tokens: empty, since no token was read or written.
        notices: empty.
    """

    def __init__(self, answer: Answerer) -> None:
        super().__init__()
        self._answer = answer
        self.tokens: Mapping[str, int] = {}
        self.notices: tuple[str, ...] = ()

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Recorded texts."""
        return [self._text(request) for request in requests]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Recorded log-likelihoods of choices."""
        return [self._choice(request) for request in requests]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Not recorded by anybody.

        Raises:
            InputError: always.
        """
        raise InputError("Recorded outputs hold no log-likelihoods of whole texts.")

    def _text(self, request: Instance) -> str:
        answer = self._answer(request)
        if not isinstance(answer, str):
            raise InputError(f"{request.task_name} needs generated text, but log-likelihoods were recorded.")
        until = request.args[1].get("until") or []
        for stop in [until] if isinstance(until, str) else until:
            if stop:
                answer = answer.split(stop, maxsplit=1)[0]
        return answer

    def _choice(self, request: Instance) -> tuple[float, bool]:
        answer = self._answer(request)
        if isinstance(answer, str) or request.idx >= len(answer):
            raise InputError(
                f"{request.task_name} compares log-likelihoods of choices: it needs lm-eval's log of "
                "samples, with 'arguments' and 'resps'."
            )
        return answer[request.idx]


def replay(path: Path, benchmark: Benchmark) -> ReplayLM:
    """A model that answers a benchmark's documents with recorded outputs.

    Args:
        path: a JSONL file, or a folder that has one by the benchmark's name.
        benchmark: what is asked.

    Raises:
        InputError: there are no such outputs; or, later, a document that is asked has no answer.
    """
    recordings = Recordings(read_recorded(path, benchmark), recorded_form(benchmark).match)

    def answer(request: Instance) -> str | Choices:
        found = recordings.answer_to(request.doc, request.args[0])
        if found is None:
            question = " ".join(request.args[0].split())[-_SHOWN:]
            raise InputError(
                f"{path} has no answer to document {request.doc_id} of {request.task_name} (…{question!r}); "
                "`manyshot rescore` scores what is there."
            )
        return found.answer

    return ReplayLM(answer)
