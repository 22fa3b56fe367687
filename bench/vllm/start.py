"""Starting vLLM: the environment that it needs, what it runs on, and which checkpoints it serves."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bench.engine import EngineSettings, Progress
from bench.engine_registry import resolve_device
from merging.checkpoints.adapter import base_folder
from merging.checkpoints.pretrained import load_config, load_tokenizer, max_length
from results.errors import InputError

_CPU_CACHE = 2 * 2**30  # bytes of key-value cache on a CPU where no share of memory is given
_SET_NUM_THREADS = torch.set_num_threads  # vLLM replaces it on a CPU
_ENVIRONMENT = {
    # In this process: it starts in half the time, takes tensors from memory and leaves nothing behind.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    # One token more than the model reads: the last one of a continuation is predicted and never read.
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1),
}


def start(checkpoint: Path, config: Any, longest: int, settings: EngineSettings) -> Any:
    """Start vLLM with a checkpoint.

    Args:
        checkpoint: its folder.
        config: its configuration.
        longest: most tokens of a sequence.
        settings: how it is run.

    Raises:
        InputError: it does not start; says why.
    """
    with without_llvmlite(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks at what torch deprecates
        from vllm import LLM

    logging.getLogger("vllm").setLevel(logging.ERROR)
    share, on_cpu = settings.memory_share, settings.device == "cpu"
    options: dict[str, Any] = {"gpu_memory_utilization": share} if share else {}
    if share is None and on_cpu:
        options["kv_cache_memory_bytes"] = _CPU_CACHE
    if settings.dtype != "float32":
        # Logits rounded to 8 bits tie where the model decides.
        options["hf_overrides"] = {"head_dtype": "float32"}
    try:
        with without_llvmlite(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses what torch deprecates
            return LLM(
                model=str(checkpoint),
                dtype=settings.dtype,
                max_model_len=longest + 1,
                tensor_parallel_size=settings.tensor_parallel,
                enforce_eager=on_cpu,
                seed=0,
                disable_log_stats=True,
                use_tqdm_on_load=False,
                trust_remote_code=False,
                **options,
            )
    except (ValueError, RuntimeError, OSError, AssertionError) as error:
        give_torch_back()
        raise InputError(_why_not_started(checkpoint, config, longest, error)) from error


def give_torch_back() -> None:
    """Undo what vLLM does to torch on a CPU."""
    torch.set_num_threads = _SET_NUM_THREADS


def _why_not_started(checkpoint: Path, config: Any, longest: int, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    if "are not supported for now" in reason or "failed to be inspected" in reason:
        names = ", ".join(config.architectures or ())
        return f"vLLM does not support the architecture {names} of {checkpoint}: use --engine hf."
    if "KV cache" in reason or "kv cache" in reason or "cache blocks" in reason or "memory" in reason:
        return (
            f"There is too little memory for {checkpoint} and a key-value cache of {longest} tokens: lower "
            "the maximum length (--max-length) or raise the share of memory (--memory-share)."
        )
    return f"vLLM cannot start with {checkpoint}: {reason}"


def supports(checkpoint: Path, settings: EngineSettings) -> bool:
    """Whether the vLLM that is installed runs a checkpoint or adapter with these settings, on a GPU."""
    if resolve_device(settings) != "cuda":
        return False
    folder = base_folder(checkpoint) or checkpoint
    config = load_config(folder)
    if config.is_encoder_decoder or device_kind() == "cpu":
        return False
    made_for = max_length(config, load_tokenizer(folder))
    if settings.max_length is not None and settings.max_length > made_for:
        return False
    from vllm import ModelRegistry

    return bool(set(ModelRegistry.get_supported_archs()).intersection(config.architectures or ()))


@contextlib.contextmanager
def without_llvmlite() -> Iterator[None]:
    """Hide llvmlite, which numba has loaded: vLLM looks into every module, and fails over its functions."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("llvmlite")}
    try:
        yield
    finally:
        sys.modules.update(hidden)


def device_kind() -> str:
    """What the vLLM that is installed runs on; its first import, in the environment that it needs."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings(), without_llvmlite():
        warnings.simplefilter("ignore")  # it looks at what torch deprecates
        try:
            from vllm.platforms import current_platform
        except ImportError as error:
            raise InputError(f"vLLM is installed but cannot be imported: {error}") from error
    return "cpu" if current_platform.is_cpu() else "cuda"


def progress_bar(progress: Progress) -> Any:
    """A class in the form of tqdm that reports to ours and draws nothing."""

    class Bar(tqdm):
        def __init__(self, iterable: Any = None, *_: Any, total: int | None = None, **__: Any) -> None:
            super().__init__(iterable, total=total, file=io.StringIO())

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            progress(int(self.n), int(self.total or 0))
            return shown

    return Bar
