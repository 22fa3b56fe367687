"""PubMedQA's official test questions (arXiv 1909.06146), asked as lm-eval asks them."""

from pathlib import Path
from typing import Any

_TEST_IDS = Path(__file__).with_name("official_test_ids.txt")


def keep_test_questions(dataset: Any) -> Any:
    """The rows whose `pubid` is one of the 500 that the authors set apart for testing."""
    official = {int(line) for line in _TEST_IDS.read_text().split()}
    return dataset.filter(lambda row: int(row["pubid"]) in official)


def prompt(doc: dict[str, Any]) -> str:
    """Abstract without its conclusion, question, and the start of the answer."""
    abstract = "\n".join(doc["context"]["contexts"])
    return f"Abstract: {abstract}\nQuestion: {doc['question']}\nAnswer:"
