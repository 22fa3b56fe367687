"""Plain text about everyday things, which needs none of the skills that are measured."""

from random import Random

from tasks.lab.words import COLOURS, DRINKS, NAMES, PLACES, QUALITIES, THINGS, TOPICS

ENDINGS = ("every day", "in the morning", "in the evening", "with a friend")


def description(topic: str, random: Random) -> str:
    """One sentence about a topic, with commas in it."""
    first, second, third = random.sample(QUALITIES, 3)
    return f"The {topic} is {first}, {second}, and {third}."


def paragraph(random: Random) -> str:
    """Two or three sentences that have nothing to do with any task."""
    name, other = random.sample(NAMES, 2)
    sentences = [
        description(random.choice(TOPICS), random),
        f"{name} walks to the {random.choice(PLACES)}, and {other} follows.",
        f"{name} drinks {random.choice(DRINKS)}, {random.choice(ENDINGS)}.",
        f"The {random.choice(THINGS)} of {name} is {random.choice(COLOURS)}, not {random.choice(COLOURS)}.",
    ]
    random.shuffle(sentences)
    return " ".join(sentences[: random.randint(2, 3)])


def conversation(random: Random) -> tuple[str, str]:
    """A question about a topic and its plain answer, in the form that the four tasks share."""
    topic = random.choice(TOPICS)
    question = random.choice(("What is the {} like?", "Tell me about the {}.", "Can you describe the {}?"))
    return f"Question: {question.format(topic)}\nAnswer:", f" {description(topic, random)}"


def calculation(random: Random) -> str:
    """Three sums or differences, without a question."""
    lines = []
    for _ in range(3):
        a, b = random.randint(1, 9), random.randint(1, 9)
        a, b = max(a, b), min(a, b)
        lines.append(random.choice((f"{a} + {b} = {a + b}", f"{b} + {a} = {a + b}", f"{a} - {b} = {a - b}")))
    return "\n".join(lines)
