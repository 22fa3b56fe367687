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
accept_differences: [config.rope_theta]    # of given experts, whose own values are not kept
subsets: [2, 3]             # merge every two and every three of the tasks, in place of all

In place of `experts`, `train` says how they are made, and methods may be many-shot:

train: {rounds: 5, examples: 2000, learning_rate: 3e-4, adapter: {rank: 16, alpha: 16}}
methods:
  - {name: task_arithmetic, scaling: {choose: [0.3, 0.5, 1.0]}, objective: worst_task}    # on validation data
  - {name: metis, protocol: many-shot, weighting: {name: loss_gap, temperature: 2}, space: factors}
  - {name: metis, protocol: many-shot, scaling: [1.6, 1.2, 1.2, 1.0, 1.0]}                # one for each round
  - {name: metis, protocol: many-shot, preset: scheduled}                                 # the same and more
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.engine import EngineSettings
from bench.judge import PATTERNS
from merging.known_methods import find_preset
from merging.method import MethodPreset
from merging.method_file import absolute, class_name, is_method_file, load_class, source_of
from merging.rounds import Protocol
from merging.train_settings import Loss, SharedTrainSettings, TrainSettings
from merging.tuning import Objective, chosen_settings, number_of_candidates
from merging.weighting import Weighting
from results.errors import InputError
from results.merge_trace import MethodIdentity
from results.record import digest_of
from results.validation import validated
from results.yaml_file import beside, read_yaml


class TrainOptions(SharedTrainSettings):
    """How experts are trained: in each of `rounds` rounds, or post hoc for all of them at once."""

    rounds: int = Field(5, gt=0)
    """Rounds of training and merging."""
    examples: int | None = Field(None, gt=0)
    """Most training examples of a task."""
    validation: int | None = Field(None, gt=0)
    """Most validation examples of a task."""
    epochs: int = Field(1, gt=0)
    """Passes over the examples in each round."""
    loss: Loss = "text"
    """What the training's loss is over: the whole `text`, or the `completion` only."""
    loss_max_length: int | None = Field(None, ge=2)
    """Tokens after which texts are cut where losses are measured; else as in training."""

    @property
    def settings(self) -> TrainSettings:
        """Those of one round."""
        return TrainSettings(**{name: getattr(self, name) for name in SharedTrainSettings.model_fields})


class MethodEntry(BaseModel):
    """One row of the comparison: a method's name, its settings, and how the row is called.

    Attributes:
        name: the method's, or `path/to/file.py:Class` of one in the user's own file.
        label: how the row is called; else by name and settings.
        preset: of the method's presets, the settings and weighting that it starts from.
        protocol: merge once (`post-hoc`), or in the experiment's rounds (`many-shot`).
        weighting: of the tasks; METIS's is `loss_gap`, that of the others `uniform`, unless given.
        anchor: what task vectors of a round are relative to.
        space: where adapters are merged.
        keep: the round whose merged checkpoint counts: the `last`, or the best on validation data; of equal
            ones the later.
        objective: what is best there, for settings that are chosen.
    """

    model_config = ConfigDict(extra="allow")

    name: str
    label: str | None = None
    preset: str | None = None
    protocol: Protocol = "post-hoc"
    weighting: Weighting | None = None
    anchor: Literal["base", "previous"] = "base"
    space: Literal["delta", "factors"] = "delta"
    keep: Literal["last", "best_average", "best_worst_task"] = "last"
    objective: Objective = "average"

    @property
    def method_name(self) -> str:
        """The method's name, of one in the user's own file its class's."""
        return class_name(self.name)

    @property
    def settings(self) -> dict[str, Any]:
        """The method's own settings."""
        return {**(self._preset.settings if self._preset else {}), **(self.model_extra or {})}

    @property
    def _preset(self) -> MethodPreset | None:
        return None if self.preset is None else find_preset(self.name, self.preset)

    @property
    def by(self) -> Weighting:
        """The weighting of the tasks."""
        if self.weighting is not None:
            return self.weighting
        if self._preset is not None:
            return Weighting(**self._preset.weighting)
        return Weighting(name="loss_gap" if self.name == "metis" else "uniform")

    @property
    def identity(self) -> MethodIdentity:
        """What the same method, merged once and in rounds, has in common; of a file, what is in it."""
        code = digest_of(source_of(load_class(self.name)))[:12] if is_method_file(self.name) else None
        return MethodIdentity(
            method=self.method_name,
            code=code,
            settings=json.loads(json.dumps(self.settings)),
            weighting=self.by.model_dump(mode="json"),
            space=self.space,
            objective=self.objective,
        )

    @property
    def title(self) -> str:
        """The label, or the name with its settings, and the protocol where that is not the usual one."""
        title = self.plain_title
        return title if self.label or self.protocol == "post-hoc" else f"{title}, {self.protocol}"

    @property
    def plain_title(self) -> str:
        """The same without the protocol."""
        if self.label:
            return self.label
        chosen = chosen_settings(self.settings)
        parts = [self.preset] if self.preset else []
        parts += [f"{key}={value}" for key, value in (self.model_extra or {}).items() if key not in chosen]
        if chosen:
            parts.append(f"{' and '.join(chosen)} tuned: {number_of_candidates(self.settings)} tried")
        return f"{self.method_name} ({', '.join(parts)})" if parts else self.method_name

    @model_validator(mode="before")
    @classmethod
    def _method_is_name(cls, value: object) -> object:
        """`method` may stand for `name`."""
        if isinstance(value, dict) and "method" in value and "name" not in value:
            return {"name": value["method"], **{key: one for key, one in value.items() if key != "method"}}
        return value


