"""The engine on transformers: decoder-only and encoder-decoder checkpoints on a CPU or one GPU."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from bench.divergence import Distributions, likeliest
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
from bench.engine_registry import EngineAbilities, engine
from bench.hf.forced import Forced
from bench.hf.generation import generate
from bench.hf.likelihood import Scores, score_documents
from bench.hf.plain import PlainModel
from bench.hf.support import why_not_shared
from bench.sharing import batches, documents
from bench.stopping import finished
from merging.checkpoints.adapter import base_folder
from merging.checkpoints.checkpoint import tensors_of
from merging.checkpoints.peft_models import adapted
from merging.checkpoints.pretrained import (
    architecture,
    end_tokens,
    family,
    load_config,
    load_generation_config,
    load_tokenizer,
    loading,
    max_length,
    padding_of,
    refuse_not_finite,
    refuse_unfit,
)
from results.errors import InputError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What is computed at once should fit into a CPU's caches; an answer adds one token, so many grow together.
_SCORED_AT_ONCE = {"cpu": 1024}
_ANSWERED_AT_ONCE = {"cpu": 32768}
_MOST_AT_ONCE = 16384

logger = logging.getLogger("manyshot.bench")


def _abilities() -> EngineAbilities:
    return EngineAbilities(
        torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        (
            "log-likelihoods with each context and each few-shot prefix computed once; encoder-decoders, "
            "sliding windows and alibi with every context again",
            "generation that shares prefixes and drops what is finished",
            "teacher-forced losses",
            "swaps from a folder, of an adapter too",
        ),
    )


@engine(
    "hf",
    "transformers, on a CPU or one GPU; decoder-only and encoder-decoder models",
    settings=frozenset({"batch_tokens"}),
    encoder_decoders=True,
    takes_tensors=True,
    packages=("transformers",),
    fallback=True,
    abilities=_abilities,
)
class HFEngine:
    """Runs checkpoints with transformers. See `bench.engine.Engine` for the contract."""

    _model: Any
    _plain: Any

    def __init__(self, checkpoint: Path, settings: EngineSettings) -> None:
        self._settings = settings
        scored_at_once = _SCORED_AT_ONCE.get(self._settings.device, _MOST_AT_ONCE)
        self._batch_tokens = self._settings.batch_tokens or scored_at_once
        answered_at_once = _ANSWERED_AT_ONCE.get(self._settings.device, _MOST_AT_ONCE)
        self._answer_tokens = self._settings.batch_tokens or answered_at_once
        self._load(checkpoint)

    def swap(self, checkpoint: Path) -> None:
        """Load another checkpoint: into the model in place where the two have the same tensors."""
        base = base_folder(checkpoint)
        if base is not None:
            self.swap(base)
            self._adapt(checkpoint)
            return
        config, tokenizer = load_config(checkpoint), load_tokenizer(checkpoint)
        refuse_unfit(checkpoint, config)
        tensors = tensors_of(checkpoint)
        if not self._holds(config, tensors):
            self._load(checkpoint)
            return
        self._put(tensors)
        self._use(checkpoint, config, tokenizer)

    def takes(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        """Whether tensors of these names and shapes are all of the model that is loaded."""
        return self._fill(tensors)

    def swap_tensors(self, checkpoint: Path, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put weights in place of those of a checkpoint, of which all else is kept."""
        if self._checkpoint != checkpoint:
            self.swap(checkpoint)
        self._put(tensors)
        self._refuse_not_finite(checkpoint)

    def _put(self, tensors: Mapping[str, torch.Tensor]) -> None:
        parameters = self._model.state_dict(keep_vars=True)
        with torch.no_grad():
            for name, tensor in tensors.items():
                parameters[name].copy_(tensor)

    def generate(
        self, requests: Sequence[GenerationRequest], progress: Progress | None = None
    ) -> list[Generation]:
        """Greedy continuations, in the order of the requests."""
        if not self.is_encoder_decoder:
            refuse_too_long(requests, self.max_length)
        done = _counted(progress, len(requests))
        with torch.inference_mode():
            if not self._shares:
                answers = self._plain.generate(
                    requests, self.tokenizer, self._answer_tokens, self._ends, done
                )
            else:
                answers = generate(
                    self._model,
                    requests,
                    batch_tokens=self._answer_tokens,
                    pad=self._pad,
                    ends=self._ends,
                    decode=self.tokenizer.batch_decode,
                    done=done,
                )
        return [
            finished(tokens, request, self._ends, self.tokenizer)
            for tokens, request in zip(answers, requests, strict=True)
        ]

    def loglikelihood(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> list[Likelihood]:
        """Log-likelihoods of (context, continuation) pairs, in the order given."""
        return [
            Likelihood(float(logprobs.sum(dtype=torch.float64)), bool(greedy.all()), logprobs.numpy())
            for logprobs, greedy in self._scores(pairs, progress)
        ]

    def distributions(
        self,
        pairs: Sequence[tuple[TokenIds, TokenIds]],
        top_k: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[int, Distributions]]:
        """Next-token distributions at every token of each continuation, with the pair's index."""
        cut = cut_to_fit(pairs, self.max_length, has_encoder=self.is_encoder_decoder)
        done = _counted(progress, len(pairs))
        forced = Forced(self._model, self._pad)
        lengths = {i: len(context) + len(tokens) for i, (context, tokens) in enumerate(cut)}
        for batch in batches(lengths, self._batch_tokens):
            with torch.inference_mode():
                rows = forced.rows([cut[i] for i in batch])
            for i, own in zip(batch, rows.split([len(cut[i][1]) for i in batch]), strict=True):
                with torch.inference_mode():  # not over a yield, which would leave the caller in it
                    logprobs = forced.logits(own).log_softmax(-1).cpu()
                if logprobs.isnan().any():
                    raise InputError(not_finite(self._checkpoint))
                yield i, likeliest(logprobs, top_k)
            done(len(batch))

    def close(self) -> None:
        """Free the model."""
        self._model = self._plain = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _scores(self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None) -> list[Scores]:
        refuse_long_continuations(pairs, self.max_length)
        done = _counted(progress, len(pairs))
        with torch.inference_mode():
            if not self._shares:
                scores = self._plain.score(pairs, self.max_length, done)
            else:
                scores = score_documents(
                    self._model,
                    documents(pairs, self.max_length, self._batch_tokens),
                    batch_tokens=self._batch_tokens,
                    pad=self._pad,
                    done=done,
                )
        answers = [scores[i] for i in range(len(pairs))]
        if not all(logprobs.isfinite().all() for logprobs, _ in answers):
            raise InputError(not_finite(self._checkpoint))
        return answers

    def _adapt(self, adapter: Path) -> None:
        """Add an adapter to the weights of its base, which are loaded."""
        attention = self._model.config._attn_implementation
        self._model = adapted(self._model, adapter).eval()
        self._model.config._attn_implementation = attention
        self._plain = PlainModel(self._model, self._plain.pad, self._batch_tokens)
        self._refuse_not_finite(adapter)
        self._checkpoint = adapter

    def _load(self, checkpoint: Path) -> None:
        base = base_folder(checkpoint)
        if base is not None:
            self._load(base)
            self._adapt(checkpoint)
            return
        config, tokenizer = load_config(checkpoint), load_tokenizer(checkpoint)
        self.is_encoder_decoder = bool(config.is_encoder_decoder)
        refuse_unfit(checkpoint, config)
        with loading(checkpoint):
            model = family(config).from_pretrained(
                checkpoint,
                config=config,
                dtype=_DTYPES.get(self._settings.dtype, "auto"),
                trust_remote_code=False,
            )
        try:
            self._model = model.to(self._settings.device).eval()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"The device '{self._settings.device}' cannot be used: {reason}") from error
        self._refuse_not_finite(checkpoint)
        obstacle = why_not_shared(self._model)
        self._shares = obstacle is None
        if obstacle:
            logger.info(
                "%s: every choice is read with its whole context, since %s", checkpoint.name, obstacle
            )
        self._use(checkpoint, config, tokenizer)

    def _use(self, checkpoint: Path, config: Any, tokenizer: Any) -> None:
        """Take over what surrounds the weights that are loaded."""
        self._refuse_not_finite(checkpoint)
        self._checkpoint = checkpoint
        self.tokenizer = tokenizer
        self.max_length = self._settings.max_length or max_length(config, tokenizer)
        own = load_generation_config(checkpoint, config)
        self._ends = end_tokens(tokenizer, own)
        # transformers fills what a call leaves out from here, and answers are to be greedy.
        self._model.generation_config = GenerationConfig(decoder_start_token_id=own.decoder_start_token_id)
        self._pad = padding_of(tokenizer)
        self._plain = PlainModel(self._model, self._pad, self._batch_tokens)

    def _refuse_not_finite(self, checkpoint: Path) -> None:
        for name, value in self._model.state_dict().items():
            refuse_not_finite(checkpoint, name, value)

    def _holds(self, config: Any, tensors: Mapping[str, torch.Tensor]) -> bool:
        """Whether these tensors, under this configuration, fill the model that is loaded, and fit it."""
        if architecture(config) != architecture(self._model.config):
            return False
        if self._settings.dtype == "auto" and config.dtype != self._model.dtype:
            return False
        return self._fill(tensors)

    def _fill(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        """Whether tensors are all of the model's, in name and shape."""
        parameters = self._model.state_dict(keep_vars=True)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if any(name not in parameters or parameters[name].shape != shapes[name] for name in shapes):
            return False
        # A tied tensor is stored once and known to the model by two names.
        filled = {parameters[name].data_ptr() for name in shapes}
        return all(value.data_ptr() in filled for value in parameters.values())


def _counted(progress: Progress | None, total: int) -> Callable[[int], None]:
    """What adds up the numbers of requests answered and reports the sum."""
    so_far = 0

    def done(more: int) -> None:
        nonlocal so_far
        so_far += more
        if progress:
            progress(so_far, total)

    return done
