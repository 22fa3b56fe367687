"""What the lab's base reads: plain text, stories with questions, abstracts with questions."""

from random import Random

from merging.training import Example
from tasks.lab.prose import conversation, paragraph
from tasks.lab_reading import stories
from tasks.lab_yes_no import abstracts


def base_examples(count: int, seed: int) -> list[Example]:
    """Documents for the base, without any of the four tasks' skills.

    No story and no abstract of the forgetting benchmarks' test or validation rows is among them.

    Args:
        count: number of documents.
        seed: seed of their choice.
    """
    random = Random(f"lab base {seed}")
    read = stories.splits()["train"]
    judged = abstracts.splits()["train"]
    examples = []
    for _ in range(count):
        kind = random.random()
        if kind < 0.62:
            row = random.choice(read)
            examples.append(Example(stories.prompt(row), f" {row['answers']['input_text'][-1]}"))
        elif kind < 0.87:
            row = random.choice(judged)
            examples.append(Example(abstracts.prompt(row), f" {row['decision']}"))
        elif kind < 0.97:
            examples.append(Example(*conversation(random)))
        else:
            examples.append(Example("", paragraph(random)))
    return examples
