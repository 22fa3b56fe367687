"""A model that gives the gold answer, for showing that prompts, filters and metrics fit together."""

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM


class GoldLM(LM):
    """Generates `answer(document)`, and finds the choice `gold_choice(document)` likeliest."""

    def __init__(self, answer=None, gold_choice=None):
        super().__init__()
        self._answer = answer
        self._gold_choice = gold_choice

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return [self._answer(request.doc) for request in requests]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [
            (0.0 if request.idx == self._gold_choice(request.doc) else -100.0, False) for request in requests
        ]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise AssertionError("no benchmark asks for rolling log-likelihoods")
