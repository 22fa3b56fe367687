"""Building lm-eval's task objects from our definitions and rows, without lm-eval's index or its caches."""

import functools
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.benchmark import EvalTask, TaskGroup
from bench.code_eval import sandboxed_functions
from bench.data import Row, Rows
from bench.definition import resolve_functions
from bench.score_settings import RunCode
from bench.worked_examples import refuse_few
from results.errors import InputError

if TYPE_CHECKING:
    from lm_eval.api.group import Group
    from lm_eval.api.task import ConfigurableTask


def build_task(task: EvalTask, rows: Rows, seed: int, run_code: RunCode | None = None) -> "ConfigurableTask":
    """An lm-eval task that asks `rows`.

    Args:
        task: the definition.
        rows: its rows; every split becomes a data set.
        seed: seed of the few-shot sampler.
        run_code: where code runs that a model has written, if the task runs any.

    Raises:
        InputError: the rows are not as the task expects, or fewer than its worked examples.
    """
    from lm_eval.api.task import ConfigurableTask

    def given_rows(**_: Any) -> dict[str, Any]:
        return {split: _data_set(content) for split, content in rows.splits.items()}

    in_sandbox = run_code == "sandbox" and task.config.get("unsafe_code")
    resolved = sandboxed_functions(task.config) if in_sandbox else resolve_functions(task.config)
    config = resolved | {"custom_dataset": given_rows}
    if callable(process := config.get("process_docs")):
        # lm-eval makes the documents again whenever it asks for them, five times for one score; those that a
        # function shuffles are others then.
        config["process_docs"] = functools.cache(process)
    for key in ("training_split", "validation_split", "fewshot_split"):
        # lm-eval opens every split that is named, also where nothing is taken from it.
        if config.get(key) not in rows.splits:
            config[key] = None
    own = config.get("fewshot_config")
    if isinstance(own, dict) and own.get("split") not in {None, *rows.splits}:
        config["fewshot_config"] = {**own, "split": None}
    try:
        built = ConfigurableTask(config=config)
    except InputError:
        raise
    except Exception as error:  # what a definition or a row holds decides which of many kinds lm-eval raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{task.name} cannot ask its rows ({rows.source}): {reason}.") from error
    if not len(built.eval_docs):
        raise InputError(f"{task.name}: no row of {rows.source} is a document of it.")
    built.set_config("num_fewshot", config.get("num_fewshot") or 0)
    built.set_fewshot_seed(seed)
    if config.get("num_fewshot") and isinstance(built.fewshot_cfg.sampler, str):
        apart = built.fewshot_cfg.split == built.config.test_split
        refuse_few(task.name, config["num_fewshot"], len(built.sampler.df), apart=apart)
    return built


def build_groups(groups: Sequence[TaskGroup], tasks: Mapping[str, "ConfigurableTask"]) -> dict[str, "Group"]:
    """lm-eval's group objects over tasks.

    Args:
        groups: the definitions, inner ones first.
        tasks: the task objects by name.
    """
    from lm_eval.api.group import Group

    built: dict[str, Group] = {}
    for group in groups:
        made = Group.from_config({**resolve_functions(group.config), "group": group.name})
        for name in group.members:
            made.add(built[name] if name in built else tasks[name])
        built[group.name] = made
    return built


def _data_set(rows: Sequence[Row]) -> Any:
    """A data set with every column that any row has; the library takes the first row's only."""
    from datasets import Dataset

    columns = dict.fromkeys(column for row in rows for column in row)
    return Dataset.from_list([{column: row.get(column) for column in columns} for row in rows])


@contextmanager
def lm_eval_at_work() -> Iterator[None]:
    """Keep lm-eval's and datasets' bars and advice off the terminal, and compile each of its templates once.

    lm-eval compiles a template for every document that it renders, which takes longer than the rest of it;
    and a template of a user's task, which is run in a sandbox here, could run any code there.
    """
    import datasets
    from jinja2.sandbox import SandboxedEnvironment
    from lm_eval import utils
    from lm_eval.api import task

    logger, bar = logging.getLogger("lm_eval"), task.tqdm
    theirs = utils.env
    utils.env = SandboxedEnvironment(
        loader=theirs.loader, undefined=theirs.undefined, keep_trailing_newline=theirs.keep_trailing_newline
    )
    utils.env.filters |= theirs.filters
    utils.env.from_string = functools.lru_cache(utils.env.from_string)
    level, bars = logger.level, datasets.are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    task.tqdm = functools.partial(bar, disable=True)
    try:
        with warnings.catch_warnings():
            # A few documents may all have one label; the score is right all the same.
            warnings.filterwarnings("ignore", message="A single label was found")
            yield
    finally:
        logger.setLevel(level)
        task.tqdm = bar
        utils.env = theirs
        if not bars:
            datasets.enable_progress_bars()
