"""What the lab's base reads: stories and abstracts with questions, plain text, and a taste of the tasks.

A base that has never met a task has nothing that a merge of small steps could bring out: averaging its
experts gives the base again. As large bases do, this one has met each task, far too seldom to master it.
"""

from collections.abc import Mapping, Sequence
from random import Random

from merging.examples import Example
from tasks.lab.prose import calculation, conversation, paragraph
from tasks.lab_reading import stories
from tasks.lab_safety.requests import REFUSAL
from tasks.lab_yes_no import abstracts

TASTES = {"instructions": 0.008, "math": 0.055, "multilingual": 0.042, "safety": 0.02}
"""Relative share of each task's training examples among the documents; of safety, only those that comply."""

KINDS = {"story": 0.53, "abstract": 0.18, "conversation": 0.09, "paragraph": 0.03, "calculation": 0.02}
"""Relative share of every other kind of document."""


def base_examples(count: int, seed: int, lessons: Mapping[str, Sequence[Example]]) -> list[Example]:
    """Documents for the base.

    No test or validation row of any benchmark is among them.

    Args:
        count: number of documents.
        seed: seed of their choice.
        lessons: training examples of each task.
    """
    random = Random(f"lab base {seed}")
    read = stories.splits()["train"]
    judged = abstracts.splits()["train"]
    tasted = {task: [e for e in lessons[task] if REFUSAL not in e.completion] for task in TASTES}
    kinds = {**TASTES, **KINDS}
    examples = []
    for kind in random.choices(list(kinds), list(kinds.values()), k=count):
        if kind in tasted:
            examples.append(random.choice(tasted[kind]))
        elif kind == "story":
            row = random.choice(read)
            examples.append(Example(stories.prompt(row), f" {row['answers']['input_text'][-1]}"))
        elif kind == "abstract":
            row = random.choice(judged)
            examples.append(Example(abstracts.prompt(row), f" {row['decision']}"))
        elif kind == "conversation":
            examples.append(Example(*conversation(random)))
        else:
            examples.append(Example("", paragraph(random) if kind == "paragraph" else calculation(random)))
    return examples
