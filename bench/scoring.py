"""Scoring a checkpoint on a benchmark: one record, found in the store or made by lm-eval over an engine."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from bench.answers import AnsweringLM, evaluate, generation_requests
from bench.asked import asked
from bench.benchmark import Benchmark
from bench.chat_forms import ChatForms
from bench.data import Rows, load_rows
from bench.engine import Engine, Generation, GenerationRequest, Progress
from bench.engine_registry import find_engine, open_engine, resolved
from bench.generation_settings import generation_settings
from bench.hub import NoDataError
from bench.judge import Judge, PatternJudge
from bench.model_code import refuse_model_code
from bench.prompts import prompts_of
from bench.record_key import record_key, versions
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.worked_examples import refuse_few_rows
from merging.chat import ChatSettings
from merging.checkpoints.folders import refuse_removed
from results.errors import InputError
from results.record import CheckpointIdentity, Record, RecordKey
from results.store import Store

if TYPE_CHECKING:
    from bench.lm import EngineLM, TokenCache


@dataclass(frozen=True)
class Scored:
    """A record, and whether it was there already."""

    record: Record
    found: bool


@dataclass(frozen=True)
class _Ahead:
    """Answers to a benchmark that were generated together with others', and its share of the seconds."""

    answers: Mapping[GenerationRequest, Generation]
    seconds: float


