"""Experiment trackers, to which merges, scores and trainings are reported: one run for each checkpoint.

A tracker is told where by its own variables: WANDB_PROJECT and WANDB_MODE, MLFLOW_TRACKING_URI and
MLFLOW_EXPERIMENT_NAME, TRACKIO_PROJECT and TRACKIO_SPACE_ID. A project that is not named is `manyshot`.
"""

import contextlib
import importlib
import importlib.util
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from results.errors import InputError
from results.validation import Settings, Several

logger = logging.getLogger("manyshot.trackers")
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]
_TAG = "manyshot.checkpoint"
_LONGEST_PARAMETER = 500
_PROJECT = "manyshot"


class ReportSettings(Settings):
    """Where work is reported to."""

    report_to: Several[Tracker] = ()
    """Trackers that are reported to, each installed by its own name; tensorboard writes to ./runs."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a checkpoint.

    Attributes:
        name: how the run is called.
        digest: of the checkpoint. What is reported of it later, by whatever name, goes to the same run.
        parameters: what it was made from and by, which never changes.
        settings: how it was scored, which may be another way the next time.
        metrics: numbers by name.
        files: texts by the names of the files that they are kept as.
    """

    name: str
    digest: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def check_trackers(names: Collection[Tracker]) -> None:
    """Refuse trackers that are not installed.

    Raises:
        InputError: names the first.
    """
    for name in names:
        found = importlib.util.find_spec(name)
        # A folder of the name, such as ./wandb that runs are kept in, is no package.
        if found is None or found.origin is None:
            raise InputError(f"report_to: {name} is not installed: pip install {name}")


def project() -> str:
    """Return the project of runs, and name it to the trackers that read it from the environment."""
    for variable in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.setdefault(variable, _PROJECT)
    return os.environ.get("TRACKIO_PROJECT") or _PROJECT


@contextlib.contextmanager
def training_run(names: Collection[Tracker]) -> Iterator[None]:
    """Close the run of W&B that a training opens: transformers leaves it open, for the next one too.

    What trackers print meanwhile goes to stderr.
    """
    wandb = importlib.import_module("wandb") if "wandb" in names else None
    before = wandb and wandb.run
    try:
        with contextlib.redirect_stdout(sys.stderr) if names else contextlib.nullcontext():
            yield
    finally:
        if wandb is not None and wandb.run is not None and wandb.run is not before:
            wandb.finish()


def report(names: Collection[Tracker], run: TrackedRun) -> None:
    """Report a checkpoint to trackers. One that fails is named in a warning: the work is done already.

    What trackers print goes to stderr, where it is no part of an answer.
    """
    for name in names:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                _SENDERS[name](run)
        except Exception as error:  # whatever a tracker, its server or the network raises
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            logger.warning("%s was not reported to %s: %s", run.name, name, reason)
            logger.debug("what %s raised", name, exc_info=True)


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one with names joined by full stops; lists as JSON, None left out."""
    found: dict[str, Any] = {}
    for key, one in value.items():
        if isinstance(one, Mapping):
            found |= flat(one, f"{prefix}{key}.")
        elif one is not None:
            found[f"{prefix}{key}"] = json.dumps(one) if isinstance(one, list | tuple) else one
    return found


def _to_tensorboard(run: TrackedRun) -> None:
    from torch.utils.tensorboard import SummaryWriter

    folder = Path("runs") / f"{_file_name(run.name)}-{run.digest[:8]}"
    with SummaryWriter(str(folder)) as writer:
        for name, value in run.metrics.items():
            writer.add_scalar(name, value, 0)
        about = {"parameters": {**run.parameters, **run.settings}, **run.files}
        for name, content in about.items():
            text = content if isinstance(content, str) else json.dumps(content, indent=1, default=str)
            writer.add_text(name, f"```\n{text}\n```")


def _to_wandb(run: TrackedRun) -> None:
    wandb = importlib.import_module("wandb")
    project()
    with _kept(run) as folder:
        opened = wandb.init(
            project=os.environ["WANDB_PROJECT"], id=run.digest[:32], name=run.name, resume="allow",
            reinit="create_new",
        )  # fmt: skip
        try:
            opened.config.update({**run.parameters, **run.settings}, allow_val_change=True)
            if run.metrics:
                opened.log(dict(run.metrics))
            artifact = wandb.Artifact(f"checkpoint-{run.digest[:12]}", type="manyshot")
            for name in run.files:
                artifact.add_file(str(folder / name))
            opened.log_artifact(artifact)
        finally:
            opened.finish()


def _to_mlflow(run: TrackedRun) -> None:
    mlflow = importlib.import_module("mlflow")
    project()
    client, name = mlflow.MlflowClient(), os.environ["MLFLOW_EXPERIMENT_NAME"]
    experiment = client.get_experiment_by_name(name)
    place = experiment.experiment_id if experiment else client.create_experiment(name)
    found = client.search_runs([place], filter_string=f"tags.`{_TAG}` = '{run.digest}'", max_results=1)
    kept = found[0] if found else client.create_run(place, run_name=run.name, tags={_TAG: run.digest})
    number = kept.info.run_id
    for key, value in run.parameters.items():
        if _mlflow_name(key) not in kept.data.params:  # which cannot be changed
            client.log_param(number, _mlflow_name(key), str(value)[:_LONGEST_PARAMETER])
    for key, value in run.settings.items():
        client.set_tag(number, _mlflow_name(key), str(value)[:_LONGEST_PARAMETER])
    for key, value in run.metrics.items():
        client.log_metric(number, _mlflow_name(key), value)
    for file, text in run.files.items():
        client.log_text(number, text, file)
    client.set_terminated(number)


def _to_trackio(run: TrackedRun) -> None:
    trackio = importlib.import_module("trackio")
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    if offline and os.environ.get("TRACKIO_SPACE_ID"):
        raise InputError("HF_HUB_OFFLINE is set, and TRACKIO_SPACE_ID names a space on the hub")
    with _kept(run) as folder:
        trackio.init(
            project=project(), name=f"{run.name} {run.digest[:8]}", resume="allow", private=True, embed=False,
            config={**run.parameters, **run.settings},
        )  # fmt: skip
        try:
            if run.metrics:
                trackio.log(dict(run.metrics))
            if run.files:
                trackio.log_artifact(str(folder), name=f"checkpoint-{run.digest[:12]}", type="manyshot")
        finally:
            trackio.finish()


@contextlib.contextmanager
def _kept(run: TrackedRun) -> Iterator[Path]:
    """Give a folder with the run's files, which is there until the tracker has taken them."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in run.files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        yield Path(folder)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)[:100]


def _mlflow_name(name: str) -> str:
    """A name of the characters that MLflow takes."""
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)[:250]


_SENDERS: Mapping[Tracker, Callable[[TrackedRun], None]] = {
    "tensorboard": _to_tensorboard,
    "wandb": _to_wandb,
    "mlflow": _to_mlflow,
    "trackio": _to_trackio,
}
