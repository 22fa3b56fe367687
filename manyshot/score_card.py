"""Scores in a checkpoint's folder, in the forms that the hub reads: the model card and `.eval_results`.

The card's header gets a `model-index`, its text a table between two comments, so that both can be written
again; everything else of the card stays. Results of others in the `model-index` stay too: ours name a record.
`manyshot.eval_entries` has `.eval_results`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from manyshot.eval_entries import merged_entries, write_entries
from manyshot.published_scores import PublishedScore
from merging.checkpoints.adapter import is_adapter
from merging.checkpoints.folders import read_mapping
from merging.model_card import TAG
from reports.table_model import text_table
from reports.writers import markdown
from results.card_parts import SCORES, card_part, with_scores
from results.errors import InputError
from results.writing import write_atomically

RECORD = "record"
"""Argument of a metric in the `model-index` that marks it as ours, and names the record."""


def write_scores(folder: Path, scores: Sequence[PublishedScore]) -> list[Path]:
    """Write scores into a checkpoint's folder, in place of those that were written before.

    Args:
        folder: of the checkpoint.
        scores: of it.

    Returns:
        The files that were written.

    Raises:
        InputError: the card or the entries that are there cannot be read; then nothing is written.
    """
    path = folder / "README.md"
    card = read_card(path) if path.exists() else _new(folder)
    header = card.data
    assert isinstance(header, ModelCardData)
    others = [result for result in header.eval_results or [] if RECORD not in (result.metric_args or {})]
    task = _pipeline(folder)
    header.model_name = header.model_name or folder.resolve().name
    header.eval_results = [*others, *(_eval_result(score, task) for score in scores)]
    card.text = with_scores(card.text, card_part(SCORES, _section(scores)))
    entries = merged_entries(folder, scores)
    write_atomically(path, str(card).encode())
    return [path, *write_entries(entries)]


def read_card(path: Path) -> ModelCard:
    """Read a model card.

    Raises:
        InputError: the hub would not read it.
    """
    try:
        return ModelCard(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:150]
        raise InputError(
            f"{path} is no model card that the hub would read ({reason}); mend its header, or remove the "
            "file and have one made."
        ) from error


def _new(folder: Path) -> ModelCard:
    header = {"library_name": "peft" if is_adapter(folder) else "transformers", "tags": [TAG]}
    title = re.sub(r"\W+", " ", folder.resolve().name).strip() or "A model"
    return ModelCard(f"---\n{yaml.safe_dump(header)}---\n\n# {title}\n")


def _pipeline(folder: Path) -> str:
    config = {} if is_adapter(folder) else read_mapping(folder / "config.json")
    return "text2text-generation" if config.get("is_encoder_decoder") else "text-generation"


def _eval_result(score: PublishedScore, task: str) -> EvalResult:
    record, known = score.record, score.dataset
    interval, error = score.uncertainty.interval, score.uncertainty.standard_error
    args: dict[str, Any] = {
        "n": record.n,
        "standard_error": error,
        "interval_95": interval and [interval.low, interval.high],
        "num_fewshot": int(score.num_fewshot) if score.num_fewshot.isdigit() else score.num_fewshot or None,
        "chat_template": score.chat_template,
        "limit": record.key.settings.get("limit"),
        "seed": record.key.settings.get("seed"),
        "engine": record.key.settings.get("engine"),
        "dtype": record.key.settings.get("dtype"),
        "settings": score.settings or None,
        "rows": score.rows or None,
        "lm_eval": record.versions.get("lm_eval"),
        RECORD: record.key.digest,
    }
    return EvalResult(
        task_type=task,
        dataset_type=known.get("type", score.name),
        dataset_name=score.name,
        dataset_config=known.get("config"),
        dataset_split=known.get("split"),
        metric_type=record.metric,
        metric_value=record.value,
        metric_name=f"{score.metric} ({score.setup})" if score.setup else score.metric,
        metric_args={key: value for key, value in args.items() if value is not None},
    )


def _section(scores: Sequence[PublishedScore]) -> str:
    rows = [
        (
            score.name,
            score.metric,
            f"{score.record.value:.3f}",
            _of_interval(score),
            _number(score.uncertainty.standard_error),
            f"{score.record.n}",
            score.num_fewshot or "–",
            score.chat_template,
            score.limit or "all",
            score.settings or "–",
        )
        for score in scores
    ]
    heads = (
        "benchmark", "metric", "score", "95 % interval", "standard error", "n", "shots", "chat template",
        "documents", "settings",
    )  # fmt: skip
    return (
        f"## Scores\n\n{markdown(text_table(heads, rows))}\n"
        "By manyshot with lm-eval's prompts, filters and metrics. Intervals and standard errors are over the "
        "documents, by bootstrap; the header has the records' digests."
    )


def _of_interval(score: PublishedScore) -> str:
    interval = score.uncertainty.interval
    return f"{interval.low:.3f} to {interval.high:.3f}" if interval else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
