"""The documents of the text-to-text benchmarks: rows of the sets, each with its `references`."""

from typing import Any

_SENTIMENTS = ("negative", "positive")


def imdb(dataset: Any) -> Any:
    """The sentiment in a word. The set is sorted by sentiment, so its first rows would be all of one kind."""
    return dataset.shuffle(seed=42).map(lambda row: {"references": [_SENTIMENTS[row["label"]]]})


def qasc(dataset: Any) -> Any:
    """The text of the right choice."""

    def reference(row: dict[str, Any]) -> str:
        return row["choices"]["text"][row["choices"]["label"].index(row["answerKey"])]

    return dataset.map(lambda row: {"references": [reference(row)]})


def squad(dataset: Any) -> Any:
    """Every annotator's answer."""
    return dataset.map(lambda row: {"references": row["answers"]["text"]})


def common_gen(dataset: Any) -> Any:
    """One document for each set of words; the set has a row for each of its sentences."""
    from datasets import Dataset

    documents: dict[int, dict[str, Any]] = {}
    for row in dataset:
        document = documents.setdefault(
            row["concept_set_idx"],
            {"concept_set_idx": row["concept_set_idx"], "concepts": row["concepts"], "references": []},
        )
        document["references"].append(row["target"])
    return Dataset.from_list(list(documents.values()))
