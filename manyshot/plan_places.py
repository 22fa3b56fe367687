"""What a run of an experiment reads and writes: where it lies, and its size where that is known before."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.judge import PATTERNS
from bench.registry import Suite, load_suite
from manyshot.experiment import HOMEMADE, Experiment
from manyshot.experiment_plan import KINDS
from manyshot.plan_steps import ExperimentPlan
from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.dtypes import BY_CODE, BY_NAME
from merging.train_settings import AdapterSettings

_FLOAT = 4


@dataclass(frozen=True)
class Place:
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
    nbytes: int | None


def places(
    experiment: Experiment, plan: ExperimentPlan, *, out: Path, store: Path, data_root: Path | None
) -> list[Place]:
    """Return what a run reads and writes.

    Args:
        experiment: what is run.
        plan: what it does.
        out: its folder.
        store: folder of the records.
        data_root: local data root, or None.
    """
    made_here = experiment.base in HOMEMADE and not (Path(experiment.base) / "config.json").exists()
    base = out / "models" / experiment.base if made_here else Path(experiment.base)
    found = open_checkpoint(base) if base.is_dir() else None
    nbytes = _weights(found) if found else None
    return [
        Place("writes" if made_here and found is None else "reads", "the base", str(base), nbytes),
        *_experts(experiment),
        *_rows(load_suite(experiment.suite), plan, data_root),
        *_judge(experiment),
        *_made(experiment, plan, found, out),
        Place("writes", "tables and figures", str(out / "report"), None),
        Place("writes", f"{plan.times('score'):,} records, and what is measured", str(store), None),
    ]


def _experts(experiment: Experiment) -> Iterator[Place]:
    for task, path in (experiment.experts or {}).items():
        local = Path(path).is_dir()
        yield Place(
            "reads", f"the expert of {task}", path, _weights(open_checkpoint(path)) if local else None
        )


def _judge(experiment: Experiment) -> Iterator[Place]:
    if experiment.judge != PATTERNS:
        local = Path(experiment.judge).is_dir()
        nbytes = _weights(open_checkpoint(experiment.judge)) if local else None
        yield Place("reads", "the judge of refusals", experiment.judge, nbytes)


def _rows(suite: Suite, plan: ExperimentPlan, root: Path | None) -> Iterator[Place]:
    """Files under the data root, or else sets on the hub; what is made here is not read."""
    for task, texts in plan.tasks.items():
        of = suite.tasks[task]
        sources = (*(of.training if texts.training else ()), *of.validation)
        for source in sources:
            if source.generate is None:
                file = (source.files or {}).get(source.split)
                yield _rows_at(f"texts of {task}", root, file, source.hub)
    for benchmark in suite.benchmarks:
        if benchmark.name in plan.benchmarks:
            for one in benchmark.tasks:
                if one.generate is None:
                    yield _rows_at(
                        f"questions of {benchmark.name}", root, one.files.get(one.scored_split), one.hub
                    )


def _rows_at(what: str, root: Path | None, file: str | None, hub: str | None) -> Place:
    if root is None or file is None:
        return Place("reads", what, f"hub: {hub}" if hub else "nowhere", None)
    path = root / file
    return Place("reads", what, str(path), path.stat().st_size if path.is_file() else None)


def _made(
    experiment: Experiment, plan: ExperimentPlan, base: Checkpoint | None, out: Path
) -> Iterator[Place]:
    adapter = experiment.train.adapter if experiment.train else None
    of_adapter, trained, whole = None, None, None
    if base is not None:
        dtype = experiment.output_dtype
        of_adapter = _adapter(base, adapter) if adapter else None
        trained = of_adapter if adapter else _entries(base) * _FLOAT
        whole = _entries(base) * BY_CODE[BY_NAME[dtype]].itemsize if dtype else _weights(base)
    trainings = plan.times("train")
    if trainings:
        yield Place("writes", f"{trainings:,} experts", str(out / "experts"), trained and trained * trainings)
    sizes: Mapping[str, int | None] = {KINDS["delta"]: whole, KINDS["factors"]: of_adapter}
    folder = str(out / "merged")
    for kind, one in sizes.items():
        number = sum(s.times for s in plan.steps if s.phase == "merge" and s.what.endswith(f"into {kind}"))
        if number:
            yield Place("writes", f"{number:,} merged {kind}", folder, one and one * number)


def _entries(checkpoint: Checkpoint) -> int:
    return sum(checkpoint.info(name).numel for name in checkpoint.names)


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
