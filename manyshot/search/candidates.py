"""A candidate of a search: the recipe that it is, the merge, and its scores on validation data."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from bench.engine import TensorEngine
from bench.scored_checkpoint import ScoredCheckpoint
from bench.signals import ValidationSignals
from bench.validation_parts import Kept, ValidationParts
from manyshot.search.estimate import Estimates
from manyshot.search.objective import Objective
from manyshot.search.space import Candidate
from manyshot.search.trials import Outcome, Trial
from merging.checkpoints.checkpoint import tensors_of
from merging.checkpoints.folders import locate
from merging.known_methods import find_method, make_method
from merging.measured_method import MeasuredMethod
from merging.measuring import measure
from merging.merge import merge
from merging.recipe import ExpertSpec, MethodSpec, OutputDtype, Recipe
from merging.repeated import RepeatedMerge
from results import minima
from results.errors import InputError
from results.intervals import Draws
from results.metrics import Performance, performance
from results.suite import SuiteSpec

_CANDIDATE, _EXPERT = "candidate", "expert"


@dataclass(frozen=True)
class Family:
    """What all candidates are merges of.

    Attributes:
        base: θ₀, its path or hub name.
        experts: paths or hub names, by task.
        folders: of the experts, by task.
        output_dtype: of merged models; None keeps the base's.
        accept_differences: keys in which experts may differ from the base.
        seed: of methods that draw random numbers.
        measured: folder for what is measured of experts, which candidates share.
    """

    base: str
    experts: Mapping[str, str]
    folders: Mapping[str, Path]
    output_dtype: OutputDtype | None
    accept_differences: Sequence[str]
    seed: int
    measured: Path

    def recipe(self, candidate: Candidate, signals: ValidationSignals) -> Recipe:
        """Return what `manyshot merge` takes for a candidate; what its method measures is measured before."""
        settings = dict(candidate.settings)
        weights = dict.fromkeys(self.experts, 1.0) | dict(candidate.weights)
        if issubclass(find_method(candidate.method).method_class, MeasuredMethod):
            settings["measured"] = self._measured_for(candidate, weights, signals)
        return Recipe(
            base=self.base,
            experts={
                task: ExpertSpec(path=path, weight=weights[task]) for task, path in self.experts.items()
            },
            method=MethodSpec(name=candidate.method, **settings),
            output_dtype=self.output_dtype,
            seed=self.seed,
            accept_differences=list(self.accept_differences),
        )

    def _measured_for(
        self, candidate: Candidate, weights: Mapping[str, float], signals: ValidationSignals
    ) -> str:
        """The folder of what a candidate's method measures of experts, which is measured once."""
        method = make_method(candidate.method, _plain(candidate.settings))
        assert isinstance(method, MeasuredMethod)
        if method.measured is not None:
            return method.measured
        folder = measure(
            method,
            signals,
            locate(self.base),
            self.folders,
            weights=weights,
            seed=self.seed,
            folder=self.measured,
        )
        return str(folder)


