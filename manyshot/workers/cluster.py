"""Ray: started on this machine for one command, or joined where it runs; and how many actors it takes.

What is started here listens on the loopback device alone, has no dashboard and reports to nobody.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from bench.engine import AUTO, EngineSettings
from bench.engine_registry import find_engine, resolve_device
from manyshot.console import logger
from merging.blocks import cores
from results.errors import InputError
from results.words import counted

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
_ALONE = {
    # Ray takes the address of the outer network for 127.0.0.1, unless it is told that it is alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
_AGENT_PORTS = (
    "metrics_agent_port",
    "runtime_env_agent_port",
    "dashboard_agent_listen_port",
    "metrics_export_port",
)
_REACH_SECONDS = 10.0
_AGENT_MILLISECONDS = 300_000
"""In which Ray's agents must have started; a busy machine takes longer than Ray waits by itself."""
_ATTEMPTS = 3
"""Starts of Ray, which waits half a minute for its raylet, too little for a busy machine."""
_OBJECT_BYTES = 80 * 2**20  # no weights go through Ray, and it takes no less


@dataclass(frozen=True)
class Places:
    """How many actors there are, and what Ray keeps free for each.

    Attributes:
        actors: how many.
        cpus: cores of each, which are torch's threads on a CPU.
        gpus: GPUs of each.
    """

    actors: int
    cpus: int
    gpus: int


