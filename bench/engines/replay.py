"""An lm-eval model that gives recorded answers, so that they are scored as live ones are."""

from collections.abc import Callable, Mapping
from pathlib import Path

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from bench.benchmark import Benchmark
from bench.engine_registry import EngineAbilities, engine
from bench.recorded import Recordings, read_recorded, recorded_form
from merging.chat import THINK_END
from results.errors import InputError

_SHOWN = 60  # characters of a question that a message shows


class ReplayLM(LM):
    """Answers each request with what is recorded for it; a text ends at the task's stop strings, as live.

    Args:
        text: the recorded text for a request.
        choice: the recorded log-likelihood of a request's continuation, and whether it is the greedy one.

    Attributes:
        tokens: empty, since no token was read or written.
        answers: empty, since none was generated.
        notices: empty.
    """

    def __init__(
        self,
        text: Callable[[Instance], str],
        choice: Callable[[Instance], tuple[float, bool]] | None = None,
    ) -> None:
        super().__init__()
        self._text = text
        self._choice = choice
        self.tokens: Mapping[str, int] = {}
        self.answers: Mapping[str, int] = {}
        self.notices: tuple[str, ...] = ()

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Recorded texts."""
        return [self._cut(request) for request in requests]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Recorded log-likelihoods of choices.

        Raises:
            InputError: only texts are recorded.
        """
        if self._choice is None:
            raise InputError("Recorded texts hold no log-likelihoods.")
        return [self._choice(request) for request in requests]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Not recorded by anybody.

        Raises:
            InputError: always.
        """
        raise InputError("Recorded outputs hold no log-likelihoods of whole texts.")

    def _cut(self, request: Instance) -> str:
        text = self._text(request)
        until = request.args[1].get("until") or []
        for stop in [until] if isinstance(until, str) else until:
            if stop:
                text = text.split(stop, maxsplit=1)[0]
        return text


@engine(
    "replay",
    "recorded outputs (JSONL) in place of a model",
    recorded=True,
    abilities=lambda: EngineAbilities(can=("recorded texts and log-likelihoods",)),
)
def replay(path: Path, benchmark: Benchmark) -> ReplayLM:
    """A model that answers a benchmark's documents with recorded outputs.

    Args:
        path: a JSONL file, or a folder that has one by the benchmark's name.
        benchmark: what is asked.

    Raises:
        InputError: there are no such outputs; or, later, a document that is asked has no answer.
    """
    recordings = Recordings(read_recorded(path, benchmark), recorded_form(benchmark).match)

    def missing(request: Instance, needed: str) -> InputError:
        question = " ".join(request.args[0].split())[-_SHOWN:]
        return InputError(
            f"{path} has no answer to document {request.doc_id} of {request.task_name} (…{question!r}); "
            f"{needed}."
        )

    def text(request: Instance) -> str:
        recorded = recordings.find(request.doc, request.args[0])
        if recorded is None:
            raise missing(request, "`manyshot rescore` scores what is there")
        return recorded.said(THINK_END)

    def choice(request: Instance) -> tuple[float, bool]:
        recorded = recordings.choice(*request.args)
        if recorded is None:
            raise missing(request, "log-likelihoods of choices are read from lm-eval's log of samples")
        return recorded

    return ReplayLM(text, choice)
