"""How lm-eval sees a server that writes conversations by itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

from bench.api.conversation import ConversationAnswer, ConversationRequest, ServedChat, goes_on
from bench.api.thoughts import begins_thoughts
from bench.engine import Generation, GenerationRequest
from bench.lm import EngineLM
from results.words import counted


class ServedChatLM(EngineLM):
    """How lm-eval sees a server's conversations: contexts are messages, of which no tokens are known.

    A cut answer without the end of its thoughts says nothing where the server's template begins them; where
    that is not known, as it is, unless another answer ends what it never began.
    """

    _uncounted = False
    _ends_unbegun = False
    _unsure = 0

    @property
    def tokens(self) -> dict[str, int]:
        """Number of tokens written so far, by the server's account; nothing where it does not count."""
        return {} if self._uncounted else {"generated": self.generated_tokens}

    @property
    def tokenizer_name(self) -> str:
        """Not needed: lm-eval keys a cache by it, which is not used."""
        return ""

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader of the scores should know."""
        if not self._unsure:
            return super().notices
        unsure = (
            f"{counted(self._unsure, 'cut answer')} taken as read: that the server's template begins no "
            "thoughts, which they would be, could not be verified"
        )
        return (*super().notices, unsure)

    def _request(self, context: str, wanted: int, stop: tuple[str, ...]) -> GenerationRequest:
        """The request for an answer to messages: how long they are, the server alone knows."""
        return ConversationRequest(
            (),
            wanted,
            stop,
            repetition_penalty=self._repetition_penalty,
            messages=context,
            arguments=self._served_chat.arguments,
        )

    def _answered(self, wanted: Sequence[GenerationRequest]) -> Mapping[GenerationRequest, Generation]:
        answers = super()._answered(wanted)
        end = self._served_chat.think_end
        if end is not None:
            start = end.replace("/", "", 1)
            texts = [answer.text for answer in answers.values()]
            self._ends_unbegun |= any(end in text and start not in text for text in texts)
        return answers

    def _said(self, answer: Generation, context: str, arguments: dict[str, Any]) -> str:
        assert isinstance(answer, ConversationAnswer)
        self._uncounted |= answer.count is None and (answer.thought_apart or not answer.ids)
        if answer.cut and self._is_thought(answer, context):
            answer = replace(answer, text="")
        return super()._said(answer, context, arguments)

    def _is_thought(self, answer: ConversationAnswer, context: str) -> bool:
        """Whether all of a cut answer is thought, as far as that shows."""
        chat = self._served_chat
        end, thinking = chat.think_end, chat.settings.enable_thinking
        if end is None or thinking is False or end in answer.text or answer.thought_apart:
            return False
        if not answer.text or goes_on(context):
            return False
        if self._begins_thoughts is None:
            if thinking or self._ends_unbegun:
                return True
            self._unsure += not answer.text.lstrip().startswith(end.replace("/", "", 1))
        return bool(self._begins_thoughts)

    @property
    def _served_chat(self) -> ServedChat:
        assert isinstance(self._chat, ServedChat)
        return self._chat

    @cached_property
    def _begins_thoughts(self) -> bool | None:
        chat, server = self._served_chat, cast(Any, self.engine).server
        return begins_thoughts(server, json.loads(chat.arguments), str(chat.think_end))
