"""A made-up folder of tasks in lm-eval's format, with rows of its own."""

import json
from pathlib import Path

import yaml

FRUITS = ["apples", "are", "many", "left", "how", "maybe", "hello"]
CHOICES = {
    "dataset_path": "json",
    "output_type": "multiple_choice",
    "test_split": "test",
    "doc_to_text": "Question : {{question}} Answer :",
    "doc_to_choice": ["yes", "no", "maybe"],
    "doc_to_target": "label",
    "metric_list": [
        {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")
    ],
}


def write_rows(path: Path, rows: list[dict]) -> Path:
    """Rows as JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(number: int, start: int = 0) -> list[dict]:
    """Questions with a label from 0 to 2."""
    return [
        {"question": f"{FRUITS[n % 7]} {FRUITS[(3 * n) % 7]} {FRUITS[(n // 7) % 7]} ?", "label": n * n % 3}
        for n in range(start, start + number)
    ]


def write_task(folder: Path, name: str, **config) -> None:
    """A task's or a group's YAML; `!function` texts become references."""
    text = yaml.safe_dump(config, sort_keys=False)
    (folder / f"{name}.yaml").write_text(text.replace("'!function ", "!function ").replace("_f'", "_f"))


def write_folder(folder: Path) -> Path:
    """Tasks `fruit` (14 rows, few-shot rows beside), `colour` (5 rows), and groups over them."""
    folder.mkdir(parents=True)
    for name, number in (("fruit", 14), ("colour", 5)):
        files = {
            "test": str(write_rows(folder / f"{name}.jsonl", rows(number, start=len(name)))),
            "train": str(write_rows(folder / f"{name}_train.jsonl", rows(9, start=50))),
        }
        write_task(
            folder, name, task=name, tag=["both"], training_split="train",
            dataset_kwargs={"data_files": files}, **CHOICES,
        )  # fmt: skip
    by_size = [{"metric": "acc", "weight_by_size": True}]
    by_task = [{"metric": "acc_norm", "weight_by_size": False}, {"metric": "acc", "weight_by_size": False}]
    write_task(folder, "inner", group="inner", task=["colour"], aggregate_metric_list=by_size)
    write_task(folder, "sized", group="sized", task=["fruit", "inner"], aggregate_metric_list=by_size)
    write_task(folder, "plain", group="plain", task=["fruit", "colour"], aggregate_metric_list=by_task)
    write_task(folder, "loose", group="loose", task=["fruit", "colour"])
    return folder
