"""Comparisons made up of plausible numbers: a base, four experts, and merged checkpoints by method."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_up_comparisons import METHODS, plain_row, suite_with
from matplotlib.figure import Figure

from results.comparison import Comparison, ComparisonRow, Estimate
from results.run_manifest import Role

LABELS = ["linear", *METHODS[1:]]  # "average" is a panel's name, too
TASKS = {
    "instruction": ["ifeval"],
    "math": ["gsm8k"],
    "multilingual": ["m_mmlu", "m_arc"],
    "safety": ["xstest"],
}


def around(value: float, width: float) -> Estimate:
    return Estimate(value, value - width, value + 0.8 * width)


def row(label: str, role: Role, tasks: dict[str, float], **changes: object) -> ComparisonRow:
    counts = {task: len(TASKS.get(task, [task])) for task in tasks}
    average = sum(tasks[task] * count for task, count in counts.items()) / sum(counts.values())
    worst = min(tasks.values())
    numbers: dict[str, object] = {
        "average": around(average, 0.03),
        "worst_task": around(worst, 0.06),
        "gap": around(worst - average, 0.05),
        "anp": around(sum(tasks.values()) / len(tasks), 0.03),
        "forgetting": {"coqa": -0.275 * (1 - average), "pubmedqa": 0.019},
        "complete": (5, 5),
    }
    estimates = {task: around(value, 0.06) for task, value in tasks.items()}
    return plain_row(label, role, estimates, **{**numbers, **changes})


def comparison(methods: int = 4) -> Comparison:
    generator = np.random.default_rng(3)
    tasks = list(TASKS)
    base = row("base", "base", dict(zip(tasks, [0.31, 0.22, 0.78, 0.64], strict=True)))
    experts = [
        row(f"{task} expert", "expert", {other: 1.0 if other == task else 0.55 for other in tasks}, task=task)
        for task in tasks
    ]
    merged = []
    for index, method in enumerate(LABELS[:methods]):
        level = 0.45 + 0.45 * index / max(1, methods - 1)
        values = np.clip(level + generator.normal(0, 0.12, 4), 0.05, 1.3)
        merged.append(row(method, "merged", dict(zip(tasks, map(float, values), strict=True))))
    return Comparison("made-up", suite_with(TASKS), (base, *experts, *merged))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Figure]:
    """Draws by a function of some material and a file, and returns the figure in place of the file."""
    kept: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: kept.append(self))

    def draw(function: Callable[..., object], material: object, **setting: object) -> Figure:
        function(material, tmp_path / "figure.png", **setting)
        return kept[-1]

    return draw


@pytest.fixture
def make_comparison() -> Callable[[int], Comparison]:
    return comparison


@pytest.fixture
def make_row() -> Callable[..., ComparisonRow]:
    return row
