"""Conversations that a server writes by its own chat template: messages go to it as they are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import JsonValue

from bench.api.requests import (
    FILTERED,
    GREEDY,
    MOST_STOPS,
    Dialect,
    extras_of,
    filtered_answer,
    reason_of,
)
from bench.engine import Generation, GenerationRequest
from merging.chat import THINK_END, ChatForm, ChatSettings, Message, without_thoughts

SERVER = "server"
"""In place of a chat template: the server's own."""


GOES_ON = {"add_generation_prompt": False, "continue_final_message": True}
"""What says beside OpenAI's protocol that the last turn, the model's own, goes on."""


def server_writes_chat(settings: ChatSettings) -> bool:
    """Whether a server writes conversations by its own template."""
    return settings.chat_template == SERVER


@dataclass(frozen=True)
class ConversationRequest(GenerationRequest):
    """Messages to answer, in place of a prompt.

    Attributes:
        messages: JSON, a list of turns.
        arguments: JSON, what else the server's template is given.
    """

    messages: str = "[]"
    arguments: str = "{}"


@dataclass(frozen=True)
class ConversationAnswer(Generation):
    """An answer in a conversation.

    Attributes:
        thought_apart: whether the server took its thoughts out of it.
    """

    thought_apart: bool = False


class ServedChat(ChatForm):
    """The form of conversations where a server writes them: turns stay turns, and its template is unknown.

    Args:
        settings: what else is said to the server, and what answers may hold.
    """

    def __init__(self, settings: ChatSettings) -> None:
        super().__init__(None, "(the server's)", settings, "The server's chat template")

    @cached_property
    def key(self) -> dict[str, JsonValue]:
        """All that decides what is sent, as a JSON value."""
        return {**super().key, "template": SERVER}

    @property
    def think_end(self) -> str | None:
        """What ends the part of an answer that is thought: any may be, unless thinking is switched off."""
        if self.settings.enable_thinking is False:
            return self.settings.think_end
        return self.settings.think_end or THINK_END

    @cached_property
    def end_token(self) -> int | None:
        """None: a server ends its turns by itself."""
        return None

    @property
    def arguments(self) -> str:
        """What else the server's template is given, as JSON."""
        return json.dumps(self.settings.arguments, sort_keys=True)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """Return a conversation as JSON; where the last turn is the model's own, it goes on.

        Args:
            messages: the turns.
            add_generation_prompt: whether the model's turn begins after them.
        """
        turns = [{"role": turn["role"], "content": turn["content"]} for turn in messages]
        return json.dumps(turns, ensure_ascii=False)

    def said(self, prompt: str, text: str, ids: Sequence[int]) -> str:
        """Return what an answer says: what follows its thoughts."""
        return text if self.think_end is None else without_thoughts(text, self.think_end)


def goes_on(conversation: str) -> bool:
    """Whether an answer to messages, as JSON, goes on in the model's own turn, which is the last."""
    messages = json.loads(conversation)
    return bool(messages) and messages[-1]["role"] == "assistant"


def chat_body(model: str, request: ConversationRequest, dialect: Dialect) -> dict[str, Any]:
    """A request for the next turn of a conversation."""
    messages, arguments = json.loads(request.messages), json.loads(request.arguments)
    return {
        "model": model,
        "messages": messages,
        "max_tokens": request.max_new_tokens,
        **GREEDY,
        **({"stop": list(request.stop[:MOST_STOPS])} if request.stop else {}),
        **({"chat_template_kwargs": arguments} if arguments else {}),
        **(GOES_ON if goes_on(request.messages) else {}),
        **(extras_of(request.repetition_penalty) if dialect.extras else {}),
    }


def read_chat(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Text, thoughts that the server took out of it, number of tokens (None where it does not say), and why
    the answer ended.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: it is no answer to a conversation.
    """
    choice = answer["choices"][0]
    if reason_of(choice) == FILTERED:
        return filtered_answer()
    text = choice["message"].get("content")
    if text is not None and not isinstance(text, str):
        raise TypeError("no text")
    count = (answer.get("usage") or {}).get("completion_tokens")
    thoughts = choice["message"].get("reasoning_content") or choice["message"].get("reasoning") or ""
    return {"text": text or "", "thoughts": str(thoughts), "count": count, "reason": reason_of(choice)}
