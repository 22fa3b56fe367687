"""Workers, machines and the command itself, killed at random moments: nothing is lost, nothing made twice."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
from scored_by_workers import TASKS, files, scored, write_family

from manyshot.workers.cluster import Workers, add_loopback_node, loopback_cluster
from results.errors import InputError

pytestmark = pytest.mark.full
MODELS = tuple(range(8))


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return write_family(tmp_path_factory.mktemp("killed"), len(MODELS))


@pytest.fixture(scope="module")
def alone(here):
    scored(here, "alone", models=MODELS)
    return files(here / "alone")


def processes(of: int, name: str) -> list[int]:
    """Processes under one that are called so."""
    found, parents = [], {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_text()
        except OSError:  # it has just ended
            continue
        parents[int(folder.name)] = int(status[1])
        if name in command and status[0] != "Z":
            found.append(int(folder.name))

    def is_under(process: int | None) -> bool:
        while process and process != of:
            process = parents.get(process)
        return process == of

    return [process for process in found if is_under(process)]


@contextmanager
def killing(
    victims: Callable[[], list[int]], times: int, seed: int, pause: tuple[float, float] = (0.2, 4.0)
) -> Iterator[list[int]]:
    """Kill one of some processes at random moments, so often at most, and give those that were killed."""
    drawn, over, killed = random.Random(seed), threading.Event(), []

    def kill() -> None:
        while len(killed) < times and not over.wait(drawn.uniform(*pause)):
            if found := victims():
                killed.append(drawn.choice(found))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def scored_at_last(here: Path, store: str, workers: Workers) -> int:
    """Score until all records are there; how many starts it took."""
    for start in range(1, 9):
        try:
            scored(here, store, workers, models=MODELS)
        except InputError as error:
            assert "could not be made" in str(error) or "no worker" in str(error)
        else:
            return start
    raise AssertionError("not all records are made")


def test_actors_are_killed_at_ten_random_moments(here, alone):
    workers = Workers(2, None)
    try:
        with killing(lambda: processes(os.getpid(), "ray::Actor"), 10, seed=0) as killed:
            scored_at_last(here, "actors", workers)
            while len(killed) < 10:  # what is done is done once: score again, into another store
                scored_at_last(here, f"more-{len(killed)}", workers)
    finally:
        workers.close()
    assert len(killed) == 10
    for store in ("actors", *(path.name for path in here.glob("more-*"))):
        assert files(here / store) == alone


@pytest.fixture
def cluster():
    """Ray with a head and five nodes of a core, which share a folder."""
    cluster = loopback_cluster()
    for cpus in (0, 1, 1, 1, 1, 1):
        add_loopback_node(cluster, cpus, 0)
    yield cluster
    cluster.shutdown()


def test_raylets_are_killed_at_three_random_moments(here, alone, cluster):
    workers = Workers(2, cluster.address)

    def raylets() -> list[int]:
        connected = ray._private.worker.global_worker.node
        if connected is None:
            return []
        return [
            node.all_processes["raylet"][0].process.pid
            for node in cluster.worker_nodes
            if node.raylet_socket_name != connected.raylet_socket_name  # that of this process
            and is_alive(node.all_processes["raylet"][0].process.pid)
        ]

    stores = ["raylets"]
    try:
        with killing(raylets, 3, seed=1, pause=(10.0, 25.0)) as killed:
            scored_at_last(here, stores[0], workers)
            while len(killed) < 3:
                stores.append(f"raylets-{len(stores)}")
                scored_at_last(here, stores[-1], workers)
    finally:
        workers.close()
    for store in stores:
        assert files(here / store) == alone


def test_the_command_is_killed_at_five_random_moments(here, alone):
    """It leaves no process behind, and a later start makes what is missing."""
    drawn = random.Random(2)
    command = [
        sys.executable, "-m", "manyshot", "score", *(str(here / f"models/{model}") for model in MODELS),
        "--task", ",".join(TASKS), "--include-path", str(here / "tasks"), "--trust-task-code",
        "--store", str(here / "command"), "--workers", "2", "--engine", "hf", "--device", "cpu",
    ]  # fmt: skip
    for _ in range(5):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            seconds = drawn.uniform(1, 60)
            deadline, under = time.monotonic() + seconds, []
            while process.poll() is None and time.monotonic() < deadline:
                under = processes(process.pid, "ray")
                time.sleep(0.5)
            process.kill()
        deadline = time.monotonic() + 180
        while any(map(is_alive, under)) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert not [one for one in under if is_alive(one)]
    subprocess.run(command, check=True, capture_output=True)
    assert files(here / "command") == alone


def is_alive(process: int) -> bool:
    """Whether a process runs."""
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
