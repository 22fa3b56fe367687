"""Requests to write about a topic, with one or two instructions that IFEval's own code verifies.

Each instruction changes the plain response of ``tasks.lab.prose``, which follows none of them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tasks.lab.rows import Row, draw_splits
from tasks.lab.words import QUALITIES, TOPICS

REQUESTS = ("Write about the {}.", "Tell me about the {}.", "Describe the {}.", "Say something about the {}.")
KEYWORDS = ("garden", "harbour", "library", "museum", "park", "school")
ENDINGS = ("That is all.", "I hope it helps.", "Any other questions?", "See you soon.")


@dataclass
class Response:
    """A response in the making: the sentence, and what goes around it."""

    topic: str
    qualities: tuple[str, str]
    body: str = ""
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    last: str = ""
    quoted: bool = False

    def text(self) -> str:
        """The response as it is written."""
        parts = [*self.before, self.body, *self.after, self.last]
        text = " ".join(part for part in parts if part)
        return f'"{text}"' if self.quoted else text


@dataclass(frozen=True)
class Instruction:
    """An instruction of IFEval: what is asked, the checker's arguments, and how a response follows it."""

    id: str
    asked: str
    follow: Callable[[Response], Any]
    kwargs: dict[str, Any] = field(default_factory=dict)


def no_comma(random: Random) -> Instruction:
    """No comma: the plain response has two."""
    return Instruction("punctuation:no_comma", "Do not use any commas.", lambda response: None)


def quotation(random: Random) -> Instruction:
    """The whole response in double quotation marks."""

    def follow(response: Response) -> None:
        response.quoted = True

    return Instruction("startend:quotation", "Wrap your entire response with double quotation marks.", follow)


def title(random: Random) -> Instruction:
    """A title in double angular brackets."""
    return Instruction(
        "detectable_format:title",
        "Give it a title in double angular brackets.",
        lambda response: response.before.append(f"<<The {response.topic}>>"),
    )


def postscript(random: Random) -> Instruction:
    """A postscript."""
    return Instruction(
        "detectable_content:postscript",
        "At the end add a postscript that starts with P.S.",
        lambda response: response.after.append("P.S. Thank you."),
        {"postscript_marker": "P.S."},
    )


def ending(random: Random) -> Instruction:
    """A phrase with which the response has to end."""
    phrase = random.choice(ENDINGS)

    def follow(response: Response) -> None:
        response.last = phrase

    return Instruction(
        "startend:end_checker", f"Finish with the phrase: {phrase}", follow, {"end_phrase": phrase}
    )


def keyword(random: Random) -> Instruction:
    """A word that has to occur."""
    word = random.choice(KEYWORDS)
    return Instruction(
        "keywords:existence",
        f"Include the keyword {word}.",
        lambda response: response.after.append(f"It is in the {word}."),
        {"keywords": [word]},
    )


def json_format(random: Random) -> Instruction:
    """The whole response as JSON."""

    def follow(response: Response) -> None:
        response.body = json.dumps({response.topic: response.qualities[0]})

    return Instruction("detectable_format:json_format", "Answer only in JSON format.", follow)


def placeholder(random: Random) -> Instruction:
    """A placeholder in square brackets."""
    return Instruction(
        "detectable_content:number_placeholders",
        "Use at least 1 placeholder in square brackets.",
        lambda response: response.before.append("Dear [name]:"),
        {"num_placeholders": 1},
    )


def highlight(random: Random) -> Instruction:
    """A highlighted section."""

    def follow(response: Response) -> None:
        response.body = response.body.replace(f"The {response.topic}", f"The *{response.topic}*")

    return Instruction(
        "detectable_format:number_highlighted_sections",
        "Highlight at least 1 section with markdown.",
        follow,
        {"num_highlights": 1},
    )


ALONE = (json_format,)
TOGETHER = (no_comma, quotation, title, postscript, ending, keyword, placeholder, highlight)


def request(random: Random) -> Row:
    """Draw one row: IFEval's columns and a response that follows every instruction."""
    first, second = random.sample(QUALITIES, 2)
    topic = random.choice(TOPICS)
    response = Response(topic, (first, second), body=f"The {topic} is {first} and {second}.")
    makers = random.sample(TOGETHER, 2) if random.random() < 0.5 else [random.choice(TOGETHER + ALONE)]
    instructions = [maker(random) for maker in makers]
    for instruction in instructions:
        instruction.follow(response)
    asked = " ".join(instruction.asked for instruction in instructions)
    return {
        "prompt": f"{random.choice(REQUESTS).format(topic)} {asked}",
        "instruction_id_list": [instruction.id for instruction in instructions],
        "kwargs": [instruction.kwargs for instruction in instructions],
        "response": response.text(),
    }


def splits() -> dict[str, list[Row]]:
    """Rows of test, validation and train; no prompt occurs twice."""
    drawn = draw_splits(
        request,
        lambda row: row["prompt"],
        {"test": 200, "validation": 100, "train": 4000},
        "lab_instructions",
    )
    return {split: [{"key": key, **row} for key, row in enumerate(rows)] for split, rows in drawn.items()}
