"""A worker: it opens what all jobs need, and does those that it is sent, in a process of its own."""

import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.engine import EngineSettings
from manyshot.console import logger
from merging.checkpoints.kept_digests import Keeping, keeping_as
from results.errors import InputError


class Opened(Protocol):
    """What does jobs."""

    def do(self, job: Any) -> Any:
        """Do a job, and return what whoever sent it is to know, which can be sent.

        Raises:
            InputError: it cannot be done.
        """


class Setup(Protocol):
    """All that a worker must know to do jobs as the process would that sends them, as values to be sent."""

    @property
    def engine(self) -> EngineSettings:
        """Of each worker."""

    @property
    def logs(self) -> Path:
        """Folder for what workers say."""

    def open(self) -> Opened:
        """Open what all jobs need.

        Raises:
            InputError: something is not there.
        """


@dataclass(frozen=True)
class Answer:
    """What a worker says when it is ready: what its job gave, or the sentence that ended its work."""

    value: Any = None
    error: str | None = None


class Actor:
    """Does jobs, one after the other.

    Args:
        setup: how.
        threads: of torch's, on a CPU.
        folder: where the process works that sends the jobs, to which paths may be relative.
        keeping: how that process keeps digests.
    """

    def __init__(self, setup: Setup, threads: int, folder: Path, keeping: Keeping | None) -> None:
        self._setup, self._threads, self._folder, self._keeping = setup, threads, folder, keeping
        self._opened: Opened | None = None

    def open(self) -> Answer:
        """Load what all jobs need; an answer without an error says that jobs may come."""
        import torch

        torch.set_num_threads(self._threads)
        if not self._folder.is_dir():
            host = socket.gethostname()
            return Answer(error=f"{host} lacks the folder {self._folder}, where the command was started.")
        os.chdir(self._folder)
        _log_to(self._setup.logs)
        try:
            with keeping_as(self._keeping):
                self._opened = self._setup.open()
        except InputError as error:
            return Answer(error=str(error))
        return Answer()

    def do(self, job: Any) -> Answer:
        """Do a job. What is no fault of the user's is raised, and whoever sent the job ends this process."""
        assert self._opened is not None
        logger.info("begins %s", job.name)
        try:
            with keeping_as(self._keeping):
                return Answer(self._opened.do(job))
        except InputError as error:
            return Answer(error=str(error))
        except Exception:
            logger.exception("could not do %s", job.name)
            raise


def _log_to(folder: Path) -> None:
    """Write what this process says into a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / f"{socket.gethostname()}-{os.getpid()}.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
