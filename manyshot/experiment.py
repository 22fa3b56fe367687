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
report_to: [mlflow]         # trackers, for trainings, merges and scores
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

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from bench.engine import EngineSettings
from bench.judge import PATTERNS
from bench.score_settings import GenKwargs, RunCode
from bench.suite import load_suite
from merging.chat import ChatSettings
from merging.known_methods import find_preset, known_methods
from merging.method import MethodPreset
from merging.method_file import absolute, class_name, is_method_file, load_class, source_of
from merging.recipe import Anchor, DifferenceKey, Keep, MergeProtocol, OutputDtype, Space
from merging.train_settings import Loss, SharedTrainSettings, TrainSettings
from merging.tuning import Objective, chosen_settings, number_of_candidates
from merging.weighting import Weighting
from results.errors import InputError
from results.json_values import digest_of, json_value
from results.merge_trace import MethodIdentity
from results.reading import beside, read_yaml
from results.task_subsets import subsets_of
from results.trackers import ReportSettings
from results.validation import Settings, Several, validated


class ExperimentTraining(SharedTrainSettings):
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
    def one_round_settings(self) -> TrainSettings:
        """The settings of a training in one round."""
        return TrainSettings(**{name: getattr(self, name) for name in SharedTrainSettings.model_fields})

    def all_rounds_settings(self, seed: int) -> TrainSettings:
        """The settings of a training on all rounds' passes at once."""
        return self.one_round_settings.but(epochs=float(self.rounds * self.epochs), seed=seed)


class MethodEntry(Settings):
    """One row of the comparison; keys that are not named here are settings of the method."""

    model_config = ConfigDict(extra="allow")

    name: str
    """The method's, or `path/to/file.py:Class` of one in the user's own file; also under the key `method`."""
    label: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")] | None = None
    """How the row is called; else by name and settings."""
    preset: str | None = None
    """Name of the method's preset of settings and weighting that it starts from."""
    protocol: MergeProtocol = "post-hoc"
    """Merge once (`post-hoc`), or in the experiment's rounds (`many-shot`)."""
    weighting: Weighting | None = None
    """Weights of the tasks; METIS's is `loss_gap`, that of the others `uniform`, unless given."""
    anchor: Anchor = "base"
    """What task vectors of a round are relative to."""
    space: Space = "delta"
    """Where adapters are merged."""
    keep: Keep = "last"
    """The round whose merged checkpoint counts: the `last`, or the best on validation data; of equal ones the
    later."""
    objective: Objective = "average"
    """What is best there, for settings that are chosen."""

    @property
    def method_name(self) -> str:
        """The method's name, of one in the user's own file its class's."""
        return class_name(self.name)

    @property
    def in_rounds(self) -> bool:
        """Whether it merges in rounds with experts of its own."""
        return self.protocol == "many-shot"

    @property
    def settings(self) -> dict[str, Any]:
        """The method's own settings."""
        return {**(self._preset.settings if self._preset else {}), **(self.model_extra or {})}

    @property
    def _preset(self) -> MethodPreset | None:
        return None if self.preset is None else find_preset(self.name, self.preset)

    @property
    def task_weighting(self) -> Weighting:
        """The weighting of the tasks: the entry's own, its preset's or the method's usual one."""
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
            settings=json_value(self.settings),
            weighting=self.task_weighting.model_dump(mode="json"),
            space=self.space,
            objective=self.objective,
        )

    @property
    def title(self) -> str:
        """The label, or the name with its settings, and the protocol where that is not the usual one."""
        title = self.plain_title
        return title if self.label or not self.in_rounds else f"{title}, {self.protocol}"

    @property
    def plain_title(self) -> str:
        """The same without the protocol."""
        if self.label:
            return self.label
        chosen = chosen_settings(self.settings)
        parts = [self.preset] if self.preset else []
        parts += [
            f"{key}={_readable(value)}"
            for key, value in (self.model_extra or {}).items()
            if key not in chosen
        ]
        if chosen:
            parts.append(f"{' and '.join(chosen)} tuned: {number_of_candidates(self.settings)} tried")
        return f"{self.method_name} ({', '.join(parts)})" if parts else self.method_name

    @model_validator(mode="before")
    @classmethod
    def _method_is_name(cls, content: object) -> object:
        if isinstance(content, dict) and "method" in content and "name" not in content:
            others = {key: value for key, value in content.items() if key != "method"}
            return {"name": content["method"], **others}
        return content

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        for key in ("keep", "anchor"):
            if not self.in_rounds and key in self.model_fields_set:
                raise ValueError(f"'{self.title}' is merged once, so '{key}' means nothing; leave it out")
        if "objective" in self.model_fields_set and not number_of_candidates(self.settings):
            raise ValueError(
                f"'{self.title}' has no settings to choose, so 'objective' means nothing; leave it out"
            )
        return self


