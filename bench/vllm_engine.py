"""The engine on vLLM: started once for an architecture, its weights swapped in place."""

import contextlib
import gc
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bench.divergence import Distributions
from bench.engine import (
    EngineSettings,
    Generation,
    GenerationRequest,
    Likelihood,
    Progress,
    TokenIds,
    continuation_too_long,
    cut_to_fit,
    not_finite,
    refuse_too_long,
)
from bench.sharing import documents
from bench.stopping import finished
from bench.vllm_questions import MOST_LOGPROBS, Distribution, Scored, questions
from merging.checkpoints.adapter import base_folder
from merging.checkpoints.checkpoint import open_adapter_weights, tensors_of
from merging.checkpoints.peft_models import written_out
from merging.checkpoints.pretrained import (
    architecture,
    end_tokens,
    load_config,
    load_generation_config,
    load_tokenizer,
    max_length,
    refuse_not_finite,
    refuse_unfit,
)
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


class VLLMEngine:
    """Runs decoder-only checkpoints with vLLM. See `bench.engine.Engine` for the contract.

    Attributes:
        starts: how often vLLM was started: for the first checkpoint, and where a swap could not be in place.
    """

    is_encoder_decoder = False

    def __init__(self, checkpoint: Path, settings: EngineSettings) -> None:
        self._settings = settings.resolved()
        self._llm: Any = None
        self._adapters: dict[tuple[Path, int], int] = {}
        self._adapter_room = (0, 0)
        self.starts = 0
        self._check_device()
        self._whole(checkpoint, self._begin)

    def swap(self, checkpoint: Path) -> None:
        """Load another checkpoint: in place where architecture, tensors and vocabulary are the same."""
        self._whole(checkpoint, self._swap)

    def _whole(self, checkpoint: Path, put: Callable[[Path], None]) -> None:
        """Put in a whole model, or the one that an adapter makes of its base.

        vLLM could run the adapter beside its base, but gives no log-probabilities of prompts then.
        """
        base = base_folder(checkpoint)
        if base is None:
            put(checkpoint)
            return
        with written_out(checkpoint, base) as folder:
            put(folder)
        self._checkpoint = checkpoint
        self._from_memory = True

    def _begin(self, checkpoint: Path) -> None:
        config, tokenizer = load_config(checkpoint), load_tokenizer(checkpoint)
        refuse_unfit(checkpoint, config)
        self._open(checkpoint, config, tokenizer)

    def _swap(self, checkpoint: Path) -> None:
        config, tokenizer = load_config(checkpoint), load_tokenizer(checkpoint)
        refuse_unfit(checkpoint, config)
        shapes = _finite_shapes(checkpoint)
        same = (
            architecture(config) == architecture(self._config)
            and (self._settings.dtype != "auto" or config.dtype == self._config.dtype)
            and shapes == self._shapes
            and self._reloads_whole()
            and _decoding(tokenizer) == _decoding(self.tokenizer)
        )
        if not same:
            self.close()
            self._open(checkpoint, config, tokenizer)
            return
        self._reload(weights_path=str(checkpoint))
        self._use(checkpoint, config, tokenizer, shapes)

    def swap_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put weights that are in memory in place of those loaded; configuration and tokenizer stay."""
        if {name: tensor.shape for name, tensor in tensors.items()} != self._shapes:
            raise InputError(
                "The tensors are not those of the checkpoint that is loaded, or of other shapes."
            )
        if not self._in_this_process:
            raise InputError(
                "vLLM runs in another process, which takes weights from files only: write the checkpoint to "
                "a folder, in memory where that matters, and swap that."
            )
        for name, tensor in tensors.items():
            refuse_not_finite(Path("in memory"), name, tensor)
        self._reload(weights_iterator=iter(tensors.items()))
        self._from_memory = True

    def generate(
        self, requests: Sequence[GenerationRequest], progress: Progress | None = None
    ) -> list[Generation]:
        """Greedy continuations, in the order of the requests; adapters are loaded beside the checkpoint."""
        from vllm import SamplingParams

        refuse_too_long(requests, self.max_length)
        adapted = [i for i, request in enumerate(requests) if request.adapter]
        if self._settings.device == "cpu" and 0 < len(adapted) < len(requests):
            # On a CPU vLLM gives the prompts without an adapter that of its last place.
            bare = [i for i, request in enumerate(requests) if not request.adapter]
            parts = [self.generate([requests[i] for i in part], progress) for part in (bare, adapted)]
            answers = dict(zip([*bare, *adapted], [*parts[0], *parts[1]], strict=True))
            return [answers[i] for i in range(len(requests))]
        loras = self._lora_requests([request.adapter for request in requests])
        parameters = [
            SamplingParams(
                max_tokens=request.max_new_tokens,
                temperature=0.0,
                stop=list(request.stop) or None,
                stop_token_ids=sorted(self._ends),
                ignore_eos=True,
                skip_special_tokens=False,
                detokenize=bool(request.stop),
            )
            for request in requests
        ]
        outputs = self._run([request.prompt for request in requests], parameters, loras, progress)
        return [
            finished(list(output.outputs[0].token_ids), request, self._ends, self.tokenizer)
            for output, request in zip(outputs, requests, strict=True)
        ]

    def loglikelihood(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> list[Likelihood]:
        """Log-likelihoods of (context, continuation) pairs, in the order given."""
        return [Likelihood(float(one.logprobs.sum()), one.greedy) for one in self._scores(pairs, progress)]

    def token_logprobs(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> list[np.ndarray]:
        """Log-probability of every token of each continuation, given all before it."""
        return [one.logprobs.astype(np.float32) for one in self._scores(pairs, progress)]

    def distributions(
        self,
        pairs: Sequence[tuple[TokenIds, TokenIds]],
        top_k: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[int, Distributions]]:
        """Next-token distributions at every token of each continuation, with the pair's index."""
        if top_k is None or top_k > MOST_LOGPROBS:
            raise InputError(
                f"vLLM gives the {MOST_LOGPROBS} likeliest tokens at most: ask for so many (--top-k), or "
                "take --engine hf for whole distributions."
            )
        asked = [
            Distribution(context, tokens, top_k)
            for context, tokens in cut_to_fit(pairs, self.max_length, has_encoder=False)
        ]
        outputs = self._run(
            [one.prompt for one in asked], [one.parameters() for one in asked], None, progress
        )
        for i, (question, output) in enumerate(zip(asked, outputs, strict=True)):
            found = question.answer(output)
            if found.logprobs.isnan().any():
                raise InputError(not_finite(self._checkpoint))
            yield i, found

    def close(self) -> None:
        """Stop vLLM, with whatever processes it has, and give torch back as it was."""
        llm, self._llm = self._llm, None
        if llm is None:
            return
        try:
            llm.llm_engine.engine_core.shutdown()
        finally:
            del llm
            gc.collect()
            torch.set_num_threads = _SET_NUM_THREADS
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _scores(self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None) -> list[Scored]:
        longest = max((len(continuation) for _, continuation in pairs), default=0)
        if longest > self.max_length:
            raise InputError(continuation_too_long(longest, self.max_length))
        asked = [
            question
            for document in documents(pairs, self.max_length)
            for question in questions(document.context, document.continuations, document.asked)
        ]
        outputs = self._run(
            [one.prompt for one in asked], [one.parameters() for one in asked], None, progress
        )
        scores: dict[int, Scored] = {}
        for question, output in zip(asked, outputs, strict=True):
            scores |= question.answers(output)
        if not all(np.isfinite(one.logprobs).all() for one in scores.values()):
            raise InputError(not_finite(self._checkpoint))
        return [scores[i] for i in range(len(pairs))]

    def _run(
        self,
        prompts: Sequence[TokenIds],
        parameters: Sequence[Any],
        loras: Sequence[Any] | None,
        progress: Progress | None,
    ) -> list[Any]:
        if not prompts:
            return []
        if self._llm is None:
            raise InputError(f"vLLM was stopped over an earlier error: open {self._checkpoint} anew.")
        tokens = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        bar = _bar_of(progress) if progress else False
        try:
            return self._llm.generate(tokens, list(parameters), lora_request=loras, use_tqdm=bar)
        except BaseException as error:
            # What was not answered would be answered beside what is asked next.
            self.close()
            if not isinstance(error, Exception):
                raise
            reason = " ".join(str(error).split())
            raise InputError(
                f"vLLM cannot run {self._checkpoint} here: {reason}; use --engine hf."
            ) from error

    def _open(self, checkpoint: Path, config: Any, tokenizer: Any) -> None:
        if config.is_encoder_decoder:
            raise InputError(f"vLLM runs no encoder-decoder such as {checkpoint}: score it with --engine hf.")
        self._use(checkpoint, config, tokenizer, _finite_shapes(checkpoint))
        made_for = max_length(config, tokenizer)
        if self.max_length > made_for:
            raise InputError(
                f"The checkpoint {checkpoint} is made for {made_for} tokens: lower the maximum length "
                f"of {self.max_length} (--max-length)."
            )
        self._start()

    def _use(self, checkpoint: Path, config: Any, tokenizer: Any, shapes: dict[str, torch.Size]) -> None:
        self._checkpoint, self._config, self._shapes = checkpoint, config, shapes
        self._from_memory = False
        self.tokenizer = tokenizer
        self.max_length = self._settings.max_length or max_length(config, tokenizer)
        self._ends = end_tokens(tokenizer, load_generation_config(checkpoint, config))

    def _start(self) -> None:
        with _without_llvmlite(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks at what torch deprecates
            from vllm import LLM

        logging.getLogger("vllm").setLevel(logging.ERROR)
        adapters, rank = self._adapter_room
        share = self._settings.memory_share
        options: dict[str, Any] = {"gpu_memory_utilization": share} if share else {}
        if share is None and self._settings.device == "cpu":
            options["kv_cache_memory_bytes"] = _CPU_CACHE
        if self._settings.dtype != "float32":
            # Logits rounded to 8 bits tie where the model decides.
            options["hf_overrides"] = {"head_dtype": "float32"}
        if adapters:
            options |= {"enable_lora": True, "max_loras": adapters, "max_lora_rank": rank}
        try:
            with _without_llvmlite(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it uses what torch deprecates
                self._llm = LLM(
                    model=str(self._checkpoint),
                    dtype=self._settings.dtype,
                    max_model_len=self.max_length + 1,
                    tensor_parallel_size=self._settings.tensor_parallel,
                    enforce_eager=self._settings.device == "cpu",
                    seed=0,
                    disable_log_stats=True,
                    use_tqdm_on_load=False,
                    trust_remote_code=False,
                    **options,
                )
        except (ValueError, RuntimeError, OSError, AssertionError) as error:
            torch.set_num_threads = _SET_NUM_THREADS
            raise InputError(self._why_not_started(error)) from error
        self.starts += 1

    def _why_not_started(self, error: Exception) -> str:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "are not supported for now" in reason or "failed to be inspected" in reason:
            names = ", ".join(self._config.architectures or ())
            return f"vLLM does not support the architecture {names} of {self._checkpoint}: use --engine hf."
        if "KV cache" in reason or "kv cache" in reason or "cache blocks" in reason or "memory" in reason:
            return (
                f"There is too little memory for {self._checkpoint} and a key-value cache of "
                f"{self.max_length} tokens: lower the maximum length (--max-length) or raise the share of "
                "memory (--memory-share)."
            )
        return f"vLLM cannot start with {self._checkpoint}: {reason}"

    @property
    def _in_this_process(self) -> bool:
        return os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0" and self._settings.tensor_parallel == 1

    def _reloads_whole(self) -> bool:
        """Whether a reload reaches every weight: a tied head's copy on a CPU must be in this process."""
        tied = self._config.get_text_config().tie_word_embeddings
        return self._in_this_process or self._settings.device != "cpu" or not tied

    def _reload(self, **weights: Any) -> None:
        with contextlib.redirect_stderr(io.StringIO()):  # a bar
            self._llm.collective_rpc("reload_weights", kwargs=weights)
        if self._settings.device == "cpu" and self._config.get_text_config().tie_word_embeddings:
            self._llm.apply_model(_pack_tied_heads)
        # What was computed with the old weights must not answer for the new ones.
        self._llm.reset_prefix_cache()

    def _lora_requests(self, adapters: Sequence[Path | None]) -> list[Any] | None:
        """What tells vLLM which adapter a prompt is for; it is started anew where it has no room for them."""
        wanted = sorted({adapter for adapter in adapters if adapter})
        if not wanted:
            return None
        from vllm.lora.request import LoRARequest

        needed = (len(wanted), max(map(_rank, wanted)))
        if any(room < need for room, need in zip(self._adapter_room, needed, strict=True)):
            if self._from_memory:
                raise InputError(
                    "Adapters need vLLM to start anew, with weights from a folder, not from memory."
                )
            self._adapter_room = (max(needed[0], self._adapter_room[0]), _allowed_rank(needed[1]))
            self.close()
            self._start()
        requests: dict[Path | None, Any] = {None: None}
        for adapter in wanted:
            # Weights that were written over under the same name are another adapter.
            weights = adapter / "adapter_model.safetensors"
            open_adapter_weights(weights)
            changed = weights.stat().st_mtime_ns
            number = self._adapters.setdefault((adapter, changed), len(self._adapters) + 1)
            requests[adapter] = LoRARequest(f"{adapter.name}-{number}", number, str(adapter))
        return [requests[adapter] for adapter in adapters]

    def _check_device(self) -> None:
        kind = _device_kind()
        if self._settings.device != kind:
            raise InputError(
                f"The vLLM that is installed runs on {kind}, not on '{self._settings.device}'"
                + (": CUDA_VISIBLE_DEVICES chooses among GPUs." if kind == "cuda" else ".")
            )


def serves(checkpoint: Path, settings: EngineSettings) -> bool:
    """Whether the vLLM that is installed runs a checkpoint on a GPU with these settings."""
    config = load_config(checkpoint)
    if config.is_encoder_decoder or _device_kind() == "cpu":
        return False
    made_for = max_length(config, load_tokenizer(checkpoint))
    if settings.max_length is not None and settings.max_length > made_for:
        return False
    from vllm import ModelRegistry

    return bool(set(ModelRegistry.get_supported_archs()).intersection(config.architectures or ()))


@contextlib.contextmanager
def _without_llvmlite() -> Iterator[None]:
    """Hide llvmlite, which numba has loaded: vLLM looks into every module, and fails over its functions."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("llvmlite")}
    try:
        yield
    finally:
        sys.modules.update(hidden)


def _device_kind() -> str:
    """What the vLLM that is installed runs on; its first import, in the environment that it needs."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings(), _without_llvmlite():
        warnings.simplefilter("ignore")  # it looks at what torch deprecates
        try:
            from vllm.platforms import current_platform
        except ImportError as error:
            raise InputError(f"vLLM is installed but cannot be imported: {error}") from error
    return "cpu" if current_platform.is_cpu() else "cuda"


def _pack_tied_heads(model: Any) -> None:
    """Pack the output embeddings anew: on a CPU a tied head is a copy, which a reload leaves as it was."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for layer in model.modules():
        if isinstance(layer, ParallelLMHead):
            layer.quant_method.process_weights_after_loading(layer)


def _finite_shapes(checkpoint: Path) -> dict[str, torch.Size]:
    """Shapes of a checkpoint's tensors by name, each looked through for NaN and infinity."""
    shapes = {}
    for name, tensor in tensors_of(checkpoint).items():
        refuse_not_finite(checkpoint, name, tensor)
        shapes[name] = tensor.shape
    return shapes


def _decoding(tokenizer: Any) -> tuple[Any, ...]:
    """What vLLM's own copy of a tokenizer is for: tokens to text, where it looks for stop strings."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    whole = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
    return whole, tuple(tokenizer.all_special_ids)


def _rank(adapter: Path) -> int:
    from peft import PeftConfig

    try:
        return int(PeftConfig.from_pretrained(str(adapter)).r)
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{adapter} is no LoRA adapter: {error}") from error


def _allowed_rank(rank: int) -> int:
    """The least maximal rank that vLLM allows."""
    return next((allowed for allowed in (1, 8, 16, 32, 64, 128, 256, 320, 512) if allowed >= rank), rank)


def _bar_of(progress: Progress) -> Any:
    """A class in the form of tqdm that reports to ours and draws nothing."""

    class Bar(tqdm):
        def __init__(self, iterable: Any = None, *_: Any, total: int | None = None, **__: Any) -> None:
            super().__init__(iterable, total=total, file=io.StringIO())

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            progress(int(self.n), int(self.total or 0))
            return shown

    return Bar
