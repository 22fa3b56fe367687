"""A tiny family that is searched: a base and two experts with random weights, and a suite of choices."""

from pathlib import Path
from typing import Any

import yaml
from tiny import tiny_llama

BENCHMARKS = {"answers": "lab_yes_no", "languages": "lab_multilingual"}
METHODS = [
    {"name": "task_arithmetic", "scaling": {"low": 0.1, "high": 1.5, "points": 2}},
    {"name": "ties", "density": {"low": 0.1, "high": 0.9}, "scaling": {"choose": [0.5, 1.0, 2.0]}},
]
USUAL = {
    "suite": "suite.yaml",
    "base": "models/base",
    "experts": {task: f"models/{task}" for task in BENCHMARKS},
    "limit": 12,
    "engine": {"name": "hf", "device": "cpu"},
    "space": {"methods": METHODS, "weights": {"low": 0, "high": 2}},
    "objective": {"average": 0.5, "worst_task": 0.5},
    "budget": {"evaluations": 6},
    "seed": 3,
}


def written(folder: Path, name: str = "search", **changes: Any) -> Path:
    """Write a search file of the family with some keys changed; None leaves a key out."""
    content = {key: value for key, value in (USUAL | changes).items() if value is not None}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / f"{name}.yaml"


def made(folder: Path) -> Path:
    """Make the models, on which chance scores, and the suite."""
    for seed, name in enumerate(("base", *BENCHMARKS)):
        tiny_llama(folder / "models" / name, seed)
    tasks = {
        task: {"benchmarks": [name], "validation_split": "validation"} for task, name in BENCHMARKS.items()
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump({"name": "choices", "tasks": tasks}))
    return folder
