"""How lm-eval sees a server that writes conversations by itself."""

from bench.api.conversation import ConversationRequest, ServedChat
from bench.engine import GenerationRequest
from bench.lm import EngineLM


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

    def _request(self, context: str, wanted: int, stop: tuple[str, ...]) -> GenerationRequest:
        """The request for an answer to messages: how long they are, the server alone knows."""
        chat = self._chat
        assert isinstance(chat, ServedChat)
        return ConversationRequest(
            (),
            wanted,
            stop,
            repetition_penalty=self._repetition_penalty,
            messages=context,
            arguments=chat.arguments,
        )