class Scorer:
    """Scores checkpoints one after the other, with one engine that is started when first needed.

    Args:
        settings: what may change a score besides checkpoint, definition and data.
        store: where records are looked for and kept.
        data_root: local data root, or None for the hub.
        judge: decides whether answers refuse, for the benchmarks that need it; patterns by default.

    Attributes:
        settings: as given, with the engine `auto` replaced.
        store: where records are kept.
        engine_settings: how checkpoints are run, with `auto` replaced.
        engine_kind: the engine's declaration.
        chat: how questions are put.
        chat_forms: how each checkpoint writes conversations.
    """

    def __init__(
        self,
        settings: ScoreSettings,
        store: Store,
        data_root: Path | None,
        judge: Judge | None = None,
    ) -> None:
        self.store = store
        self._judge = judge or PatternJudge()
        self.settings = settings.but(engine=resolved(settings.engine))
        self.engine_settings = self.settings.engine
        self.engine_kind = find_engine(self.engine_settings.name)
        if self.engine_kind.recorded:  # answers that were given, whatever the prompts looked like
            self.settings = self.settings.but(chat=ChatSettings(), gen_kwargs="neutral")
        self.chat = self.settings.chat
        self.chat_forms = ChatForms(self.chat)
        self._data_root = data_root
        self._engine: Engine | None = None
        self._loaded: CheckpointIdentity | None = None
        self._rows: dict[str, dict[str, Rows]] = {}
        self._digests: dict[str, tuple[str, str]] = {}
        self._tokens: dict[tuple[str, str], TokenCache] = {}
        self._ahead: dict[tuple[CheckpointIdentity, str], _Ahead] = {}

    def engine_key(self) -> list[object]:
        """All settings of the engine that may change what it says, its name first, as a JSON value."""
        return list(self.engine_settings.deciding.values())

    def settings_key(self) -> object:
        """All settings that may change a score, as a JSON value."""
        settings = self.settings
        return [
            self.engine_key(),
            [settings.limit, dict(settings.limits), settings.seed, self._judge.name],
            *filter(None, [self.chat.key or self.chat.system_instruction]),
            *(["model"] if settings.gen_kwargs == "model" else []),
        ]

    def missing_data(self, benchmarks: Sequence[Benchmark]) -> dict[str, str]:
        """Benchmarks whose rows cannot be had, with the reason."""
        reasons = {}
        for benchmark in benchmarks:
            try:
                self.rows(benchmark)
            except NoDataError as error:
                reasons[benchmark.name] = str(error)
        return reasons

    def key(self, checkpoint: ScoredCheckpoint, benchmark: Benchmark) -> RecordKey:
        """The key of a checkpoint's record on a benchmark.

        Raises:
            NoDataError: the benchmark has no rows.
            InputError: the checkpoint has no chat template, and one is asked for.
        """
        return record_key(
            checkpoint,
            benchmark,
            self.digests(benchmark),
            self.settings,
            self.chat_forms,
            judge=self._judge.name,
            recorded=self.engine_kind.recorded,
        )

    def find(self, checkpoint: ScoredCheckpoint, benchmark: Benchmark) -> Record | None:
        """The record of a checkpoint on a benchmark, where there is one.

        Raises:
            NoDataError: the benchmark has no rows.
            InputError: the checkpoint has no chat template, and one is asked for.
        """
        return self.store.find(self.key(checkpoint, benchmark))

    def has(self, checkpoint: ScoredCheckpoint, benchmark: Benchmark) -> bool:
        """Whether there is a record of a checkpoint on a benchmark, without reading it."""
        return self.store.holds(self.key(checkpoint, benchmark).digest)

    def check(self, checkpoint: ScoredCheckpoint, benchmarks: Sequence[Benchmark]) -> None:
        """Refuse a checkpoint that has yet to be scored and whose configuration or tokenizer is broken.

        Raises:
            InputError: says what is wrong.
        """
        refuse_model_code(benchmarks, self.settings)
        if checkpoint.served is not None:
            checkpoint.served.check(benchmarks, self.chat, self.settings.gen_kwargs)
        choices = [benchmark.name for benchmark in benchmarks if not benchmark.is_generated]
        if self.chat.templated and self.chat.arguments.get("enable_thinking") and choices:
            raise InputError(
                f"{choices[0]} compares how likely its choices are, which no thoughts come before: leave out "
                "enable_thinking, or the benchmark."
            )
        no_folder = self.engine_kind.recorded or self.engine_kind.served
        if no_folder or all(self.has(checkpoint, benchmark) for benchmark in benchmarks):
            return
        from merging.checkpoints.adapter import base_folder
        from merging.checkpoints.pretrained import load_config, load_tokenizer

        folder = base_folder(checkpoint.path) or checkpoint.path
        load_config(folder)
        load_tokenizer(folder)

    def score(
        self, checkpoint: ScoredCheckpoint, benchmark: Benchmark, progress: Progress | None = None
    ) -> Scored:
        """Score a checkpoint on a benchmark, or find the record of it.

        Args:
            checkpoint: the checkpoint, or recorded outputs for the engine that replays them.
            benchmark: what to ask.
            progress: called with the numbers of requests answered and asked.

        Raises:
            NoDataError: the benchmark has no rows.
            InputError: the checkpoint cannot be loaded.
        """
        record = self.find(checkpoint, benchmark)
        if record is not None:
            return Scored(record, found=True)
        ahead = self._ahead.pop((checkpoint.identity, benchmark.name), _Ahead({}, 0.0))
        key, served = self.key(checkpoint, benchmark), checkpoint.served
        lm = self._lm(checkpoint, benchmark, ahead.answers, progress)
        started = time.perf_counter() - ahead.seconds
        rows = self.rows(benchmark)
        if served is not None:
            served.begin(self.store.root, key.digest, self.chat)
        answers = evaluate(lm, benchmark, rows, self.settings, judge=self._judge, progress=progress)
        record = Record(
            key=key,
            name=checkpoint.name,
            metric=benchmark.metric,
            value=answers.value,
            metrics=dict(answers.metrics),
            n=len(answers.documents),
            seconds=time.perf_counter() - started,
            tokens=dict(answers.tokens),
            answers=dict(answers.generated),
            notices=(*answers.notices, *(served.notices(self.chat) if served else ())),
            versions=versions(self.engine_kind) | (served.versions if served else {}),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            asked=asked(benchmark, rows),
        )
        record = self.store.write(record, answers.documents)
        if served is not None:
            served.finish()
        return Scored(record, found=False)

    def answer_ahead(
        self,
        checkpoint: ScoredCheckpoint,
        benchmarks: Sequence[Benchmark],
        progress: Progress | None = None,
    ) -> None:
        """Generate the answers to all benchmarks without a record in one list, where that is faster.

        The records made next take the answers from it, and of its seconds as large a share as of its tokens.
        A benchmark that cannot be asked is left to `score`, which says why.

        Raises:
            NoDataError: a benchmark has no rows.
            InputError: the checkpoint cannot be loaded.
        """
        self._ahead = {}
        if not self.engine_kind.joins_benchmarks:
            return
        wanted = [
            benchmark
            for benchmark in benchmarks
            if benchmark.is_generated and not self.has(checkpoint, benchmark)
        ]
        if len(wanted) < 2:
            return
        engine = self.engine_with(checkpoint)
        requests_of: dict[str, list[GenerationRequest]] = {}
        for benchmark in wanted:
            lm, rows = self._engine_lm(engine, checkpoint, benchmark), self.rows(benchmark)
            with contextlib.suppress(InputError):
                requests_of[benchmark.name] = generation_requests(lm, benchmark, rows, self.settings)
        requests = list(dict.fromkeys(chain.from_iterable(requests_of.values())))
        started = time.perf_counter()
        answers = dict(zip(requests, engine.generate(requests, progress), strict=True))
        seconds = time.perf_counter() - started
        tokens = {
            name: sum(len(request.prompt) + answers[request].tokens for request in own)
            for name, own in requests_of.items()
        }
        for name, own_requests in requests_of.items():
            own_answers = {request: answers[request] for request in own_requests}
            self._ahead[checkpoint.identity, name] = _Ahead(
                own_answers, seconds * tokens[name] / max(1, sum(tokens.values()))
            )

    def close(self) -> None:
        """Stop the engine and the judge, where they were started."""
        engine, self._engine, self._loaded = self._engine, None, None
        if engine is not None:
            engine.close()
        self._judge.close()

    def _lm(
        self,
        checkpoint: ScoredCheckpoint,
        benchmark: Benchmark,
        answers: Mapping[GenerationRequest, Generation],
        progress: Progress | None,
    ) -> "AnsweringLM":
        if self.engine_kind.recorded:
            lm: AnsweringLM = self.engine_kind.open(checkpoint.path, benchmark)
            return lm
        return self._engine_lm(self.engine_with(checkpoint), checkpoint, benchmark, answers, progress)

    def _engine_lm(
        self,
        engine: Engine,
        checkpoint: ScoredCheckpoint,
        benchmark: Benchmark,
        answers: Mapping[GenerationRequest, Generation] | None = None,
        progress: Progress | None = None,
    ) -> "EngineLM":
        from bench.api.conversation import server_writes_chat
        from bench.api.lm import ServedChatLM
        from bench.lm import EngineLM, TokenCache

        tokens = self._tokens.setdefault((checkpoint.identity.tokenizer, benchmark.name), TokenCache())
        penalty, neutralised = generation_settings(checkpoint.path, self.settings.gen_kwargs)
        lm_class = ServedChatLM if checkpoint.served and server_writes_chat(self.chat) else EngineLM
        return lm_class(
            engine,
            progress,
            tokens=tokens,
            answers=answers,
            chat=self.chat_forms.find(checkpoint),
            repetition_penalty=penalty,
            neutralised=neutralised,
        )

    def engine_with(self, checkpoint: ScoredCheckpoint) -> Engine:
        """The engine, started where it was not, with a checkpoint in it.

        Raises:
            InputError: the checkpoint cannot be loaded, or its weights were removed.
        """
        refuse_removed(checkpoint.path)
        is_there = self._loaded == checkpoint.identity
        if self._engine is None:
            served = checkpoint.served
            self._engine = served.engine if served else open_engine(checkpoint.path, self.engine_settings)
            is_there = checkpoint.weights is None
        if not is_there:
            try:
                checkpoint.put_into(self._engine)
            except BaseException:
                # Some weights may be the new ones already: nothing must be scored with such a model.
                self.close()
                raise
        self._loaded = checkpoint.identity
        return self._engine

    def rows(self, benchmark: Benchmark) -> dict[str, Rows]:
        """The rows of a benchmark by lm-eval task, read once.

        Raises:
            NoDataError: there are none.
            InputError: a task asks for more worked examples than there are.
        """
        if benchmark.name not in self._rows:
            rows = {task.name: load_rows(task, self._data_root) for task in benchmark.tasks}
            for task in benchmark.tasks:
                refuse_few_rows(task, rows[task.name])
            self._rows[benchmark.name] = rows
        return self._rows[benchmark.name]

    def prompts(self, benchmark: Benchmark, limit: int | None) -> list[str]:
        """A benchmark's prompts without the answers, at most so many of each of its tasks."""
        rows = self.rows(benchmark)
        return [
            prompt.prompt
            for task in benchmark.tasks
            for prompt in prompts_of(task, rows[task.name], self.settings.seed, limit)
        ]

    def digests(self, benchmark: Benchmark) -> tuple[str, str]:
        """Digests of a benchmark's definition and of its rows.

        Raises:
            NoDataError: its rows cannot be had.
        """
        if benchmark.name not in self._digests:
            rows = self.rows(benchmark)
            joined = "+".join(rows[task.name].digest for task in benchmark.tasks)
            self._digests[benchmark.name] = benchmark.definition_digest, joined
        return self._digests[benchmark.name]
