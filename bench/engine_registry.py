"""The engines by name, and what each declares of itself. An engine is one file of `bench/engines/`.

    @engine("hf", "transformers, on a CPU or one GPU", encoder_decoders=True, settings={"batch_tokens"})
    class HFEngine:
        def __init__(self, checkpoint: Path, settings: EngineSettings) -> None: ...

A file is imported when its engine is needed, by its name. Whatever depends on an engine asks its declaration.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from bench.engine import AUTO, Engine, EngineSettings
from results.errors import InputError

SERVERS = "the server's"
"""In place of a dtype and a device that only a server knows."""
_EVERY_ENGINE = frozenset({"name", "dtype", "device", "max_length"})
"""Settings that every engine takes."""


@dataclass(frozen=True)
class EngineAbilities:
    """What an engine does and does not do on this machine, in words for people.

    Attributes:
        runs_on: a GPU by name, or a CPU; empty where nothing runs.
        can: what it does.
        cannot: what it does not do, each with the reason.
    """

    runs_on: str = ""
    can: Sequence[str] = ()
    cannot: Sequence[str] = ()


@dataclass(frozen=True)
class EngineKind:
    """An engine's declaration.

    Attributes:
        name: which; also its file's.
        summary: one line on what it runs.
        open: starts it with a checkpoint and settings. Of recorded outputs: gives an lm-eval model of what is
            recorded for a benchmark, from their path and the benchmark.
        recorded: whether it answers from recorded outputs and runs no checkpoint.
        served: whether it asks a server, which computes as it does and has one model.
        settings: fields of `EngineSettings` that it takes beside those that every engine takes.
        dtypes: dtypes in which it computes.
        encoder_decoders: whether it runs them.
        several_gpus: whether one checkpoint runs on several GPUs.
        max_logprobs: how many of the likeliest tokens it gives log-probabilities of; None gives all.
        takes_tensors: whether it takes weights from memory, as `bench.engine.TensorEngine` says.
        joins_benchmarks: whether the answers to several benchmarks are generated faster in one list.
        packages: distributions of which one must be installed; its version is part of a record.
        install: how they are installed.
        supports: whether `auto` takes it for a checkpoint, on the device that the settings name or mean;
            None: never before the fallback.
        fallback: whether it is taken where no other supports a checkpoint, and for what another cannot do.
        abilities: what it does on this machine.
    """

    name: str
    summary: str
    open: Callable[..., Any]
    recorded: bool = False
    served: bool = False
    settings: frozenset[str] = frozenset()
    dtypes: Collection[str] = ("auto", "float32", "bfloat16", "float16")
    encoder_decoders: bool = False
    several_gpus: bool = False
    max_logprobs: int | None = None
    takes_tensors: bool = False
    joins_benchmarks: bool = False
    packages: tuple[str, ...] = ()
    install: str = ""
    supports: Callable[[Path, EngineSettings], bool] | None = None
    fallback: bool = False
    abilities: Callable[[], EngineAbilities] = field(default=EngineAbilities)

    @property
    def installed(self) -> str | None:
        """The distribution that it runs on; None where it needs one and none is installed."""
        for package in self.packages:
            try:
                version(package)
            except PackageNotFoundError:
                continue
            return package
        return None

    @property
    def all_settings(self) -> tuple[str, ...]:
        """The fields of `EngineSettings` that it takes."""
        taken = self.settings if self.recorded or self.served else _EVERY_ENGINE | self.settings
        return tuple(name for name in EngineSettings.model_fields if name in taken or name == "name")

    @property
    def is_usable(self) -> bool:
        """Whether what it needs is installed."""
        return not self.packages or self.installed is not None

    @property
    def declared(self) -> dict[str, bool]:
        """What it does and does not do anywhere, in words for people."""
        return {
            "encoder-decoder models": self.encoder_decoders,
            "several GPUs for one checkpoint": self.several_gpus,
            "whole next-token distributions": self.max_logprobs is None,
        }

    def top_k(self, wanted: int | None) -> int | None:
        """So many of the likeliest tokens as are wanted and it tells; None is all."""
        if self.max_logprobs is None:
            return wanted
        return min(wanted or self.max_logprobs, self.max_logprobs)

    def check(self, settings: EngineSettings) -> None:
        """Refuse settings that it does not take.

        Raises:
            InputError: names the setting, and the engines that take it.
        """
        for name, field_info in EngineSettings.model_fields.items():
            if name not in self.all_settings and getattr(settings, name) != field_info.default:
                others = [kind.name for kind in engines().values() if name in kind.all_settings]
                flag = "url" if name == "server" else name.replace("_", "-")
                raise InputError(
                    f"The engine {self.name} has no setting {name} (--{flag}): leave it "
                    f"out, or take an engine that has it ({', '.join(others)})."
                )
        if self.served and settings.server is None:
            raise InputError(
                f"The engine {self.name} needs the address of a server (--url http://HOST:PORT/v1)."
            )
        if settings.dtype not in self.dtypes and not self.recorded:
            raise InputError(
                f"The engine {self.name} does not compute in {settings.dtype}; there are "
                f"{', '.join(self.dtypes)}."
            )

    def settings_for(self, settings: EngineSettings) -> EngineSettings:
        """The same settings for this engine; those that it does not take have their defaults."""
        kept = {name: value for name, value in settings if name in self.all_settings}
        return EngineSettings(**{**kept, "name": self.name})


_Opened = TypeVar("_Opened", bound=Callable[..., Any])
_engines: dict[str, EngineKind] = {}


def engine(name: str, summary: str, **declared: Any) -> Callable[[_Opened], _Opened]:
    """Register what opens an engine under a name; the fields of `EngineKind` say what it can do."""

    def register(opens: _Opened) -> _Opened:
        _engines[name] = EngineKind(name, summary, opens, **declared)
        return opens

    return register


@functools.cache
def _files() -> tuple[str, ...]:
    """Names of the engines in `bench/engines/`."""
    import bench.engines

    return tuple(module.name for module in pkgutil.iter_modules(bench.engines.__path__))


def engine_names() -> tuple[str, ...]:
    """Names of all engines."""
    return tuple(dict.fromkeys((*_files(), *_engines)))


def find_engine(name: str) -> EngineKind:
    """An engine's declaration by name.

    Raises:
        InputError: there is no such engine.
    """
    if name not in engine_names():
        raise InputError(f"There is no engine '{name}'; there are {', '.join((*engine_names(), AUTO))}.")
    if name not in _engines:
        importlib.import_module(f"bench.engines.{name}")
    return _engines[name]


def engines() -> dict[str, EngineKind]:
    """The declarations of all engines by name."""
    return {name: find_engine(name) for name in engine_names()}


def refuse_served(settings: EngineSettings, what: str) -> None:
    """Refuse an engine that asks a server, where checkpoints are to be run.

    Raises:
        InputError: says what needs them.
    """
    if settings.name != AUTO and find_engine(settings.name).served:
        raise InputError(f"{what} several checkpoints, and a server has one model: take another engine.")


def fallback(settings: EngineSettings) -> EngineSettings:
    """The settings for the engine that does what others cannot, such as whole distributions."""
    return next(kind for kind in engines().values() if kind.fallback).settings_for(settings)


def choose_engine(settings: EngineSettings, checkpoints: Sequence[Path]) -> EngineSettings:
    """The same settings with `auto` replaced by an engine that runs every checkpoint.

    Raises:
        InputError: the engine that is named does not exist or does not take a setting.
    """
    if settings.name != AUTO:
        find_engine(settings.name).check(settings)
        return settings
    for kind in engines().values():
        if kind.supports and kind.is_usable and all(kind.supports(path, settings) for path in checkpoints):
            return kind.settings_for(settings)
    return fallback(settings)


def resolve_device(settings: EngineSettings) -> str:
    """The device that settings name, with `auto` replaced by what it means on this machine."""
    if settings.device != "auto":
        return settings.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def resolved(settings: EngineSettings) -> EngineSettings:
    """The same settings with `auto` replaced by what it means on this machine.

    The engine is the fallback where `choose_engine` chose none. On a GPU the dtype stays `auto`, the
    checkpoint's own, which the digest of its weights tells.
    """
    if settings.name == AUTO:
        settings = fallback(settings)
    kind = find_engine(settings.name)
    if kind.recorded:
        # No dtype of a computation: nothing computes recorded outputs.
        return EngineSettings.model_construct(name=settings.name, dtype="none", device="none")  # type: ignore[arg-type]
    if kind.served:
        told: dict[str, Any] = {"dtype": SERVERS, "device": SERVERS, "server": settings.server}
        return EngineSettings.model_construct(name=kind.name, max_length=settings.max_length, **told)
    device = resolve_device(settings)
    dtype = "float32" if settings.dtype == "auto" and device == "cpu" else settings.dtype
    return settings.but(device=device, dtype=dtype)


def open_engine(checkpoint: Path, settings: EngineSettings) -> Engine:
    """Start an engine with a checkpoint.

    Raises:
        InputError: no such engine, it is not installed, or the checkpoint cannot be loaded.
    """
    settings = choose_engine(settings, [checkpoint])
    kind = find_engine(settings.name)
    if kind.recorded:
        raise InputError(f"The engine '{kind.name}' answers from recorded outputs and runs no checkpoint.")
    if not kind.is_usable:
        raise InputError(f"The engine {kind.name} is not installed: {kind.install}.")
    running: Engine = kind.open(checkpoint, resolved(settings))
    return running
