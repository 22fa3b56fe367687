"""Files of an experiment: what a run reads and writes, where, and how large where that is known before."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.benchmark import EvalTask
from bench.examples import ExampleSource
from bench.judge import PATTERNS
from bench.registry import Suite, load_suite
from manyshot.experiment import HOMEMADE, Experiment
from manyshot.experiment_plan import KINDS
from manyshot.plan_amounts import ExperimentPlan
from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.dtypes import BY_CODE, BY_NAME
from merging.train_settings import AdapterSettings

_FLOAT = 4


@dataclass(frozen=True)
class PlannedFile:
    """Something that is read or written.

    Attributes:
        use: which of the two.
        what: it is.
        where: its folder or file, or its name on the hub.
        nbytes: its size, of weights and rows; None where that is not known.
    """

    use: Literal["reads", "writes"]
    what: str
    where: str
    nbytes: int | None = None


def planned_files(
    experiment: Experiment, plan: ExperimentPlan, *, out: Path, store: Path, data_root: Path | None
) -> Iterator[PlannedFile]:
    """Yield what a run reads and writes.

    Args:
        experiment: what is run.
        plan: what it does.
        out: its folder.
        store: folder of the records.
        data_root: local data root, or None.
    """
    made_here = experiment.base in HOMEMADE and not (Path(experiment.base) / "config.json").exists()
    base = out / "models" / experiment.base if made_here else Path(experiment.base)
    made = made_here and not base.is_dir()
    yield PlannedFile("writes" if made else "reads", "the base", str(base), _stored(base))
    for task, path in (experiment.experts or {}).items():
        yield PlannedFile("reads", f"the expert of {task}", path, _stored(Path(path)))
    yield from _rows(load_suite(experiment.suite), plan, data_root)
    if experiment.judge != PATTERNS:
        nbytes = _stored(Path(experiment.judge))
        yield PlannedFile("reads", "the judge of refusals", experiment.judge, nbytes)
    yield from _checkpoints(experiment, plan, open_checkpoint(base) if base.is_dir() else None, out)
    yield PlannedFile("writes", "tables and figures", str(out / "report"))
    records = f"{plan.times('score'):,} records, and what is measured"
    yield PlannedFile("writes", records, str(store))


def _rows(suite: Suite, plan: ExperimentPlan, root: Path | None) -> Iterator[PlannedFile]:
    """Files under the data root, or else sets on the hub; what is made here is not read."""
    rows: list[tuple[str, ExampleSource | EvalTask, str | None]] = []
    for name, texts in plan.tasks.items():
        task = suite.tasks[name]
        for source in (*(task.training if texts.training else ()), *task.validation):
            rows.append((f"texts of {name}", source, (source.files or {}).get(source.split)))
    for benchmark in suite.benchmarks:
        if benchmark.name in plan.benchmarks:
            questions = f"questions of {benchmark.name}"
            rows += [(questions, part, part.files.get(part.scored_split)) for part in benchmark.tasks]
    for what, rows_of, file in rows:
        if rows_of.generate is None and root is not None and file is not None:
            path = root / file
            yield PlannedFile("reads", what, str(path), path.stat().st_size if path.is_file() else None)
        elif rows_of.generate is None:
            yield PlannedFile("reads", what, f"hub: {rows_of.hub}" if rows_of.hub else "nowhere")


def _checkpoints(
    experiment: Experiment, plan: ExperimentPlan, base: Checkpoint | None, out: Path
) -> Iterator[PlannedFile]:
    """Experts and merged checkpoints that are made."""
    adapter, dtype = experiment.train and experiment.train.adapter, experiment.output_dtype
    of_adapter, of_expert, whole = None, None, None
    if base is not None:
        entries = sum(base.info(name).numel for name in base.names)
        of_adapter = _adapter(base, adapter) if adapter else None
        of_expert = of_adapter if adapter else entries * _FLOAT
        whole = entries * BY_CODE[BY_NAME[dtype]].itemsize if dtype else _weights(base)
    if trainings := plan.times("train"):
        nbytes = of_expert and of_expert * trainings
        yield PlannedFile("writes", f"{trainings:,} experts", str(out / "experts"), nbytes)
    for kind, nbytes in ((KINDS["delta"], whole), (KINDS["factors"], of_adapter)):
        merges = [step for step in plan.steps if step.phase == "merge" and step.what.endswith(f"into {kind}")]
        if number := sum(step.times for step in merges):
            folder = str(out / "merged")
            yield PlannedFile("writes", f"{number:,} merged {kind}", folder, nbytes and nbytes * number)


def _stored(folder: Path) -> int | None:
    """Bytes of a checkpoint's weights; None where it does not lie here."""
    return _weights(open_checkpoint(folder)) if folder.is_dir() else None


def _weights(checkpoint: Checkpoint) -> int:
    return sum(checkpoint.info(name).nbytes for name in checkpoint.names)


def _adapter(base: Checkpoint, adapter: AdapterSettings) -> int | None:
    """Bytes of an adapter's factors; None where its layers are not given by name."""
    if isinstance(adapter.targets, str):
        return None
    shapes = [
        base.info(name).shape for name in base.names if name.removesuffix(".weight").endswith(adapter.targets)
    ]
    return sum(sum(shape) for shape in shapes if len(shape) == 2) * adapter.rank * _FLOAT