class Evaluator:
    """Merges candidates and scores them on validation data.

    Args:
        family: what they are merges of.
        signals: of checkpoints on validation data.
        parts: the validation documents, in the parts in which they are read.
        objectives: what is made large.
        folder: where candidates lie while they are scored.
        estimates: of their scores by the first part of the documents; None where all are read.
        estimator: which estimate they are searched by.
        confidence: with which a candidate must be worse than one of the best to be stopped.
    """

    def __init__(
        self,
        family: Family,
        signals: ValidationSignals,
        parts: ValidationParts,
        objectives: Sequence[Objective],
        folder: Path,
        *,
        estimates: Estimates | None = None,
        estimator: str = "part",
        confidence: float = 1.0,
    ) -> None:
        self._confidence = confidence
        self._family, self._signals, self._parts = family, signals, parts
        self._estimates, self._estimator = estimates, estimator
        self._objectives, self._folder = tuple(objectives), folder
        self._repeated: RepeatedMerge | None = None
        self._in_memory: bool | None = None
        self._references = references(signals, parts.spec, family.folders)

    def evaluate(
        self, candidate: Candidate, number: int, best: Sequence[Trial], *, whole: bool = False
    ) -> Outcome:
        """Merge a candidate and score it, part by part, until it cannot be among the best.

        Args:
            candidate: which.
            number: of its trial.
            best: the trials that no finished one is better than in every objective.
            whole: whether it is scored on all documents where others are estimated.
        """
        estimates = self._estimates is not None and not whole
        started = time.perf_counter()
        kept: dict[str, list[str]] = {}
        documents, beaten_by = 0, None
        try:
            checkpoint = self._merged(candidate, number)
            for part in range(1 if estimates else self._parts.parts):
                for name, score in self._parts.score(checkpoint, part).items():
                    kept.setdefault(name, []).append(score.kept)
                    documents += score.documents
                if part + 1 < self._parts.parts and (beaten_by := self._better(kept, best)) is not None:
                    break
            measured = self._estimated(kept, self._estimator) if estimates else self._measured(kept)
        except InputError as error:
            return Outcome((), seconds=time.perf_counter() - started, failed=str(error))
        finally:
            shutil.rmtree(self._folder / str(number), ignore_errors=True)
        values = [objective.value(measured) for objective in self._objectives]
        if beaten_by is not None:
            values = self._relative(values, kept, beaten_by)
        return Outcome(
            values=tuple(values),
            tasks={task: float(value[0]) for task, value in measured.tasks.items()},
            kept=kept,
            documents=documents,
            seconds=round(time.perf_counter() - started, 3),
            stopped=beaten_by is not None,
            estimated=estimates,
        )

    def _merged(self, candidate: Candidate, number: int) -> ScoredCheckpoint:
        """Merge a candidate, in memory where the engine takes it from there, else into its own folder."""
        name = f"trial-{number}"
        recipe = self._family.recipe(candidate, self._signals)
        self._repeated = self._repeated or RepeatedMerge(recipe)
        if self._in_memory is None:
            self._in_memory = self._can_stay_in_memory(self._repeated)
        if self._in_memory:
            merged = self._repeated.merge(recipe)
            return ScoredCheckpoint(name, merged.folder, merged.identity, weights=merged.tensors)
        folder = self._folder / str(number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return ScoredCheckpoint.open(str(merge(recipe, folder / name, progress=False)))

    def _can_stay_in_memory(self, repeated: RepeatedMerge) -> bool:
        """Whether the engine takes merged weights in place of the base's."""
        scorer = self._signals.scorer
        if not (scorer.engine_kind.takes_tensors and repeated.stays_beside_base):
            return False
        base = ScoredCheckpoint.open(self._family.base)
        return cast(TensorEngine, scorer.engine_with(base)).takes(tensors_of(base.path))

    def _better(self, kept: Kept, best: Sequence[Trial]) -> Trial | None:
        """Which of the best a candidate cannot reach in any objective, by the documents of some parts."""
        for trial in best:
            drawn = self._parts.resampled({_CANDIDATE: kept, str(trial.number): _as_far(trial, kept)})
            of_candidate, of_best = (
                self._performance({name: scores[label] for name, scores in drawn.items()})
                for label in (_CANDIDATE, str(trial.number))
            )
            if cannot_reach(self._objectives, of_candidate, of_best, self._confidence):
                return trial
        return None

    @property
    def endpoint_documents(self) -> int:
        """How many documents the base and the experts were scored on for estimates."""
        return self._estimates.documents if self._estimates else 0

    def estimated_values(self, kept: Kept, estimator: str) -> list[float]:
        """Return the objectives by an estimator, from what was kept of the first part."""
        measured = self._estimated(kept, estimator)
        return [objective.value(measured) for objective in self._objectives]

    def _estimated(self, kept: Kept, estimator: str) -> Performance:
        assert self._estimates is not None
        values = self._estimates.values({name: of[:1] for name, of in kept.items()}, estimator)
        return self._performance({name: np.array([value]) for name, value in values.items()})

    def _relative(self, values: Sequence[float], kept: Kept, better: Trial) -> list[float]:
        """The better one's values less what the candidate lacks on the documents that both were scored on."""
        on_same = self._measured(_as_far(better, kept))
        return [
            of_better + value - objective.value(on_same)
            for value, of_better, objective in zip(
                values, better.outcome.values, self._objectives, strict=True
            )
        ]

    def _measured(self, kept: Kept) -> Performance:
        return self._performance(
            {name: np.array([value]) for name, value in self._parts.values(kept).items()}
        )

    def _performance(self, scores: Mapping[str, Draws]) -> Performance:
        """Performance of scores by benchmark, over the experts' on all documents."""
        spec = self._parts.spec
        both = {
            name: {_CANDIDATE: draws, _EXPERT: np.full(draws.shape, self._references[name])}
            for name, draws in scores.items()
        }
        resamples = next(iter(scores.values())).shape[0]
        experts = dict.fromkeys(spec.tasks, _EXPERT)
        return performance(spec, both, _CANDIDATE, experts, resamples=resamples)


def references(signals: ValidationSignals, spec: SuiteSpec, experts: Mapping[str, Path]) -> dict[str, float]:
    """Return by benchmark the score of its task's expert on all validation documents.

    Raises:
        InputError: one scores nothing, so nothing can be divided by it.
    """
    found = {}
    for task, benchmarks in spec.tasks.items():
        scores = signals.scores(experts[task], task)
        for place, benchmark in enumerate(benchmarks):
            score = scores[place if len(scores) == len(benchmarks) else 0]
            if score <= 0:
                raise InputError(
                    f"The expert of '{task}' scores {score:.3f} on the validation data of {benchmark.name}, "
                    "which nothing can be divided by: give a better expert, or a suite without that task."
                )
            found[benchmark.name] = score if benchmark.higher_is_better else 1 - score
    return found


def cannot_reach(
    objectives: Sequence[Objective], candidate: Performance, better: Performance, confidence: float
) -> bool:
    """Return whether a candidate is worse in every objective, with some confidence in each.

    Args:
        objectives: which.
        candidate: in every resample of the documents.
        better: what it is compared with, in the same resamples.
        confidence: that candidate − better lies below 0.
    """
    for objective in objectives:
        limit = minima.upper_limit(objective.parts(candidate), objective.parts(better), confidence)
        if limit is None or limit >= 0:
            return False
    return True


def _as_far(trial: Trial, kept: Kept) -> dict[str, Sequence[str]]:
    """What was kept of a trial on the parts that a candidate was scored on."""
    return {name: trial.outcome.kept[name][: len(of)] for name, of in kept.items()}


def _plain(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings of which those over the depth have their first value, by which the method can be asked."""
    return {name: value[0] if isinstance(value, list) else value for name, value in settings.items()}