class Experiment(ReportSettings):
    """What an experiment file says. Paths are relative to the file's folder."""

    suite: str
    """Name of a suite, or its file."""
    base: str
    """The checkpoint that every expert started from."""
    experts: dict[str, str] | None = Field(None, min_length=1)
    """Checkpoints by task."""
    train: ExperimentTraining | None = None
    """How experts are made, in place of given ones."""
    methods: Annotated[Several[MethodEntry], Field(min_length=1)]
    """What merges; in a file also `all`: every method that can merge these experts, by its defaults."""
    engine: EngineSettings = EngineSettings()
    """What runs checkpoints."""
    seeds: Annotated[Several[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1)] = (0,)
    """Seeds of trainings, and of methods that draw random numbers."""
    subsets: Annotated[Several[int], Field(min_length=1)] | None = None
    """Sizes of the subsets of tasks that are merged, in place of all tasks."""
    fewshot_seed: int | None = None
    """Seed of the few-shot sampler, in place of the preset's."""
    limit: int | None = Field(None, gt=0)
    """Most documents of each lm-eval task."""
    preset: str | None = None
    """The suite's settings of scoring under this name."""
    gen_kwargs: GenKwargs = "neutral"
    """What answers keep of a checkpoint's own generation settings."""
    run_code: RunCode | None = None
    """Let coding benchmarks run what checkpoints write, in a `sandbox`."""
    chat: ChatSettings = ChatSettings()
    """How questions are put and examples written, in place of what the suite says."""
    judge: str = PATTERNS
    """What judges refusals: `patterns`, or a classifier's path or hub name."""
    output_dtype: OutputDtype | None = None
    """Stored dtype of merged models; else the base's."""
    accept_differences: Several[DifferenceKey] = ()
    """Keys in which given experts may differ from the base, whose values are kept."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.experts is None) == (self.train is None):
            raise ValueError("either `experts` (by task) or `train` (how to make them) is expected")
        if self.accept_differences and self.experts is None:
            raise ValueError(
                "`accept_differences` is for given experts; those that are trained are the base's"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("each of the seeds is expected once")
        for method in self.methods:
            if method.in_rounds and self.train is None:
                raise ValueError(f"'{method.title}' is many-shot, which needs `train` in place of `experts`")
        return self

    def merged_together(self, tasks: Sequence[str]) -> list[tuple[str, ...]]:
        """Return which of a suite's tasks are merged together: all, or each subset of the sizes it names."""
        return [tuple(tasks)] if self.subsets is None else subsets_of(tasks, self.subsets)

    def only(self, tasks: Sequence[str], accepted: Mapping[str, Sequence[str]]) -> Self:
        """The experiment with the experts of some of the tasks.

        Args:
            tasks: which.
            accepted: by task the keys in which its expert may differ from the base: `accepted_by_task`.
        """
        experts = self.experts and {task: self.experts[task] for task in tasks}
        keys = dict.fromkeys(key for task in tasks for key in accepted.get(task, ()))
        return self.model_copy(update={"experts": experts, "accept_differences": tuple(keys)})


_LONGEST_VALUE = 120
"""Characters of a setting in a title."""

ALL_METHODS = "all"
"""In place of a list of methods: all that apply, as their papers have them."""

SHIPPED = Path(__file__).parent / "experiments"
LAB, GLUE_LAB, T5_LAB, SMOL = "lab", "glue-lab", "t5-lab", "smol"
HOMEMADE = (LAB, GLUE_LAB, T5_LAB, SMOL)
"""Bases that are made, or converted by `make smol`, on this machine."""


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


def load_experiment(path: Path, content: object = None) -> Experiment:
    """Read an experiment file.

    Args:
        path: the file.
        content: of the file, where it is read already, and stands for an experiment's.

    Raises:
        InputError: it cannot be read, or a key is missing, unknown or of the wrong type.
    """
    content = read_yaml(path) if content is None else content
    if isinstance(content, dict) and content.get("methods") == ALL_METHODS:
        content = {**content, "methods": methods_that_apply(str(content.get("suite")), path)}
    experiment = validated(Experiment, content, str(path))
    return experiment.model_copy(
        update={
            "suite": beside(path, experiment.suite) if _is_file(experiment.suite) else experiment.suite,
            "base": beside(path, experiment.base),
            "judge": beside(path, experiment.judge),
            "chat": experiment.chat.beside(path),
            "methods": tuple(
                method.model_copy(update={"name": absolute(method.name, path.parent)})
                for method in experiment.methods
            ),
            "experts": experiment.experts
            and {task: beside(path, expert) for task, expert in experiment.experts.items()},
        }
    )


def methods_that_apply(suite: str, file: Path) -> list[dict[str, str]]:
    """Return an entry with default settings of every method that can merge a suite's experts.

    Those of one or two experts only do where the suite has as many tasks, those that lack a default never.
    `weighted_sum` is left out: with weights of 1 it adds up whole models.

    Raises:
        InputError: there is no such suite.
    """
    tasks = load_suite(beside(file, suite) if _is_file(suite) else suite).tasks
    return [
        {"name": name}
        for name, known in known_methods().items()
        if known.method_class.takes in (None, len(tasks))
        and not any(field.is_required() for field in known.method_class.model_fields.values())
        and name != "weighted_sum"
    ]


def _readable(value: object) -> str:
    """A setting in a title; of a long one its beginning, and a digest that tells it from others.

    Nothing of a long path stays, so that a submission, which cuts folders from titles, finds none.
    """
    text = str(value)
    if len(text) <= _LONGEST_VALUE:
        return text
    beginning = text[: _LONGEST_VALUE // 2].partition("/")[0]
    return f"{beginning}… {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _is_file(suite: str) -> bool:
    """Whether a suite is given as a file; a folder of the same name as a suite means nothing."""
    return Path(suite).suffix in {".yaml", ".yml"}
