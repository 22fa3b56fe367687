"""The engine on a server with OpenAI's protocol, such as vLLM's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.api.client import FilteredError
from bench.api.conversation import ConversationAnswer, ConversationRequest, chat_body, goes_on, read_chat
from bench.api.journal import Journal
from bench.api.likelihoods import Asked, questions_of
from bench.api.pool import results_of
from bench.api.requests import FILTERED, completion_body, filtered_answer, read_completion
from bench.api.server import Server, load_served_tokenizer
from bench.divergence import Distributions
from bench.engine import (
    EngineSettings,
    Generation,
    GenerationRequest,
    KeptBackError,
    Likelihood,
    Progress,
    TokenIds,
    refuse_long_continuations,
    refuse_too_long,
)
from bench.engine_registry import EngineAbilities, engine
from bench.stopping import StopStrings, finished
from merging.checkpoints.adapter import base_folder
from merging.checkpoints.pretrained import end_tokens, load_config, load_generation_config, max_length
from results.errors import InputError
from results.json_values import digest_of

_MAY_CUT = "the server does not say how many tokens of a prompt it read, so that it may have cut some"
_MAY_NOT_GO_ON = "the server does not show that answers went on in the turns that were begun for them"


def _abilities() -> EngineAbilities:
    return EngineAbilities(
        can=(
            "log-likelihoods, where a server gives log-probabilities of prompts (echo), as vLLM does",
            "choices of one token by one request, where it gives those of any tokens, as vLLM does",
            "generation by completions, or by the server's chat template (--chat-template server)",
            "goes on from the answers that an interrupted start got",
        ),
        cannot=(
            "telling which weights a server runs: records say what could not be verified",
            "next-token distributions",
            "several checkpoints in one start, signals and experiments: a server has one model",
        ),
    )


@engine(
    "api",
    "a server with OpenAI's protocol, such as vLLM's",
    served=True,
    settings=frozenset({"max_length", "server"}),
    max_logprobs=1,
    packages=("requests",),
    abilities=_abilities,
)
class APIEngine:
    """Asks a server. See `bench.engine.Engine` for the contract.

    Args:
        checkpoint: what the server is said to run, whose tokenizer is taken; or no folder.
        settings: have the server's.

    Attributes:
        server: which is asked.
        journal: keeps answers until their record is written.
        noticed: what the reader of the scores should know of the answers since it was emptied.
    """

    is_encoder_decoder = False

    def __init__(self, checkpoint: Path, settings: EngineSettings) -> None:
        assert settings.server is not None
        folder = checkpoint if checkpoint.is_dir() else None
        self.tokenizer = load_served_tokenizer(settings.server, folder)
        self._ends, made_for = _own(self.tokenizer, folder)
        self.server = Server(settings.server, self.tokenizer, settings.max_length, made_for)
        self.max_length = self.server.max_length
        self.journal = Journal()
        self.noticed: set[str] = set()
        self._concurrency = settings.server.concurrency

    def swap(self, checkpoint: Path) -> None:
        """Refuse: what a server runs is its own.

        Raises:
            InputError: always.
        """
        raise InputError(f"A server runs one model: {checkpoint} needs a start of its own.")

    def generate(
        self, requests: Sequence[GenerationRequest], progress: Progress | None = None
    ) -> list[Generation]:
        """Greedy continuations, in the order of the requests."""
        refuse_too_long(
            [one for one in requests if not isinstance(one, ConversationRequest)], self.max_length
        )
        asked = [self._question(request) for request in requests]
        answers = self._answers(asked, progress, self._post_or_filtered)
        return [self._finished(answer, request) for answer, request in zip(answers, requests, strict=True)]

    def loglikelihood(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> list[Likelihood]:
        """Log-likelihoods of (context, continuation) pairs, in the order given.

        Raises:
            KeptBackError: the server's filter of contents keeps some back; all others were asked.
        """
        refuse_long_continuations(pairs, self.max_length)
        if not pairs:
            return []
        if not self.server.echoes:
            raise InputError(f"{self.server.client.url} gives no log-probabilities of prompts.")
        questions = questions_of(pairs, self.max_length, joins=self.server.joins_choices)
        asked = [question.asked(self.server) for question in questions]
        answers = self._answers(asked, progress, self._post_or_none)
        found: dict[int, Likelihood] = {}
        for question, answer in zip(questions, answers, strict=True):
            found |= {} if answer is None else question.likelihoods(answer)
        if filtered := [index for index in range(len(pairs)) if index not in found]:
            raise KeptBackError(filtered)
        return [found[index] for index in range(len(pairs))]

    def distributions(
        self,
        pairs: Sequence[tuple[TokenIds, TokenIds]],
        top_k: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[int, Distributions]]:
        """Refuse: a server tells too few tokens.

        Raises:
            InputError: always.
        """
        raise InputError("The engine api gives no next-token distributions: take --engine hf or vllm.")

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def _question(self, request: GenerationRequest) -> Asked:
        server = self.server
        is_chat = isinstance(request, ConversationRequest)
        dialect = server.chat_dialect if is_chat else server.dialect
        if request.repetition_penalty != 1 and not dialect.proved:
            raise InputError(
                f"{server.client.url} does not show that it heeds a repetition penalty: leave out "
                "--gen-kwargs model."
            )
        if isinstance(request, ConversationRequest):
            self._check_continuing(request)
            return "/chat/completions", chat_body(server.model, request, dialect), read_chat
        prompt = server.prompt(request.prompt, dialect)
        body = completion_body(server.model, prompt, request, self._ends, dialect)
        return "/completions", body, partial(read_completion, sent=len(request.prompt))

    def _check_continuing(self, request: ConversationRequest) -> None:
        """Refuse to go on in a turn where the server begins a new one.

        Raises:
            InputError: it does.
        """
        if not goes_on(request.messages):
            return
        if self.server.continues is False:
            raise InputError(
                f"{self.server.client.url} does not go on in a turn that is begun (continue_final_message), "
                "which the benchmark needs: leave it out, or --chat-template server."
            )
        if self.server.continues is None:
            self.noticed.add(_MAY_NOT_GO_ON)

    def _finished(self, answer: Mapping[str, Any], request: GenerationRequest) -> Generation:
        if answer["reason"] == FILTERED:
            made = Generation("", (), ended=False, count=0, filtered=True)
            return ConversationAnswer(**vars(made)) if isinstance(request, ConversationRequest) else made
        if answer.get("ids") is not None:
            return finished(answer["ids"], request, self._ends, self.tokenizer)
        ends = StopStrings(self._end_texts(request))
        stop, text = StopStrings(request.stop), str(answer["text"])
        cut = answer["reason"] == "length" and not ends.found_in(text)
        text = ends.cut(text)
        stopped = stop.found_in(text)
        text = stop.cut(text)
        ids = self.tokenizer.encode(text, add_special_tokens=False) if self.tokenizer else []
        made = Generation(text, tuple(ids), ended=not cut and not stopped, cut=cut and not stopped)
        if not isinstance(request, ConversationRequest):
            return made
        apart = bool(answer.get("thoughts"))
        return ConversationAnswer(**vars(made) | {"count": answer["count"]}, thought_apart=apart)

    def _end_texts(self, request: GenerationRequest) -> tuple[str, ...]:
        """What the end tokens of an answer are as text, should a server not end at them, but show them."""
        if self.tokenizer is None:
            return ()
        texts = [self.tokenizer.decode([token]) for token in sorted(self._ends | {*request.ends})]
        return tuple(text for text in texts if text.strip())

    def _post_or_filtered(
        self, path: str, body: Mapping[str, Any], read: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """What the server answers, or what counts as that where its filter lets the prompt not pass."""
        try:
            return self.server.client.post(path, body, read)
        except FilteredError:
            return filtered_answer()

    def _post_or_none(
        self, path: str, body: Mapping[str, Any], read: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any] | None:
        """What the server answers, or None where its filter lets the prompt not pass."""
        try:
            return self.server.client.post(path, body, read)
        except FilteredError:
            return None

    def _answers(
        self,
        asked: Sequence[Asked],
        progress: Progress | None,
        post: Callable[[str, Mapping[str, Any], Callable[[Any], Any]], Any],
    ) -> list[Any]:
        """What the server answers, in the order asked; each answer but None is kept as soon as it comes."""
        keys = [digest_of([path, body]) for path, body, _ in asked]
        places = {key: place for place, key in reversed(list(enumerate(keys)))}
        calls = {
            key: partial(post, asked[place][0].partition("#")[0], *asked[place][1:])
            for key, place in places.items()
            if self.journal.find(key) is None
        }
        there = len(places) - len(calls)
        for done, (key, answer) in enumerate(results_of(calls, self._concurrency), there + 1):
            if answer is not None:
                self.journal.keep(key, answer)
            if progress:
                progress(done, len(places))
        answers = [self.journal.find(key) for key in keys]
        if any(answer and answer.get("read", 0) is None for answer in answers):
            self.noticed.add(_MAY_CUT)
        return answers


def _own(tokenizer: Any, folder: Path | None) -> tuple[frozenset[int], int | None]:
    """What ends an answer, and the longest sequence, by a checkpoint; else by its tokenizer, and None."""
    base = (base_folder(folder) or folder) if folder else None
    if base is None or tokenizer is None:
        end = getattr(tokenizer, "eos_token_id", None)
        return frozenset() if end is None else frozenset({end}), None
    config = load_config(base)
    return end_tokens(tokenizer, load_generation_config(base, config)), max_length(config, tokenizer)
