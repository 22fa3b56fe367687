"""Rows for tasks of lm-eval in the columns that these read, made of local rows in others or of other data."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bench.data import Row, read_jsonl

Made = Mapping[str, Mapping[str, list[Row]]]
"""Rows by the name of an lm-eval task and by split."""
Maker = Callable[[Path], Made]
LINES = 12  # of an article, which are some hundreds to two thousand tokens


def mmlu(root: Path) -> Made:
    """MMLU's own development questions, five of each subject, as the documents that are scored."""
    made: dict[str, dict[str, list[Row]]] = {}
    for row in read_jsonl(root / "global_mmlu/dev_en.jsonl"):
        question = {
            "question": row["question"],
            "choices": [row[f"option_{letter}"] for letter in "abcd"],
            "answer": "ABCD".index(row["answer"]),
        }
        made.setdefault(f"mmlu_{row['subject']}", {"test": []})["test"].append(question)
    return made


def pubmedqa(root: Path) -> Made:
    """PubMedQA's official test questions, in the columns of the copy that lm-eval reads."""
    rows = [
        {
            "QUESTION": row["question"],
            "CONTEXTS": row["context"]["contexts"],
            "final_decision": row["final_decision"],
        }
        for row in read_jsonl(root / "pubmedqa/test.jsonl")
    ]
    return {"pubmedqa": {"test": rows}}


def wikitext(root: Path) -> Made:
    """The beginnings of WikiText-2's articles; the local rows are their lines."""
    articles: list[list[str]] = []
    for row in read_jsonl(root / "text/wikitext2/test.jsonl"):
        line = row["text"]
        if line.startswith(" = ") and not line.startswith(" = = "):
            articles.append([])
        if articles:
            articles[-1].append(line)
    return {"wikitext": {"test": [{"page": "".join(lines[:LINES])} for lines in articles]}}


def triviaqa(root: Path) -> Made:
    """SQuAD's questions in place of TriviaQA's, without their question marks, which the prompt writes."""
    by_question = {row["question"]: row for row in read_jsonl(root / "squad_v1_dev_subset/validation.jsonl")}
    rows = [
        {
            "question": question.strip().rstrip("?"),
            "answer": {"aliases": list(dict.fromkeys(row["answers"]["text"]))},
        }
        for question, row in by_question.items()
    ]
    return {"triviaqa": {"validation": rows[::2], "train": rows[1::2]}}


def copied(task: str, split: str, file: str) -> Maker:
    """Local rows that are the task's own as they are, of which no benchmark here says where they lie."""
    return lambda root: {task: {split: read_jsonl(root / file)}}


def lambada(task: str, language: str) -> Maker:
    """Paragraphs of an encyclopedia in place of LAMBADA's passages; nothing stands behind their last word."""

    def make(root: Path) -> Made:
        rows = read_jsonl(root / f"text/multilingual_paragraphs/{language}.jsonl")
        return {task: {"test": [{"text": row["text"].rstrip(" .!?\"'”“»)")} for row in rows]}}

    return make


def write_root(root: Path, folder: Path, makers: Iterable[Maker]) -> Path:
    """A data root that has the files of another and beside them rows that are made of these.

    Args:
        root: the other.
        folder: an empty one.
        makers: what makes the rows.
    """
    for content in root.iterdir():
        (folder / content.name).symlink_to(content.resolve())
    for make in makers:
        for task, splits in make(root).items():
            for split, rows in splits.items():
                file = folder / "lm_eval" / task / f"{split}.jsonl"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
