"""The experiment file: a suite, a base, its experts, and the methods that merge them.

suite: lab
base: models/base
experts: {instructions: models/instructions, math: models/math}
methods:
  - {name: average}
  - {name: task_arithmetic, scaling: 0.3}
engine: {name: hf, dtype: float32}
seeds: [0]
limit: 100                  # or the suite's own settings, as in `preset: paper`
judge: patterns             # of refusals; or the path or hub name of a classifier
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bench.engine import AUTO, EngineSettings
from bench.judge import PatternJudge
from results.yaml_file import beside, read_yaml, validated


class EngineOptions(BaseModel):
    """How checkpoints are run."""

    model_config = ConfigDict(extra="forbid")

    name: str = AUTO
    dtype: str = EngineSettings.dtype
    device: str = EngineSettings.device
    batch_tokens: int | None = Field(EngineSettings.batch_tokens, gt=0)
    max_length: int | None = Field(EngineSettings.max_length, gt=0)
    tensor_parallel: int = Field(EngineSettings.tensor_parallel, gt=0)
    memory_share: float | None = Field(EngineSettings.memory_share, gt=0, lt=1)


class MethodEntry(BaseModel):
    """One row of the comparison: a method's name, its settings, and how the row is called."""

    model_config = ConfigDict(extra="allow")

    name: str
    label: str | None = None
    protocol: str = "post-hoc"

    @property
    def settings(self) -> dict[str, Any]:
        """The method's own settings."""
        return dict(self.model_extra or {})

    @property
    def title(self) -> str:
        """The label, or the name with its settings."""
        if self.label:
            return self.label
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{self.name} ({settings})" if settings else self.name

    @field_validator("protocol")
    @classmethod
    def _known_protocol(cls, protocol: str) -> str:
        if protocol != "post-hoc":
            raise ValueError(f"the protocol '{protocol}' is unknown; there is post-hoc")
        return protocol


class Experiment(BaseModel):
    """What an experiment file says. Paths are relative to the file's folder."""

    model_config = ConfigDict(extra="forbid")

    suite: str
    base: str
    experts: dict[str, str] = Field(min_length=1)
    methods: list[MethodEntry] = Field(min_length=1)
    engine: EngineOptions = EngineOptions()
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)
    fewshot_seed: int | None = None
    limit: int | None = Field(None, gt=0)
    preset: str | None = None
    judge: str = PatternJudge.name
    output_dtype: Literal["float32", "bfloat16", "float16"] | None = None


def load_experiment(path: Path) -> Experiment:
    """Read an experiment file.

    Raises:
        InputError: it cannot be read, or a key is missing, unknown or of the wrong type.
    """
    experiment = validated(Experiment, read_yaml(path), str(path))
    return experiment.model_copy(
        update={
            "suite": beside(path, experiment.suite) if _is_file(experiment.suite) else experiment.suite,
            "base": beside(path, experiment.base),
            "judge": beside(path, experiment.judge),
            "experts": {task: beside(path, expert) for task, expert in experiment.experts.items()},
        }
    )


def _is_file(suite: str) -> bool:
    """Whether a suite is given as a file; a folder of the same name as a suite means nothing."""
    return Path(suite).suffix in {".yaml", ".yml"}
