"""Building lm-eval's task objects from our definitions and rows, without lm-eval's index or its caches."""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.benchmark import EvalTask
from bench.data import Rows
from bench.definition import resolve_functions

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask


def build_task(task: EvalTask, rows: Rows, seed: int) -> "ConfigurableTask":
    """An lm-eval task that asks `rows`.

    Args:
        task: the definition.
        rows: its rows; every split becomes a data set.
        seed: seed of the few-shot sampler.
    """
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    def given_rows(**_: Any) -> dict[str, Dataset]:
        return {split: Dataset.from_list(list(content)) for split, content in rows.splits.items()}

    config = resolve_functions(task.config) | {"custom_dataset": given_rows}
    for key in ("training_split", "validation_split", "fewshot_split"):
        # lm-eval opens every split that is named, also where nothing is taken from it.
        if config.get(key) not in rows.splits:
            config[key] = None
    built = ConfigurableTask(config=config)
    built.set_config("num_fewshot", config.get("num_fewshot") or 0)
    built.set_fewshot_seed(seed)
    return built


@contextmanager
def quiet_lm_eval() -> Iterator[None]:
    """Keep lm-eval's and datasets' progress bars and advice off the terminal, where ours are shown."""
    import datasets
    from lm_eval.api import task

    logger, bar = logging.getLogger("lm_eval"), task.tqdm
    level, bars = logger.level, datasets.are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    task.tqdm = functools.partial(bar, disable=True)
    try:
        yield
    finally:
        logger.setLevel(level)
        task.tqdm = bar
        if not bars:
            datasets.enable_progress_bars()
