"""Stand-ins for trackers that are not installed: the functions that are called, and what they were told.

Signatures are those of wandb 0.22, mlflow 3 and trackio 0.38, so that an argument which one lacks fails.
"""

import sys
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


@dataclass
class Told:
    """What a tracker was told of one run."""

    name: str
    project: str
    parameters: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, float]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    opened: int = 0
    closed: int = 0


def module(name: str, **content: Any) -> ModuleType:
    """A module that `import` and `find_spec` find once it is in sys.modules."""
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None, origin="stub")
    made.__dict__.update(content)
    return made


def _texts(folder: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in Path(folder).iterdir()}


def wandb(runs: dict[str, Told]) -> ModuleType:
    """W&B, which keeps runs by their ids."""

    class Artifact:
        def __init__(self, name: str, type: str) -> None:  # noqa: A002
            self.name, self.type, self.files = name, type, dict[str, str]()

        def add_file(self, local_path: str) -> None:
            self.files[Path(local_path).name] = Path(local_path).read_text()

    class Run:
        def __init__(self, told: Told) -> None:
            self._told = told
            self.config = SimpleNamespace(update=self._update)

        def _update(self, values: dict[str, Any], allow_val_change: bool | None = None) -> None:
            assert allow_val_change
            self._told.parameters |= values

        def log(self, data: dict[str, float]) -> None:
            self._told.metrics.append(data)

        def log_artifact(self, artifact: Artifact) -> None:
            self._told.files |= artifact.files

        def finish(self) -> None:
            self._told.closed += 1

    def init(*, project: str, id: str, name: str, resume: str, reinit: str) -> Run:  # noqa: A002
        assert (resume, reinit) == ("allow", "create_new")
        assert not set(id) & set(r"/\#?%:")
        told = runs.setdefault(id, Told(name, project))
        told.opened += 1
        return Run(told)

    return module("wandb", init=init, Artifact=Artifact)


def mlflow(runs: dict[str, Told]) -> ModuleType:
    """MLflow, which keeps runs by numbers of its own and parameters as they were first said."""
    experiments: list[str] = []

    class MlflowClient:
        def get_experiment_by_name(self, name: str) -> Any:
            found = name in experiments
            return SimpleNamespace(experiment_id=str(experiments.index(name))) if found else None

        def create_experiment(self, name: str) -> str:
            experiments.append(name)
            return str(len(experiments) - 1)

        def search_runs(self, experiment_ids: list[str], filter_string: str, max_results: int) -> list[Any]:
            tag, wanted = filter_string.removeprefix("tags.`").removesuffix("'").split("` = '")
            found = [number for number, told in runs.items() if told.tags.get(tag) == wanted]
            return [self._run(number) for number in found][:max_results]

        def create_run(self, experiment_id: str, run_name: str, tags: dict[str, str]) -> Any:
            number = str(len(runs))
            runs[number] = Told(run_name, experiments[int(experiment_id)], tags=dict(tags))
            return self._run(number)

        def _run(self, number: str) -> Any:
            runs[number].opened += 1
            return SimpleNamespace(
                info=SimpleNamespace(run_id=number),
                data=SimpleNamespace(params=dict(runs[number].parameters)),
            )

        def log_param(self, run_id: str, key: str, value: str) -> None:
            assert key not in runs[run_id].parameters, "MLflow refuses to change a parameter"
            assert isinstance(value, str)
            assert len(value) <= 500
            runs[run_id].parameters[key] = value

        def set_tag(self, run_id: str, key: str, value: str) -> None:
            assert isinstance(value, str)
            runs[run_id].tags[key] = value

        def log_metric(self, run_id: str, key: str, value: float) -> None:
            assert isinstance(value, float)
            assert all(letter.isascii() and (letter.isalnum() or letter in "_-. /") for letter in key), key
            runs[run_id].metrics.append({key: value})

        def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
            runs[run_id].files[artifact_file] = text

        def set_terminated(self, run_id: str) -> None:
            runs[run_id].closed += 1

    return module("mlflow", MlflowClient=MlflowClient)


def trackio(runs: dict[str, Told]) -> ModuleType:
    """Trackio, which keeps runs by their names and says so on stdout."""
    current: list[Told] = []

    def init(
        *, project: str, name: str, config: dict[str, Any], resume: str, private: bool, embed: bool
    ) -> None:
        assert (resume, private, embed) == ("allow", True, False)
        told = runs.setdefault(name, Told(name, project))
        told.parameters |= config
        told.opened += 1
        current.append(told)
        sys.stdout.write(f"* Trackio project initialized: {project}\n")

    def log(metrics: dict[str, float]) -> None:
        current[-1].metrics.append(metrics)

    def log_artifact(artifact_or_path: str, name: str, type: str) -> None:  # noqa: A002
        current[-1].files |= _texts(artifact_or_path)

    def finish() -> None:
        current.pop().closed += 1

    return module("trackio", init=init, log=log, log_artifact=log_artifact, finish=finish)
