"""Examples that a model learns: a prompt and its completion, as text and as tokens with labels."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from merging.chat import ChatForm, encode
from merging.train_settings import TrainSettings

IGNORED = -100
"""The label that the loss leaves out."""


@dataclass(frozen=True)
class Example:
    """A prompt and the completion to learn; training adds the end-of-sequence token, where one is wanted."""

    prompt: str
    completion: str


def examples_digest(examples: Sequence[Example]) -> str:
    """SHA-256 over the examples, in order."""
    text = json.dumps([[example.prompt, example.completion] for example in examples])
    return hashlib.sha256(text.encode()).hexdigest()


def tokenise(
    tokenizer: Any,
    example: Example,
    settings: TrainSettings,
    form: ChatForm | None = None,
    *,
    encoder: bool = False,
) -> dict[str, list[int]]:
    """Token ids and labels of an example.

    Prompt and completion are tokenised together, and the completion begins after as many tokens as the prompt
    alone has: as lm-eval splits a context from its continuation. With an encoder the prompt is what it reads,
    and the labels are the completion.

    Args:
        tokenizer: of the model that learns.
        example: the two texts.
        settings: over what the loss is, where the example is cut, and whether an end token is added.
        form: makes a conversation of them, whose last turn is the completion with the token that ends it.
        encoder: whether the model has one.
    """
    end, length, adds_end = tokenizer.eos_token_id, settings.max_length, settings.end_token
    if encoder:
        labels = tokenizer(text_target=example.completion)["input_ids"]
        labels = [*labels, end] if adds_end and labels[-1:] != [end] else labels
        return {"input_ids": tokenizer(example.prompt)["input_ids"][:length], "labels": labels[:length]}
    before, completion = example.prompt, example.completion
    if form is not None:
        before, completion = form.conversation(before, completion)
        adds_end = adds_end and form.end_token is None
    ids = encode(tokenizer, before + completion)
    if adds_end and ids[-1:] != [end]:
        ids = [*ids, end]
    learned_from = 0
    if settings.loss == "completion" and before:
        prompt = encode(tokenizer, before)
        learned_from = len(prompt) - (prompt[-1] == end)
    labels = [IGNORED] * learned_from + ids[learned_from:]
    return {"input_ids": ids[:length], "labels": labels[:length]}
