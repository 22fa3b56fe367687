"""A suite's validation data as task files that lm-eval reads, without a hub."""

import json
from pathlib import Path

import yaml

from bench.benchmark import Benchmark
from bench.data import load_rows
from bench.definition import FunctionReference


class _Dumper(yaml.SafeDumper):
    """Writes a function of a definition as lm-eval does."""


_Dumper.add_multi_representer(
    FunctionReference,
    lambda dumper, of: dumper.represent_scalar("!function", f"{of.module}.{of.name}"),
)


def write_tasks(benchmark: Benchmark, folder: Path) -> list[str]:
    """Write a benchmark's lm-eval tasks, and the rows that they ask; return the tasks' names.

    Args:
        benchmark: which, on the split that is asked.
        folder: what `--task-search-path` names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for task in benchmark.tasks:
        rows = folder.absolute() / f"{task.name}.jsonl"
        asked = load_rows(task, None).splits[task.scored_split]
        rows.write_text("".join(json.dumps(row) + "\n" for row in asked))
        content = {
            "task": task.name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {task.scored_split: str(rows)}},
            **task.config,
        }
        text = yaml.dump(content, Dumper=_Dumper, sort_keys=False)
        (folder / f"{task.name}.yaml").write_text(text)
    return [task.name for task in benchmark.tasks]