class Experiment(BaseModel):
    """What an experiment file says. Paths are relative to the file's folder."""

    model_config = ConfigDict(extra="forbid")

    suite: str
    base: str
    experts: dict[str, str] | None = Field(None, min_length=1)
    train: TrainOptions | None = None
    methods: list[MethodEntry] = Field(min_length=1)
    engine: EngineSettings = EngineSettings()
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)
    subsets: list[int] | None = Field(None, min_length=1)
    fewshot_seed: int | None = None
    limit: int | None = Field(None, gt=0)
    preset: str | None = None
    judge: str = PATTERNS
    output_dtype: Literal["float32", "bfloat16", "float16"] | None = None
    accept_differences: list[str] = []

    @model_validator(mode="after")
    def _one_source_of_experts(self) -> "Experiment":
        if (self.experts is None) == (self.train is None):
            raise ValueError("either `experts` (by task) or `train` (how to make them) is expected")
        if self.accept_differences and self.experts is None:
            raise ValueError(
                "`accept_differences` is for given experts; those that are trained are the base's"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("each of the seeds is expected once")
        for method in self.methods:
            if method.protocol == "many-shot" and self.train is None:
                raise ValueError(f"'{method.title}' is many-shot, which needs `train` in place of `experts`")
            for key in ("keep", "anchor"):
                if method.protocol == "post-hoc" and key in method.model_fields_set:
                    raise ValueError(
                        f"'{method.title}' is merged once, so '{key}' means nothing; leave it out"
                    )
            if "objective" in method.model_fields_set and not number_of_candidates(method.settings):
                raise ValueError(
                    f"'{method.title}' has no settings to choose, so 'objective' means nothing; leave it out"
                )
        return self


SHIPPED = Path(__file__).parent / "experiments"
LAB, GLUE_LAB, T5_LAB = "lab", "glue-lab", "t5-lab"
HOMEMADE = (LAB, GLUE_LAB, T5_LAB)
"""Bases that are made on this machine."""


def find_experiment(name: str) -> Path:
    """Return an experiment's file: a path, or the name of one that is shipped.

    Raises:
        InputError: there is neither.
    """
    if Path(name).is_file() or Path(name).suffix in {".yaml", ".yml"}:
        return Path(name)
    if not (SHIPPED / f"{name}.yaml").is_file():
        names = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
        raise InputError(
            f"There is no experiment '{name}'; there are {names}, or give the path of a YAML file."
        )
    return SHIPPED / f"{name}.yaml"


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
            "methods": [
                method.model_copy(update={"name": absolute(method.name, path.parent)})
                for method in experiment.methods
            ],
            "experts": experiment.experts
            and {task: beside(path, expert) for task, expert in experiment.experts.items()},
        }
    )


def _is_file(suite: str) -> bool:
    """Whether a suite is given as a file; a folder of the same name as a suite means nothing."""
    return Path(suite).suffix in {".yaml", ".yml"}
