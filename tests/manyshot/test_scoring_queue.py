"""The order of jobs, how they are cut, and what becomes of those whose worker has died."""

import sys
from pathlib import Path

import pytest
from command_line import manyshot
from made_up_family import identity
from tiny import tiny_llama

from bench.engine import EngineSettings
from bench.scored_checkpoint import ScoredCheckpoint
from manyshot.scoring_plan import ScoringJob
from manyshot.workers.cluster import Workers
from manyshot.workers.queue import Queue
from results.errors import InputError


def job(label, benchmarks="abcd"):
    checkpoint = ScoredCheckpoint(label, Path(label), identity(label))
    return ScoringJob(checkpoint, {name: f"{label} {name}" for name in benchmarks})


def taken(queue, last=None):
    queued = queue.take(last)
    return queued and queued.job.name


def test_jobs_are_whole_while_every_worker_gets_one_and_halved_then():
    queue = Queue([job("first"), job("second"), job("third")], workers=2)
    assert [taken(queue) for _ in range(7)] == [
        "first on a, b, c, d",
        "second on a, b, c, d",
        "third on a, b",
        "third on c",
        "third on d",
        None,
        None,
    ]


def test_a_worker_goes_on_with_its_checkpoint():
    queue = Queue([job("first", "a"), job("second", "a"), job("first", "b")], workers=1)
    assert taken(queue, last=job("first")) == "first on a"
    assert taken(queue, last=job("first")) == "first on b"
    assert taken(queue, last=job("first")) == "second on a"


def test_benchmarks_of_a_dead_workers_job_are_queued_singly_until_three_have_died():
    queue = Queue([job("first", "ab")], workers=1)
    queue.died(queue.take(), "killed")
    a, b = queue.take(), queue.take()
    assert (a.job.name, b.job.name) == ("first on a", "first on b")
    queue.died(b, "killed")
    queue.died(queue.take(), "out of memory")
    assert not queue
    (failed,) = queue.failed
    assert (failed.job.name, failed.why) == (
        "first on b",
        "3 workers died over it, the last so: out of memory",
    )


def test_of_a_job_that_is_refused_only_what_cannot_be_done_is_given_up():
    queue = Queue([job("first", "ab")], workers=1)
    queue.refused(queue.take(), "a prompt is too long")
    queue.refused(queue.take(), "a prompt is too long")
    assert taken(queue) == "first on b"
    assert [(one.job.name, one.why) for one in queue.failed] == [("first on a", "a prompt is too long")]


def test_a_gpu_by_its_number_and_a_server_are_refused():
    workers = Workers("auto", None)
    with pytest.raises(InputError, match="give --device cuda, without a number"):
        workers.settle(EngineSettings(device="cuda:1"))
    with pytest.raises(InputError, match="leave out --workers and --ray"):
        workers.settle(EngineSettings(name="api"))


def test_where_ray_is_missing_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    tiny_llama(tmp_path / "model")
    done = manyshot("score", "model", "--benchmark", "lab_yes_no", "--workers", 2, cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'manyshot[ray]'" in done.stderr
    done = manyshot("score", "model", "--benchmark", "lab_yes_no", "--workers", 0, cwd=tmp_path)
    assert done.returncode == 2
    assert "0 is below 1" in done.stderr
