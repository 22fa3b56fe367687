"""Which of a task's metrics is the primary one, whether higher is better, and what guessing scores.

The rule: acc_norm where the task has it, else acc, else exact_match, else the first of its metric_list that
is a mean over documents; and the first of its filters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.definition import FunctionReference
from results.aggregation import MATTHEWS, PERPLEXITIES
from results.errors import InputError

PREFERRED = ("acc_norm", "acc", "exact_match")
_BY_OUTPUT: Mapping[str, tuple[str, ...]] = {
    "multiple_choice": ("acc", "acc_norm"),
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "generate_until": ("exact_match",),
}
"""lm-eval's metrics of a task that names none."""
_OTHERS = ("perplexity", "f1", "bleu", "chrf", "chrf++", "ter", "brier_score")
"""Metrics of lm-eval that no mean over documents gives, where a task does not say how it is aggregated."""
_CHOICE_METRICS = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match")


@dataclass(frozen=True)
class Metric:
    """A metric of a task.

    Attributes:
        name: as lm-eval reports it.
        higher_is_better: None where the task does not say.
        from_documents: whether it is a mean over documents, Matthews' correlation or a perplexity, which are
            made of a record's documents.
    """

    name: str
    higher_is_better: bool | None
    from_documents: bool

    @property
    def is_rate(self) -> bool:
        """Whether it is on a scale on which checkpoints can be divided, as perplexities are not."""
        return self.name not in PERPLEXITIES


def metrics_of(config: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The metrics that a task's configuration names, or those of its output type.

    Raises:
        InputError: an entry of `metric_list` is no mapping with the key `metric`.
    """
    given = config.get("metric_list")
    if not given:
        names = _BY_OUTPUT.get(str(config.get("output_type", "generate_until")), ())
        return tuple(Metric(name, None, _is_known(name, None)) for name in names)
    listed = isinstance(given, list | tuple)
    for entry in given if listed else [given]:
        if not listed or not isinstance(entry, Mapping) or "metric" not in entry:
            raise InputError(
                f"The task {config.get('task')}: {entry!r} in 'metric_list' is no mapping with the key "
                "'metric', as in `- metric: acc`."
            )
    return tuple(map(_metric, given))


def may_report_others(config: Mapping[str, Any]) -> bool:
    """Whether a task's own functions, or a library's, may report metrics that its list does not name."""
    return config.get("process_results") is not None or any(
        isinstance(entry["metric"], FunctionReference) or entry.get("hf_evaluate")
        for entry in config.get("metric_list") or ()
    )


def primary(metrics: Sequence[Metric], wanted: str | None, task: str, *, others: bool = False) -> Metric:
    """The metric that is asked for, else the one of the rule.

    Args:
        metrics: of the task.
        wanted: the name of one.
        task: its name.
        others: whether the task may report other metrics too.

    Raises:
        InputError: it is not one of the task's, or cannot be made of a record's documents, or there is none.
    """
    by_name = {metric.name: metric for metric in metrics}
    if wanted is not None:
        if wanted not in by_name and not others:
            raise InputError(
                f"The task {task} has no metric '{wanted}'"
                + (f": choose {quoted_list(list(by_name))}." if by_name else ".")
            )
        chosen = by_name.get(wanted, Metric(wanted, None, True))
    else:
        means = {name: metric for name, metric in by_name.items() if metric.from_documents} or by_name
        if not means:
            raise InputError(f"The task {task} names no metric: give one as `metric` in a suite's YAML.")
        chosen = next((means[name] for name in PREFERRED if name in means), next(iter(means.values())))
    if not chosen.from_documents:
        usable = [metric.name for metric in metrics if metric.from_documents]
        raise InputError(
            f"The metric {chosen.name} of the task {task} is no mean over documents, as the scores here are: "
            f"{f'choose {quoted_list(usable)}' if usable else 'it has no other, so it cannot be scored'}."
        )
    return chosen


def quoted_list(names: Sequence[str]) -> str:
    """Names as a choice in a sentence."""
    return " or ".join(f"'{name}'" for name in names)


def direction(metric: Metric) -> bool:
    """Whether higher is better: as the task says, else as lm-eval's registry does."""
    if metric.higher_is_better is not None:
        return metric.higher_is_better
    import lm_eval.api.metrics  # noqa: F401  # without which no metric is registered
    from lm_eval.api.registry import is_higher_better

    return is_higher_better(metric.name) is not False


def filters_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a task's filters; `none` stands for lm-eval's own."""
    given = config.get("filter_list") or []
    return tuple(str(one["name"]) for one in given if isinstance(one, Mapping) and "name" in one) or ("none",)


def chance_of(config: Mapping[str, Any], metric: str) -> float:
    """What guessing scores on a task whose definition shows how many choices there are; else 0."""
    if config.get("output_type") != "multiple_choice" or metric not in _CHOICE_METRICS:
        return 0.0
    number = _choices(config.get("doc_to_choice"))
    return 1 / number if number else 0.0


def _choices(choices: object) -> int | None:
    if isinstance(choices, list | dict):
        return len(choices)
    if not isinstance(choices, str):
        return None
    from jinja2 import Environment, TemplateError, nodes

    try:
        # A template that writes one list, such as {{[sol1, sol2]}} or ["yes", "no"].
        (output,) = Environment(autoescape=False).parse(choices).body
        assert isinstance(output, nodes.Output)
        (node,) = output.nodes
        if isinstance(node, nodes.TemplateData):
            import ast

            listed = ast.literal_eval(node.data)
            return len(listed) if isinstance(listed, list) else None
    except (TemplateError, ValueError, SyntaxError, AssertionError):
        return None
    return len(node.items) if isinstance(node, nodes.List) else None


def _metric(entry: Mapping[str, Any]) -> Metric:
    name, aggregation = entry["metric"], entry.get("aggregation")
    if isinstance(name, FunctionReference):
        # The one function of lm-eval's own whose result has another name than itself.
        first = next(iter(entry.get("k") or ()), None)
        name = f"pass@{first}" if name.name == "pass_at_k" and first else name.name
    better = entry.get("higher_is_better")
    return Metric(str(name), better if isinstance(better, bool) else None, _is_known(str(name), aggregation))


def _is_known(name: str, aggregation: object) -> bool:
    """Whether a metric, so aggregated, can be made of a record's documents."""
    if name in PERPLEXITIES:
        usual = "bits_per_byte" if name == "bits_per_byte" else "weighted_perplexity"
        return aggregation in (None, usual)
    if name == MATTHEWS:
        return aggregation in (None, "matthews_corrcoef")
    return name not in _OTHERS if aggregation is None else aggregation == "mean"
