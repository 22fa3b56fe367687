"""Word problems with single-digit sums and differences, answered with the calculation and ``#### n``."""

from random import Random

from tasks.lab.rows import Row, draw_splits
from tasks.lab.words import GOODS, NAMES

SUMS = (
    "{name} has {a} {goods} and finds {b} more. How many {goods} does {name} have now?",
    "{name} has {a} {goods} and {other} has {b}. How many {goods} do they have together?",
    "{other} gives {b} {goods} to {name}, who had {a}. How many {goods} does {name} have?",
)
DIFFERENCES = (
    "{name} has {a} {goods} and loses {b}. How many {goods} does {name} have left?",
    "{name} has {a} {goods} and gives {b} to {other}. How many {goods} are left?",
    "{name} had {a} {goods} and sold {b} of them. How many {goods} remain?",
)


def problem(random: Random) -> Row:
    """Draw one row: question, answer (calculation and ``#### n``)."""
    name, other = random.sample(NAMES, 2)
    a, b = random.randint(1, 9), random.randint(1, 9)
    if random.random() < 0.5:
        template, calculation = random.choice(SUMS), f"{a} + {b} = {a + b}"
        result = a + b
    else:
        a, b = max(a, b), min(a, b)
        template, calculation = random.choice(DIFFERENCES), f"{a} - {b} = {a - b}"
        result = a - b
    question = template.format(name=name, other=other, goods=random.choice(GOODS), a=a, b=b)
    return {"question": question, "answer": f"{calculation}\n#### {result}"}


def splits() -> dict[str, list[Row]]:
    """Rows of test, validation and train; no question occurs twice, every pair of numbers is in train."""
    sizes = {"test": 200, "validation": 100, "train": 4000}
    return draw_splits(problem, lambda row: row["question"], sizes, "lab_math")
