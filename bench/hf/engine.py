"""The engine on transformers: decoder-only and encoder-decoder checkpoints on a CPU or one GPU."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from bench.engine import (
    EngineSettings,
    Generation,
    GenerationRequest,
    Likelihood,
    Progress,
    TokenIds,
    too_long,
)
from bench.hf.generation import generate
from bench.hf.likelihood import Scores, score_documents
from bench.hf.plain import PlainModel
from bench.hf.stopping import StopStrings
from bench.hf.support import why_not_shared
from bench.pretrained import (
    architecture,
    end_tokens,
    load_config,
    load_generation_config,
    load_tokenizer,
    max_length,
    named_errors,
    refuse_not_finite,
    stored_tensors,
)
from bench.sharing import documents
from results.errors import InputError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What is computed at once should fit into a CPU's caches; an answer adds one token, so many grow together.
_SCORED_AT_ONCE = {"cpu": 1024}
_MOST_AT_ONCE = 16384

logger = logging.getLogger("manyshot.bench")


class HFEngine:
    """Runs checkpoints with transformers. See `bench.engine.Engine` for the contract."""

    joins_benchmarks = False
    _model: Any

    def __init__(self, checkpoint: Path, settings: EngineSettings) -> None:
        self._settings = settings.resolved()
        if self._settings.dtype not in (*_DTYPES, "auto"):
            raise InputError(
                f"The dtype '{settings.dtype}' is unknown; there are {', '.join(_DTYPES)} and auto."
            )
        scored_at_once = _SCORED_AT_ONCE.get(self._settings.device, _MOST_AT_ONCE)
        self._batch_tokens = self._settings.batch_tokens or scored_at_once
        self._load(checkpoint)

    def swap(self, checkpoint: Path) -> None:
        """Load another checkpoint: into the model in place where the two have the same tensors."""
        config, tokenizer = load_config(checkpoint), load_tokenizer(checkpoint)
        tensors = dict(stored_tensors(checkpoint))
        if not self._holds(config, tensors):
            self._load(checkpoint)
            return
        parameters = self._model.state_dict(keep_vars=True)
        with torch.no_grad():
            for name, tensor in tensors.items():
                parameters[name].copy_(tensor)
        self._use(checkpoint, config, tokenizer)

    def generate(
        self, requests: Sequence[GenerationRequest], progress: Progress | None = None
    ) -> list[Generation]:
        """Greedy continuations, in the order of the requests."""
        if any(request.adapter for request in requests):
            raise InputError("The engine hf runs no adapters: merge the adapter into its base, or use vllm.")
        self._refuse_too_long(requests)
        done = _counted(progress, len(requests))
        with torch.inference_mode():
            if not self._shares:
                answers = self._plain.generate(requests, self.tokenizer, done)
            else:
                answers = generate(
                    self._model,
                    requests,
                    batch_tokens=self._settings.batch_tokens or _MOST_AT_ONCE,
                    pad=self._pad,
                    ends=self._ends,
                    decode=self.tokenizer.batch_decode,
                    done=done,
                )
        return [self._answer(tokens, request) for tokens, request in zip(answers, requests, strict=True)]

    def loglikelihood(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> list[Likelihood]:
        """Log-likelihoods of (context, continuation) pairs, in the order given."""
        return [
            Likelihood(float(logprobs.sum(dtype=torch.float64)), bool(greedy.all()))
            for logprobs, greedy in self._scores(pairs, progress)
        ]

    def token_logprobs(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> list[np.ndarray]:
        """Log-probability of every token of each continuation, given all before it."""
        return [logprobs.numpy() for logprobs, _ in self._scores(pairs, progress)]

    def close(self) -> None:
        """Free the model."""
        del self._model, self._plain
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _scores(self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None) -> list[Scores]:
        longest = max((len(continuation) for _, continuation in pairs), default=0)
        if longest > self.max_length:
            raise InputError(
                f"A continuation of {longest} tokens does not fit into {self.max_length}: "
                "raise the maximum length."
            )
        done = _counted(progress, len(pairs))
        with torch.inference_mode():
            if not self._shares:
                scores = self._plain.score(pairs, self.max_length, done)
            else:
                scores = score_documents(
                    self._model,
                    documents(pairs, self.max_length),
                    batch_tokens=self._batch_tokens,
                    pad=self._pad,
                    done=done,
                )
        answers = [scores[i] for i in range(len(pairs))]
        if not all(logprobs.isfinite().all() for logprobs, _ in answers):
            raise InputError(
                f"The checkpoint {self._checkpoint} gives probabilities that are no numbers in "
                f"{self._model.dtype}: its weights are finite, its activations are not: try another dtype."
            )
        return answers

    def _load(self, checkpoint: Path) -> None:
        config, tokenizer = load_config(checkpoint), load_tokenizer(checkpoint)
        self.is_encoder_decoder = bool(config.is_encoder_decoder)
        family: Any = (
            transformers.AutoModelForSeq2SeqLM
            if self.is_encoder_decoder
            else transformers.AutoModelForCausalLM
        )
        with named_errors(checkpoint):
            model, loading = family.from_pretrained(
                checkpoint,
                config=config,
                dtype=_DTYPES.get(self._settings.dtype, "auto"),
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        if loading["missing_keys"]:
            # transformers would go on with random numbers in their place.
            raise InputError(f"The checkpoint {checkpoint} lacks the tensor {min(loading['missing_keys'])}.")
        try:
            self._model = model.to(self._settings.device).eval()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"The device '{self._settings.device}' cannot be used: {reason}") from error
        obstacle = why_not_shared(self._model)
        self._shares = obstacle is None
        if obstacle:
            logger.info(
                "%s: every choice is read with its whole context, since %s", checkpoint.name, obstacle
            )
        self._use(checkpoint, config, tokenizer)

    def _use(self, checkpoint: Path, config: Any, tokenizer: Any) -> None:
        """Take over what surrounds the weights that are loaded."""
        for name, value in self._model.state_dict().items():
            refuse_not_finite(checkpoint, name, value)
        self._checkpoint = checkpoint
        self.tokenizer = tokenizer
        self.max_length = self._settings.max_length or max_length(config, tokenizer)
        self._model.generation_config = load_generation_config(checkpoint, config)
        self._ends = end_tokens(tokenizer, self._model.generation_config)
        pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
        self._pad = pad if pad is not None else end if end is not None else 0
        self._plain = PlainModel(self._model, self._pad, self._batch_tokens)

    def _holds(self, config: Any, tensors: dict[str, torch.Tensor]) -> bool:
        """Whether these tensors, under this configuration, fill the model that is loaded, and fit it."""
        if architecture(config) != architecture(self._model.config):
            return False
        if self._settings.dtype == "auto" and config.dtype != self._model.dtype:
            return False
        parameters = self._model.state_dict(keep_vars=True)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if any(name not in parameters or parameters[name].shape != shapes[name] for name in shapes):
            return False
        # A tied tensor is stored once and known to the model by two names.
        filled = {parameters[name].data_ptr() for name in shapes}
        return all(value.data_ptr() in filled for value in parameters.values())

    def _refuse_too_long(self, requests: Sequence[GenerationRequest]) -> None:
        for request in requests:
            needed = len(request.prompt) + (0 if self.is_encoder_decoder else request.max_new_tokens)
            if needed > self.max_length:
                raise InputError(too_long(len(request.prompt), request.max_new_tokens, self.max_length))

    def _answer(self, tokens: list[int], request: GenerationRequest) -> Generation:
        length = next((i for i, token in enumerate(tokens) if token in self._ends), len(tokens))
        text = self.tokenizer.decode(tokens[:length], skip_special_tokens=True)
        return Generation(StopStrings(request.stop).cut(text), length)


def _counted(progress: Progress | None, total: int) -> Callable[[int], None]:
    """What adds up the numbers of requests answered and reports the sum."""
    so_far = 0

    def done(more: int) -> None:
        nonlocal so_far
        so_far += more
        if progress:
            progress(so_far, total)

    return done
