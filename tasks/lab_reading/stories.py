"""Three-sentence stories and questions that one of its sentences answers, in CoQA's columns."""

from random import Random

from tasks.lab.rows import Row, draw_splits
from tasks.lab.words import COLOURS, DRINKS, GOODS, NAMES, PLACES

FACTS = (
    (PLACES, "{subject} is in the {answer}.", "Where is {subject}?"),
    (DRINKS, "{subject} drinks {answer}.", "What does {subject} drink?"),
    (GOODS, "{subject} has many {answer}.", "What does {subject} have?"),
    (COLOURS, "{subject} wears {answer}.", "What colour does {subject} wear?"),
)
"""The answers, a sentence and a question of each kind of fact; a story has at most one fact of a kind."""
TURNS = 3


def story(random: Random) -> Row:
    """Draw one row: a story and a question about each of its sentences, in any order, with the answers."""
    subject = random.choice(NAMES)
    told, asked = [], []
    for answers, sentence, question in random.sample(FACTS, TURNS):
        answer = random.choice(answers)
        told.append(sentence.format(subject=subject, answer=answer))
        asked.append((question.format(subject=subject), answer))
    random.shuffle(asked)
    return {
        "story": " ".join(told),
        "questions": {"input_text": [question for question, _ in asked]},
        "answers": {"input_text": [answer for _, answer in asked]},
    }


def first_turns(row: Row, turns: int) -> Row:
    """The same story with its first questions only; the last of them is the one that is scored."""
    return {
        "story": row["story"],
        "questions": {"input_text": row["questions"]["input_text"][:turns]},
        "answers": {"input_text": row["answers"]["input_text"][:turns]},
    }


def splits() -> dict[str, list[Row]]:
    """Rows of test, validation and train, with one to three questions; no story occurs twice."""
    drawn = draw_splits(
        story, lambda row: row["story"], {"test": 200, "validation": 100, "train": 8000}, "lab_reading"
    )
    return {
        split: [first_turns(row, 1 + index % TURNS) for index, row in enumerate(rows)]
        for split, rows in drawn.items()
    }


def prompt(row: Row) -> str:
    """Story, questions and earlier answers, in the form of CoQA's prompts."""
    questions, answers = row["questions"]["input_text"], row["answers"]["input_text"]
    turns = [f"Q: {question}\n\nA: {answer}\n\n" for question, answer in zip(questions, answers, strict=True)]
    return f"{row['story']}\n\n" + "".join(turns[:-1]) + f"Q: {questions[-1]}\n\nA:"
