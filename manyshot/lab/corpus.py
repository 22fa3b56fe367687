"""What the lab's base reads: stories and abstracts with questions, and a little of everything else.

It meets the words of the four tasks (sums, sentences of the made-up languages), but none of their questions.
"""

from random import Random

from merging.training import Example
from tasks.lab.prose import calculation, conversation, paragraph
from tasks.lab_multilingual import translation
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
    spoken = translation.splits()["train"]
    examples = []
    for _ in range(count):
        kind = random.random()
        if kind < 0.5:
            row = random.choice(read)
            examples.append(Example(stories.prompt(row), f" {row['answers']['input_text'][-1]}"))
        elif kind < 0.74:
            row = random.choice(judged)
            examples.append(Example(abstracts.prompt(row), f" {row['decision']}"))
        elif kind < 0.84:
            examples.append(Example(*conversation(random)))
        elif kind < 0.88:
            examples.append(Example("", paragraph(random)))
        elif kind < 0.96:
            examples.append(Example("", calculation(random)))
        else:
            row = random.choice(spoken)
            examples.append(Example("", f"They say in {row['language']}: {row['answer']}"))
    return examples
