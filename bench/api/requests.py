"""What is sent to a server's completions, and what its answers say."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.api.client import BrokenAnswerError, FilteredError, RefusedError
from bench.engine import GenerationRequest, TokenIds

MOST_STOPS = 4
"""Stop strings that OpenAI's protocol takes; further ones are looked for in the answer."""
GREEDY = {
    "temperature": 0,
    "top_p": 1,
    "n": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "stream": False,
}
"""Greedy decoding with all else neutral: a server may have other values where nothing is said."""
TOKEN_ID = "token_id:"
FILTERED = "content_filter"
"""Why an answer ended that the server's filter of contents broke off, or let not begin."""
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Dialect:
    """What a server takes beside OpenAI's protocol.

    Attributes:
        ids: prompts as token ids; else as text.
        extras: repetition penalty, end tokens and token ids of answers, as vLLM has them; else a server
            refuses what it does not know.
        proved: whether an answer has shown that it heeds them; some servers leave out what they do not know.
    """

    ids: bool = True
    extras: bool = True
    proved: bool = False

    def but(self, **changes: bool) -> "Dialect":
        """The same with changes."""
        return replace(self, **changes)


def extras_of(penalty: float = 1.0, ends: Sequence[int] = ()) -> dict[str, Any]:
    """What says beside OpenAI's protocol that decoding is greedy, and asks for the tokens of an answer.

    Servers take what they do not say from the model's generation_config.json, or from their command line.
    """
    return {
        "repetition_penalty": penalty,
        "repeat_penalty": penalty,  # llama.cpp's name
        "min_p": 0,
        "top_k": -1,
        "return_token_ids": True,
        **({"stop_token_ids": list(ends)} if ends else {}),
    }


def completion_body(
    model: str, prompt: TokenIds | str, request: GenerationRequest, ends: frozenset[int], dialect: Dialect
) -> dict[str, Any]:
    """A request for an answer to a prompt."""
    every = sorted(ends | {*request.ends})
    return {
        "model": model,
        "prompt": prompt if isinstance(prompt, str) else list(prompt),
        "max_tokens": request.max_new_tokens,
        **GREEDY,
        **({"stop": list(request.stop[:MOST_STOPS])} if request.stop else {}),
        **(extras_of(request.repetition_penalty, every) if dialect.extras else {}),
    }


def echo_body(model: str, prompt: TokenIds | str, dialect: Dialect) -> dict[str, Any]:
    """A request for the log-probabilities of a prompt's tokens. One token is generated, which some must."""
    return {
        "model": model,
        "prompt": prompt if isinstance(prompt, str) else list(prompt),
        "max_tokens": 1,
        "echo": True,
        "logprobs": 1,
        **GREEDY,
        **({"return_tokens_as_token_ids": True} if dialect.extras else {}),
    }


def read_completion(answer: Any, sent: int | None = None) -> dict[str, Any]:
    """Text, token ids (None where the server tells none) and the reason of the end of an answer.

    Beside them is how many tokens of the prompt the server read, None where it does not say.

    Args:
        answer: of the server.
        sent: how many tokens the prompt has.

    Raises:
        RefusedError: the server read more or fewer.
        LookupError, TypeError, ValueError, AttributeError: it is no answer to a completion.
    """
    choice = answer["choices"][0]
    text, ids = choice["text"], choice.get("token_ids")
    if reason_of(choice) == FILTERED:
        return {**filtered_answer(), "read": prompt_tokens(answer, sent)}
    if not isinstance(text, str):
        raise TypeError("no text")
    return {
        "text": text,
        "ids": None if ids is None else [int(token) for token in ids],
        "reason": reason_of(choice),
        "read": prompt_tokens(answer, sent),
    }


def filtered_answer() -> dict[str, Any]:
    """What counts as read of an answer that a server's filter of contents kept back: nothing."""
    return {"text": "", "thoughts": "", "ids": None, "count": 0, "reason": FILTERED}


def reason_of(choice: Mapping[str, Any]) -> str | None:
    """Why an answer ended: "stop", "length", `FILTERED`, or None where the server does not say.

    Raises:
        BrokenAnswerError: it did not end, but was broken off (abort, …).
    """
    reason = choice.get("finish_reason")
    if reason not in (None, "stop", "length", FILTERED):
        raise BrokenAnswerError(f"it broke an answer off (finish_reason {reason!r:.40})")
    return None if reason is None else str(reason)


def logprobs_of(answer: Any) -> Mapping[str, Any]:
    """Log-probabilities in an answer.

    Raises:
        FilteredError: there are none, since the server's filter of contents broke it off.
        LookupError, TypeError: it is no answer.
    """
    choice = answer["choices"][0]
    if choice.get("finish_reason") == FILTERED and not choice.get("logprobs"):
        raise FilteredError("The server's filter of contents keeps back the log-probabilities of a prompt.")
    logprobs: Mapping[str, Any] = choice["logprobs"]
    return logprobs


def prompt_tokens(answer: Mapping[str, Any], sent: int | None) -> int | None:
    """How many tokens of a prompt a server read, by its own account; None where it gives none.

    Raises:
        RefusedError: they are not as many as were sent.
    """
    told = (answer.get("usage") or {}).get("prompt_tokens")
    if told is not None and sent is not None and told != sent:
        raise RefusedError(
            f"The server read {told} tokens of a prompt of {sent}: it cuts prompts, or adds tokens "
            "of its own, such as a second BOS; start it with a longer context, or without these."
        )
    return None if told is None else int(told)


def read_echo(answer: Any, ids: TokenIds, scored: int) -> dict[str, Any]:
    """Log-probabilities of the last tokens of a prompt, and whether each was the likeliest.

    Args:
        answer: of the server.
        ids: the prompt's tokens.
        scored: how many of them, at its end, are scored.

    Raises:
        FilteredError: the server's filter of contents keeps them back.
        LookupError, TypeError, ValueError, AttributeError: the answer has none, or of other tokens.
    """
    logprobs = logprobs_of(answer)
    values, likeliest = logprobs["token_logprobs"], logprobs["top_logprobs"]
    read = _echoed_tokens(answer, len(values))
    if read != len(ids):
        raise ValueError(f"{read} tokens were read of a prompt of {len(ids)}")
    names = logprobs.get("tokens") or [None] * len(ids)
    for token, name in zip(ids, names, strict=False):
        if isinstance(name, str) and name.startswith(TOKEN_ID) and name != f"{TOKEN_ID}{token}":
            raise ValueError(f"{name} was read in place of the token {token}")
    places = range(len(ids) - scored, len(ids))
    return {
        "logprobs": [_number(values[place]) for place in places],
        "greedy": all(_is_likeliest(values[place], names[place], likeliest[place]) for place in places),
    }


def _echoed_tokens(answer: Mapping[str, Any], values: int) -> int:
    """How many tokens of a prompt a server read: by its own account, else all but the generated one."""
    told = prompt_tokens(answer, None)
    return told if told is not None and values >= told else values - 1


def _number(value: Any) -> float:
    number = float(value)
    if math.isnan(number):
        raise ValueError("a log-probability is no number")
    return number


def _is_likeliest(value: float, name: str | None, top: Mapping[str, float]) -> bool:
    """Whether a token is the likeliest of those told. Two may have one text, but not one id."""
    if isinstance(name, str) and name.startswith(TOKEN_ID) and name in top:
        return top[name] >= max(top.values())
    return value >= max(top.values()) - _ROUNDING
