"""Scores in lm-eval's own files, `results_*.json` and `samples_*.jsonl`, so that its tools read them.

They are made from records: lm-eval scores the recorded answers once more, and its tracker writes the files.
"""

import math
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker

from bench.answers import reported_metrics, run_lm_eval
from bench.benchmark import Benchmark
from bench.lm_eval_task import lm_eval_at_work
from bench.scored_checkpoint import ScoredCheckpoint
from merging.chat import ChatForm
from results.errors import InputError
from results.record import Record

if TYPE_CHECKING:
    import pandas as pd

    from bench.scoring import Scorer

_MERGED = (
    "results", "groups", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples",
    "samples",
)  # fmt: skip
"""Parts of lm-eval's results that are by task or group."""


_PAIR = re.compile(r"\(([^(),]+), (True|False)\)")


class RecordedLM(LM):
    """Answers lm-eval's requests with what a record says was answered.

    Args:
        documents: of the record.
        chat: how conversations were written; None where prompts were not conversations.
    """

    def __init__(self, documents: "pd.DataFrame", chat: ChatForm | None) -> None:
        super().__init__()
        names = ("subtask", "subtask_doc_id") if "subtask" in documents else ("lm_eval_task", "doc_id")
        keys = zip(*(documents[name] for name in names), strict=True)
        self._output = {
            (str(task), int(number)): str(output)
            for (task, number), output in zip(keys, documents["output"], strict=True)
        }
        self._chat = chat

    @property
    def tokenizer_name(self) -> str:
        """Not needed: lm-eval keys a cache by it, which is not used."""
        return ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation as the checkpoint read it."""
        assert self._chat is not None
        return self._chat.render(chat_history, add_generation_prompt)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Recorded texts."""
        return [self._output[request.task_name, request.doc_id] for request in requests]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Recorded log-likelihoods; those of all choices of a question are one value."""
        return [
            _likelihoods(self._output[request.task_name, request.doc_id])[request.idx] for request in requests
        ]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Recorded log-likelihoods of whole texts."""
        return [float(self._output[request.task_name, request.doc_id]) for request in requests]


def _likelihoods(output: str) -> list[tuple[float, bool]]:
    """The log-likelihoods of an output as it is recorded: `(-1.5, False)`, or a list of such pairs.

    Infinities are no Python literals.
    """
    return [(float(logprob), greedy == "True") for logprob, greedy in _PAIR.findall(output)]


def write_lm_eval_files(
    folder: Path,
    scorer: "Scorer",
    checkpoint: ScoredCheckpoint,
    benchmarks: Sequence[Benchmark],
    records: Mapping[str, Record],
) -> Path:
    """Write a checkpoint's scores as lm-eval's tracker lays them out.

    Args:
        folder: as `--output_path` of lm-eval; the files are in a folder of the checkpoint's name.
        scorer: which made or found the records.
        checkpoint: what was scored.
        benchmarks: what was asked; none that a judge scores.
        records: by the benchmark's name.

    Returns:
        The file of results.

    Raises:
        InputError: the files cannot be written, or lm-eval scores recorded answers otherwise.
    """
    configs: dict[str, Any] = {}
    for task in (task for benchmark in benchmarks for task in benchmark.tasks):
        if configs.setdefault(task.name, task.config) != task.config:
            raise InputError(
                f"--output-path: lm-eval's files cannot hold two scores of the task {task.name}."
            )
    settings, chat = scorer.settings, scorer.chat_forms.find(checkpoint)
    merged: dict[str, Any] = {part: {} for part in _MERGED}
    for benchmark in benchmarks:
        record = records[benchmark.name]
        lm = RecordedLM(scorer.store.documents(record), chat)
        results = run_lm_eval(lm, benchmark, scorer.rows(benchmark), settings)
        _check(record, results)
        _add_standard_errors(results)
        for part in _MERGED:
            merged[part] |= results.get(part) or {}
    samples = merged.pop("samples")
    if not merged["groups"]:
        del merged["groups"]
    tracker = EvaluationTracker(output_path=str(folder))
    general = tracker.general_config_tracker
    general.log_experiment_args(
        model_source=scorer.engine_kind.name,
        model_args={"pretrained": checkpoint.name},
        system_instruction=settings.chat.system_instruction,
        chat_template=chat.template if chat else None,
        fewshot_as_multiturn=bool(chat and settings.chat.fewshot_as_multiturn),
    )
    general.start_time -= sum(records[benchmark.name].seconds for benchmark in benchmarks)
    merged |= _about(scorer, checkpoint)
    tasks = list(samples)
    with lm_eval_at_work():
        tracker.save_results_aggregated(results=merged, samples=samples)
        for task in tasks:
            tracker.save_results_samples(task_name=task, samples=samples[task])
    # The tracker passes over what it cannot write.
    made = folder / str(general.model_name_sanitized)
    written = made / f"results_{getattr(tracker, 'date_id', '')}.json"
    for path in (
        written,
        *(made / f"samples_{task}_{getattr(tracker, 'date_id', '')}.jsonl" for task in tasks),
    ):
        if not path.is_file() or not path.stat().st_size:
            raise InputError(f"--output-path: {path} could not be written by lm-eval.")
    return written


def _about(scorer: "Scorer", checkpoint: ScoredCheckpoint) -> dict[str, Any]:
    """What lm-eval's `simple_evaluate` says of the run beside the scores."""
    settings = scorer.settings
    return {
        "config": {
            "model": scorer.engine_kind.name,
            "model_args": f"pretrained={checkpoint.name}",
            "batch_size": None,
            "batch_sizes": [],
            "device": settings.engine.device,
            "use_cache": None,
            "limit": settings.limit,
            "bootstrap_iters": 0,
            "gen_kwargs": None,
            "random_seed": None,
            "numpy_seed": None,
            "torch_seed": None,
            "fewshot_seed": settings.seed,
        },
        "git_hash": None,
        "date": time.time(),
        "lm_eval_version": version("lm_eval"),
        "transformers_version": version("transformers"),
        "manyshot_version": version("manyshot"),
    }


def _check(record: Record, results: Mapping[str, Any]) -> None:
    for name, value in reported_metrics(results).items():
        kept = record.metrics.get(name)
        if kept is None or not math.isclose(kept, value, rel_tol=1e-9, abs_tol=1e-9):
            raise InputError(
                f"--output-path: lm-eval scores the recorded answers to {record.key.benchmark} otherwise "
                f"({name} is {value}, and was {kept}), so its files cannot be made of them."
            )


def _add_standard_errors(results: dict[str, Any]) -> None:
    """Give each metric that is a mean over documents its standard error, as lm-eval does."""
    for task, samples in results["samples"].items():
        metrics = results["results"][task]
        for key in [name for name in metrics if "," in name and "_stderr" not in name]:
            name, _, chosen = key.rpartition(",")
            values = [sample[name] for sample in samples if sample["filter"] == chosen and name in sample]
            plain = all(isinstance(value, int | float) for value in values)
            if (
                plain
                and len(values) > 1
                and math.isclose(statistics.fmean(values), metrics[key], abs_tol=1e-9)
            ):
                metrics[f"{name}_stderr,{chosen}"] = statistics.stdev(values) / math.sqrt(len(values))
