"""Short abstracts that say what helped whom, and questions answered yes, no or maybe, as in PubMedQA."""

from random import Random

from tasks.lab.rows import Row, draw_splits
from tasks.lab.words import CURES, NAMES, PLACES

AILMENTS = ("pain", "fever", "cough", "rash", "thirst", "stress")
OUTCOMES = {
    "yes": ("fell", "vanished", "eased"),
    "no": ("grew", "rose", "worsened"),
    "maybe": ("varied", "differed", "wavered"),
}


def abstract(random: Random) -> Row:
    """Draw one row: what was tried on whom and what came of it, the question, and the decision."""
    cure, ailment, (patient, doctor) = random.choice(CURES), random.choice(AILMENTS), random.sample(NAMES, 2)
    decision = random.choice(list(OUTCOMES))
    setting = f"{patient} met {doctor} in the {random.choice(PLACES)}."
    finding = f"After the {cure} the {ailment} of {patient} {random.choice(OUTCOMES[decision])}."
    return {
        "abstract": f"{setting} {finding}" if random.random() < 0.5 else f"{finding} {setting}",
        "question": f"Did the {cure} help against {ailment}?",
        "decision": decision,
    }


def splits() -> dict[str, list[Row]]:
    """Rows of test, validation and train; no abstract occurs twice."""
    sizes = {"test": 200, "validation": 100, "train": 8000}
    return draw_splits(abstract, lambda row: row["abstract"], sizes, "lab_yes_no")


def prompt(row: Row) -> str:
    """The abstract with its question, in the form of PubMedQA's prompts."""
    return f"Abstract: {row['abstract']}\nQuestion: {row['question']}\nAnswer:"