class Workers:
    """Where jobs are done: on actors of a Ray that is started when first needed, or joined.

    Args:
        wanted: how many; `auto` is one for each GPU, or where there is none for each core.
        address: of a Ray that runs, as `ray start` says it, or `auto`; None starts one here.
    """

    def __init__(self, wanted: int | Literal["auto"], address: str | None) -> None:
        self._wanted, self._address = wanted, address
        self._ray: Any = None
        self._started: Any = None

    def settle(self, engine: EngineSettings) -> EngineSettings:
        """The engine's settings with a device `auto` replaced by what the workers have.

        Raises:
            InputError: the engine asks a server, a GPU is named by its number, or Ray cannot be joined.
        """
        if engine.name != AUTO and find_engine(engine.name).served:
            raise InputError("A server shares its work out by itself: leave out --workers and --ray.")
        if ":" in engine.device:
            kind = engine.device.partition(":")[0]
            raise InputError(f"Each worker has a GPU of its own: give --device {kind}, without a number.")
        if self._address is None or engine.device != "auto":
            return engine
        has_gpu = bool(self._connected().cluster_resources().get("GPU"))
        return engine.but(device="cuda" if has_gpu else "cpu")

    def open(self, engine: EngineSettings, most: int) -> Places:
        """Start Ray where it has not been started, and say what each actor gets.

        Args:
            engine: that each has.
            most: more actors would have nothing to do.

        Raises:
            InputError: there are fewer GPUs than are asked for, or Ray is not installed.
        """
        on_gpu = resolve_device(self.settle(engine)).startswith("cuda")
        given = int(os.environ.get("OMP_NUM_THREADS") or 0)
        cores, gpus_there = self._devices(on_gpu)
        gpus = engine.tensor_parallel if on_gpu else 0
        number = self._number(gpus_there // gpus if on_gpu else cores // max(1, given), gpus)
        shares_out = on_gpu or self._address is None
        cpus = given or (max(1, cores // number) if shares_out else 1)
        if self._address is not None:
            cpus = min(cpus, self._most_cores(gpus))
        if self._ray is None:  # with all places, though the first jobs may be fewer
            logger.info("starting Ray for %s", counted(number, "worker"))
            self._started = _started(number * cpus, number * gpus)
            self._ray = _joined(self._started.address)
        return Places(min(number, most), cpus, gpus)

    def close(self) -> None:
        """Leave Ray, and end one that was started here."""
        ray, self._ray = self._ray, None
        if ray is not None:
            ray.shutdown()
        started, self._started = self._started, None
        if started is not None:
            started.shutdown()

    def _devices(self, on_gpu: bool) -> tuple[int, int]:
        """Cores and GPUs of this machine, or of the cluster."""
        if self._address is None:
            return cores(), _gpus_here() if on_gpu else 0
        there = self._connected().cluster_resources()
        return int(there.get("CPU", 1)), int(there.get("GPU", 0))

    def _most_cores(self, gpus: int) -> int:
        """Cores of a cluster's largest machine with so many GPUs, of which no worker can have more."""
        nodes = [node["Resources"] for node in self._connected().nodes() if node["Alive"]]
        fitting = [node.get("CPU", 0) for node in nodes if node.get("GPU", 0) >= gpus]
        return max(1, int(max(fitting, default=1)))

    def _number(self, possible: int, gpus: int) -> int:
        """How many workers there are.

        Args:
            possible: as many as the devices are enough for.
            gpus: of each.
        """
        if self._wanted == "auto":
            return max(1, possible)
        if gpus and self._wanted > possible:
            of_each = f" of {gpus} GPUs each" if gpus > 1 else ""
            raise InputError(
                f"{self._wanted} workers{of_each} are asked for, and there are GPUs for {possible}: give "
                f"--workers {max(1, possible)}, or auto."
            )
        return self._wanted

    def _connected(self) -> Any:
        if self._ray is None:
            try:
                _reach(str(self._address))
                self._ray = _joined(str(self._address))
            except (OSError, RuntimeError, ValueError) as error:
                reason = str(error).partition("\n")[0]
                raise InputError(f"Ray at {self._address} cannot be joined: {reason}") from None
        return self._ray


@contextmanager
def open_workers(wanted: int | Literal["auto"] | None, address: str | None) -> Iterator[Workers | None]:
    """Give the workers that are asked for, and end them; None where none are.

    Args:
        wanted: how many, or `auto`, which is meant where only an address is given.
        address: of a Ray that runs.
    """
    if wanted is None and address is None:
        yield None
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("--workers and --ray start processes by themselves: leave out `accelerate launch`.")
    workers = Workers(wanted or "auto", address)
    try:
        yield workers
    finally:
        workers.close()


def _started(cpus: int, gpus: int, attempts: int = _ATTEMPTS) -> Any:
    """A Ray of this machine alone, as little of it as actors need."""
    cluster = loopback_cluster()
    try:
        with _signals_kept():
            add_loopback_node(cluster, cpus, gpus)
    except Exception as error:  # of no class of its own
        cluster.shutdown()
        if attempts == 1:
            raise InputError(f"Ray cannot be started on this machine: {error}") from error
        logger.info("Ray did not start in time; trying again")
        return _started(cpus, gpus, attempts - 1)
    return cluster


def loopback_cluster() -> Any:
    """A Ray without nodes yet, whose nodes will listen on the loopback device alone.

    `ray.init` would start more, and its raylet ends itself where a busy machine takes more than seconds to
    start agents whose ports it was not told.
    """
    os.environ.update(_ALONE)
    _import_ray()
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    from ray._private import ray_constants
    from ray.cluster_utils import Cluster

    # What the variable says, where somebody else has imported Ray before.
    ray_constants.ENABLE_RAY_CLUSTER = False
    return Cluster()


def add_loopback_node(cluster: Any, cpus: int, gpus: int) -> Any:
    """Start a node of a cluster, its head if it is the first, and return it."""
    return cluster.add_node(
        num_cpus=cpus,
        num_gpus=gpus,
        object_store_memory=_OBJECT_BYTES,
        node_ip_address="127.0.0.1",
        include_dashboard=False,
        include_log_monitor=False,
        no_monitor=True,
        **dict(zip(_AGENT_PORTS, _free_ports(len(_AGENT_PORTS)), strict=True)),
        **(
            {}
            if cluster.head_node
            else {"_system_config": {"agent_register_timeout_ms": _AGENT_MILLISECONDS}}
        ),
    )


def _joined(address: str) -> Any:
    """Ray at an address, joined without a word."""
    ray = _import_ray()
    from ray._private import worker

    # Onto the standard output it would print that a worker died, which the driver says itself.
    worker.print_to_stdstream = lambda *_, **__: None
    with _signals_kept():
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    return ray


def _reach(address: str) -> None:
    """Connect to an address and leave again; Ray would try for minutes, and write warnings of its own.

    Raises:
        OSError: nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()


def _import_ray() -> Any:
    os.environ.update(_ENVIRONMENT)
    try:
        import ray
    except ImportError:
        raise InputError(
            "Several workers take the package ray: pip install 'manyshot[ray]', or leave out --workers and "
            "--ray."
        ) from None
    return ray


def _free_ports(number: int) -> list[int]:
    """Ports of the loopback device that nobody listens on."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Give signals back to their handlers, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def has_gpu() -> bool:
    """Whether this process has a GPU of the kind that workers are given."""
    return _gpus_here() > 0


def _gpus_here() -> int:
    import torch

    return torch.cuda.device_count()
