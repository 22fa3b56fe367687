"""How lm-eval sees a server that writes conversations by itself."""

from typing import Any

from bench.api.conversation import ConversationRequest, ServedChat
from bench.engine import GenerationRequest
from bench.lm import EngineLM, refuse_sampling, stop_strings
from bench.prompts import DEFAULT_NEW_TOKENS


class ServedChatLM(EngineLM):
    """How lm-eval sees a server's conversations: contexts are messages, of which no tokens are known."""

    @property
    def tokens(self) -> dict[str, int]:
        """Number of tokens written so far, by the server's account."""
        return {"generated": self.generated_tokens}

    @property
    def tokenizer_name(self) -> str:
        """Not needed: lm-eval keys a cache by it, which is not used."""
        return ""

    def generation(self, context: str, arguments: dict[str, Any]) -> GenerationRequest:
        """The request to the engine for a request of lm-eval.

        Raises:
            InputError: the benchmark asks for sampled answers.
        """
        refuse_sampling(arguments)
        chat = self._chat
        assert isinstance(chat, ServedChat)
        return ConversationRequest(
            (),
            arguments.get("max_gen_toks", DEFAULT_NEW_TOKENS),
            () if chat.thinks_after(context) else stop_strings(arguments),
            messages=context,
            arguments=chat.arguments,
        )
