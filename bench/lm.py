"""How lm-eval sees an engine: prompts, filters and metrics stay lm-eval's, tokens and logits are ours."""

import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM

from bench.engine import Engine, Generation, GenerationRequest, KeptBackError, Progress
from bench.prompts import DEFAULT_NEW_TOKENS
from bench.stopping import StopStrings
from merging.chat import ChatForm, adds_special_tokens
from results.errors import InputError
from results.words import counted

_NAMED = 8
"""Documents that a message names, of many."""


class TokenCache:
    """Token ids of texts by one tokenizer, so that the next checkpoint tokenises nothing again."""

    def __init__(self) -> None:
        self._ids: dict[tuple[bytes, bool], array[int]] = {}  # a tenth of what lists take

    def encode(self, text: str, special: bool, encode: Callable[..., list[int]]) -> list[int]:
        """Ids of a text, with special tokens or without, made by `encode` the first time."""
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), special
        ids = self._ids.get(key)
        if ids is None:
            ids = self._ids[key] = array("i", encode(text, add_special_tokens=special))
        return ids.tolist()


class EngineLM(TemplateLM):
    """An lm-eval model whose answers come from an engine.

    Args:
        engine: what answers.
        progress: called with the numbers of requests answered and asked.
        tokens: kept from an earlier checkpoint with the same tokenizer.
        answers: of prompts that the checkpoint has answered already.
        chat: how conversations are written for it; None where prompts are not conversations.
        repetition_penalty: of generated answers.
        neutralised: what of the checkpoint's own generation settings is left out, for the reader.

    Attributes:
        prompt_tokens: tokens of all prompts so far (contexts and scored continuations).
        generated_tokens: tokens generated so far.
        truncated: prompts so far that lost tokens from their left to fit the engine's maximum length.
        shortened: answers so far that were given less room than their benchmark asks for.
        answered: answers so far.
        cut: those of them that took all tokens that they were given.
        empty: those of them that say nothing, thoughts and stop strings cut off.
    """

    def __init__(
        self,
        engine: Engine,
        progress: Progress | None = None,
        *,
        tokens: TokenCache | None = None,
        answers: Mapping[GenerationRequest, Generation] | None = None,
        chat: ChatForm | None = None,
        repetition_penalty: float = 1.0,
        neutralised: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._tokens = tokens or TokenCache()
        self._answers = answers or {}
        self.engine = engine
        self.tokenizer = engine.tokenizer
        self.backend = "seq2seq" if engine.is_encoder_decoder else "causal"
        self.progress = progress
        self._chat, self._repetition_penalty, self._neutralised = chat, repetition_penalty, neutralised
        self.prompt_tokens = self.generated_tokens = self.truncated = self.shortened = 0
        self.answered = self.cut = self.empty = self.filtered = 0

    @property
    def tokens(self) -> dict[str, int]:
        """Numbers of tokens read and written so far."""
        return {"prompt": self.prompt_tokens, "generated": self.generated_tokens}

    @property
    def answers(self) -> dict[str, int]:
        """Numbers of generated answers so far, of those cut at their limit and of empty ones."""
        return {"all": self.answered, "cut": self.cut, "empty": self.empty} if self.answered else {}

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader of the scores should know of how prompts and answers were fitted in."""
        room, notices = self.engine.max_length, []
        if self.truncated:
            notices.append(
                f"{counted(self.truncated, 'prompt')} lost tokens on the left to fit {room} tokens"
            )
        if self.shortened:
            notices.append(f"{counted(self.shortened, 'answer')} had room for {room // 2} tokens only")
        for number, one, several, what in (
            (self.cut, "was", "were", "cut at the limit of tokens"),
            (self.empty, "is", "are", "empty"),
            (self.filtered, "was", "were", "kept back by the server's filter of contents: taken as empty"),
        ):
            if number:
                all_of_them = counted(self.answered, "answer")
                notices.append(f"{number} of {all_of_them} {one if number == 1 else several} {what}")
        if self.answered and self._neutralised:
            notices.append(f"answers are greedy, without the model's own {', '.join(self._neutralised)}")
        return (*notices, *(self._chat.notices if self._chat else ()))

    @property
    def eot_token_id(self) -> int:
        """The end-of-text token."""
        return self.engine.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        """What stands before a continuation that has no context."""
        bos = self.engine.tokenizer.bos_token_id
        return bos if bos is not None else self.eot_token_id

    @property
    def tokenizer_name(self) -> str:
        """Name of the tokenizer."""
        return str(self.engine.tokenizer.name_or_path)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation as the checkpoint reads it.

        Raises:
            InputError: its template fails, or takes no system text.
        """
        assert self._chat is not None
        return self._chat.render(chat_history, add_generation_prompt)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids. Special tokens as the tokenizer adds them, and no second BOS where the text has one."""
        if add_special_tokens is None:
            add_special_tokens = adds_special_tokens(self.engine.tokenizer, string)
        return self._tokens.encode(string, add_special_tokens, self.engine.tokenizer.encode)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of a context and of its continuation, as in lm-eval where that finds any.

        Where a token spans both, the text as a whole may have no more tokens than its context. lm-eval then
        fails; here the continuation is encoded alone.

        Raises:
            InputError: it is no token.
        """
        before, after = super()._encode_pair(context, continuation)
        if not after:
            spaces = context[len(context.rstrip()) :]
            after = self.tok_encode(spaces + continuation, add_special_tokens=False)
        if not after:
            raise InputError(
                f"The choice {continuation!r} has no token in the tokenizer {self.tokenizer_name}, so that "
                "it has no likelihood; leave the benchmark out, or take another tokenizer."
            )
        return before, after

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Log-likelihood of each request's continuation, and whether it is the greedy one."""
        try:
            return super().loglikelihood(requests, disable_tqdm=True)
        except KeptBackError as error:
            raise KeptBackError(error.pairs, _kept_back(requests, error.pairs)) from None

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        pairs = [(context, continuation) for _, context, continuation in requests]
        for context, continuation in pairs:
            self.prompt_tokens += len(context) + len(continuation)
            # The last token is predicted, never read, so one more than the maximum fits.
            self.truncated += len(context) + len(continuation) > self.engine.max_length + 1
        return [
            (answer.logprob, answer.is_greedy) for answer in self.engine.loglikelihood(pairs, self.progress)
        ]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood of each text as a whole, in windows of the maximum length."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        windows: list[tuple[int, list[int], list[int]]] = []
        for index, request in enumerate(requests):
            tokens = self.tok_encode(request.args[0])
            rolling = get_rolling_token_windows(tokens, self.prefix_token_id, self.engine.max_length, 1)
            windows.extend((index, *make_disjoint_window(window)) for window in rolling)
        totals = [0.0] * len(requests)
        try:
            scores = self._loglikelihood_tokens(windows)
        except KeptBackError as error:
            kept_back = _kept_back(requests, [windows[place][0] for place in error.pairs])
            raise KeptBackError(error.pairs, kept_back) from None
        for (index, _, _), (logprob, _) in zip(windows, scores, strict=True):
            totals[index] += logprob
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Greedy answers, each up to its first stop string."""
        wanted = [self.generation(*request.args) for request in requests]
        answers = self._answered(wanted)
        self.generated_tokens += sum(answers[request].tokens for request in wanted)
        return [
            self._said(answers[request], *asked.args) for request, asked in zip(wanted, requests, strict=True)
        ]

    def _answered(self, wanted: Sequence[GenerationRequest]) -> Mapping[GenerationRequest, Generation]:
        """The answers to requests, of which some may be there already."""
        fresh = list(dict.fromkeys(request for request in wanted if request not in self._answers))
        answered = self.engine.generate(fresh, self.progress)
        return {**self._answers, **dict(zip(fresh, answered, strict=True))}

    def _said(self, answer: Generation, context: str, arguments: dict[str, Any]) -> str:
        text = answer.text
        if self._chat and self._chat.thinks_after(context):
            text = StopStrings(stop_strings(arguments)).cut(self._chat.said(context, text, answer.ids))
        self.answered += 1
        self.cut += answer.cut
        self.filtered += answer.filtered
        self.empty += not text.strip()
        return text

    def generation(self, context: str, arguments: dict[str, Any]) -> GenerationRequest:
        """The request to the engine for a request of lm-eval.

        Raises:
            InputError: the benchmark asks for sampled answers.
        """
        refuse_sampling(arguments)
        # A stop string in what is only thought ends no answer.
        stop = () if self._chat and self._chat.thinks_after(context) else stop_strings(arguments)
        return self._request(context, arguments.get("max_gen_toks", DEFAULT_NEW_TOKENS), stop)

    def _request(self, context: str, wanted: int, stop: tuple[str, ...]) -> GenerationRequest:
        """The request for an answer of a number of tokens, which fits into the engine's maximum length."""
        room, length = self.engine.max_length, wanted
        if not self.engine.is_encoder_decoder:
            # The prompt gives way to the answer, as in lm-eval. Where the answer alone would fill the model,
            # which lm-eval refuses, each gets half.
            length = wanted if wanted < room else room // 2
            room -= length
        prompt = self.tok_encode(context) or [self.prefix_token_id]
        self.prompt_tokens += len(prompt)
        self.truncated += len(prompt) > room
        self.shortened += length < wanted
        end = self._chat.end_token if self._chat else None
        ends = () if end is None else (end,)
        return GenerationRequest(tuple(prompt[-room:]), length, stop, ends, self._repetition_penalty)


def refuse_sampling(arguments: Mapping[str, Any]) -> None:
    """Refuse a benchmark whose answers would be random.

    Raises:
        InputError: they would.
    """
    if arguments.get("do_sample") and arguments.get("temperature", 1.0) > 0:
        raise InputError("A benchmark asks for sampled answers; answers are decoded greedily only.")


def stop_strings(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What ends an answer, by lm-eval's request."""
    until = arguments.get("until") or []
    return tuple(dict.fromkeys(text for text in ([until] if isinstance(until, str) else until) if text))


def _kept_back(requests: Sequence[Instance], places: Sequence[int]) -> str:
    """What cannot be scored where a server's filter keeps back some of the requests."""
    numbers: dict[str, set[int]] = {}
    for place in places:
        numbers.setdefault(str(requests[place].task_name), set()).add(int(requests[place].doc_id or 0))
    which = "; ".join(f"{task}: {_some(sorted(of))}" for task, of in numbers.items())
    return (
        f"The server's filter of contents keeps back how likely choices are in documents of {which} (counted "
        "from 0), without which there is no score; what else it answered is kept for a start with another "
        "filter: or leave the benchmark out, or score with --engine hf."
    )


def _some(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    return ", ".join(map(str, numbers[:_NAMED])) + more
