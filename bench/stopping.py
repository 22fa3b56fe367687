"""Where an answer ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.engine import Generation, GenerationRequest, TokenIds


@dataclass(frozen=True)
class StopStrings:
    """Strings that end an answer, wherever in its tokens they lie."""

    texts: tuple[str, ...]

    def tail(self, tokens: TokenIds) -> TokenIds:
        """The last tokens of an answer, in which a string that the very last one completes must lie.

        A token is at least one byte, so the string lies in as many tokens; two more for a split character.
        """
        return tokens[-(max(len(text.encode()) for text in self.texts) + 2) :]

    def found_in(self, text: str) -> bool:
        """Whether one of them is there."""
        return any(stop in text for stop in self.texts)

    def cut(self, text: str) -> str:
        """The text before the first of them."""
        for stop in self.texts:
            text = text.split(stop, maxsplit=1)[0]
        return text


def finished(
    tokens: Sequence[int], request: GenerationRequest, ends: frozenset[int], tokenizer: Any
) -> Generation:
    """An answer from the tokens that were generated: up to its end token, and to its stop string."""
    ends = ends | {*request.ends}
    length = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    text = tokenizer.decode(tokens[:length], skip_special_tokens=True)
    stop = StopStrings(request.stop)
    # Some answers come without the token that ended them.
    stopped = stop.found_in(text)
    ended = length < len(tokens) or (length < request.max_new_tokens and not stopped)
    return Generation(stop.cut(text), tuple(tokens[:length]), ended, cut=not ended and not stopped)
