"""The engine on transformers: decoder-only and encoder-decoder checkpoints, batched, longest first."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open

from bench.engine import EngineSettings, Generation, GenerationRequest, Likelihood, Progress, TokenIds
from results.errors import InputError

_Input = tuple[tuple[int, ...], tuple[int, ...]]
"""What a model reads: encoder and decoder tokens, or all tokens and none."""
_Asked = list[tuple[int, TokenIds]]
"""Which pairs an input answers for, and the continuations that are scored."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_UNLIMITED = 10**9  # tokenizers without a limit report a huge model_max_length
_DEFAULT_MAX_LENGTH = 2048


class HFEngine:
    """Runs checkpoints with transformers. See `bench.engine.Engine` for the contract."""

    _model: Any

    def __init__(self, checkpoint: Path, settings: EngineSettings) -> None:
        self._settings = settings.resolved()
        if self._settings.dtype not in (*_DTYPES, "auto"):
            raise InputError(
                f"The dtype '{settings.dtype}' is unknown; there are {', '.join(_DTYPES)} and auto."
            )
        self._load(checkpoint)

    def swap(self, checkpoint: Path) -> None:
        """Load another checkpoint: into the model in place where the two have the same tensors."""
        with _named_errors(checkpoint):
            config = transformers.AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
            tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
        tensors = dict(_stored_tensors(checkpoint))
        if not self._holds(config, tensors):
            self._load(checkpoint)
            return
        parameters = self._model.state_dict(keep_vars=True)
        with torch.no_grad():
            for name, tensor in tensors.items():
                parameters[name].copy_(tensor)
        self._refuse_what_is_not_finite(checkpoint)
        self.tokenizer = tokenizer
        self.max_length = self._settings.max_length or _max_length(config, self.tokenizer)
        if (checkpoint / "generation_config.json").is_file():
            self._model.generation_config = transformers.GenerationConfig.from_pretrained(checkpoint)
        else:
            self._model.generation_config = transformers.GenerationConfig.from_model_config(config)

    @torch.inference_mode()
    def generate(
        self, requests: Sequence[GenerationRequest], progress: Progress | None = None
    ) -> list[Generation]:
        """Greedy continuations, in the order of the requests."""
        answers: dict[int, Generation] = {}
        shared = {(request.max_new_tokens, request.stop) for request in requests}
        for max_new_tokens, stop in sorted(shared):
            members = [
                i for i, r in enumerate(requests) if (r.max_new_tokens, r.stop) == (max_new_tokens, stop)
            ]
            room = 0 if self.is_encoder_decoder else max_new_tokens
            lengths = {i: len(requests[i].prompt) + room for i in members}
            for batch in _batches(lengths, self._settings.batch_tokens):
                texts = self._generate_batch([requests[i].prompt for i in batch], max_new_tokens, stop)
                answers |= dict(zip(batch, texts, strict=True))
                if progress:
                    progress(len(answers), len(requests))
        return [answers[i] for i in range(len(requests))]

    @torch.inference_mode()
    def loglikelihood(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> list[Likelihood]:
        """Log-likelihoods of (context, continuation) pairs, in the order given.

        A sequence longer than `max_length` loses tokens from its left.

        Raises:
            InputError: a continuation alone is longer than that.
        """
        longest = max((len(continuation) for _, continuation in pairs), default=0)
        if longest > self.max_length:
            raise InputError(f"A choice of {longest} tokens does not fit into {self.max_length} tokens.")
        if self.is_encoder_decoder:
            inputs = [
                (tuple(context[-self.max_length :]), tuple(continuation)) for context, continuation in pairs
            ]
            score = self._score_decoder
        else:
            # The last token of a pair predicts nothing.
            inputs = [(tuple([*a, *b][-(self.max_length + 1) :][:-1]), ()) for a, b in pairs]
            score = self._score_causal
        # Choices of one token share their input, so one row answers for all of them.
        sharing: dict[_Input, list[int]] = {}
        for index, row in enumerate(inputs):
            sharing.setdefault(row, []).append(index)
        rows = list(sharing)
        answers: dict[int, Likelihood] = {}
        lengths = {i: len(encoded) + len(decoded) for i, (encoded, decoded) in enumerate(rows)}
        for batch in _batches(lengths, self._settings.batch_tokens):
            asked = [[(index, pairs[index][1]) for index in sharing[rows[i]]] for i in batch]
            answers |= score([rows[i] for i in batch], asked)
            if progress:
                progress(len(answers), len(pairs))
        return [answers[i] for i in range(len(pairs))]

    def close(self) -> None:
        """Free the model."""
        del self._model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _load(self, checkpoint: Path) -> None:
        dtype = _DTYPES.get(self._settings.dtype, "auto")
        with _named_errors(checkpoint):
            config = transformers.AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
            self.is_encoder_decoder = bool(config.is_encoder_decoder)
            family: Any = (
                transformers.AutoModelForSeq2SeqLM
                if self.is_encoder_decoder
                else transformers.AutoModelForCausalLM
            )
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
            model, loading = family.from_pretrained(
                checkpoint,
                config=config,
                dtype=dtype,
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
        self._forward_arguments = set(inspect.signature(self._model.forward).parameters)
        self.max_length = self._settings.max_length or _max_length(config, self.tokenizer)
        self._refuse_what_is_not_finite(checkpoint)

    def _refuse_what_is_not_finite(self, checkpoint: Path) -> None:
        for name, value in self._model.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                raise InputError(f"The checkpoint {checkpoint} holds NaN or infinity in the tensor {name}.")

    def _holds(self, config: Any, tensors: dict[str, torch.Tensor]) -> bool:
        """Whether these tensors, under this configuration, fill the model that is loaded, and fit it."""
        if _architecture(config) != _architecture(self._model.config):
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

    def _generate_batch(
        self, prompts: list[TokenIds], max_new_tokens: int, stop: tuple[str, ...]
    ) -> list[Generation]:
        ids, mask = self._padded(prompts)
        start = 1 if self.is_encoder_decoder else ids.shape[1]
        stopping = _StopStrings(self.tokenizer, stop, start)
        output = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=self._pad_id,
            stopping_criteria=transformers.StoppingCriteriaList([stopping]) if stop else None,
        )
        return [self._answer(tokens, stop) for tokens in output[:, start:].tolist()]

    def _answer(self, tokens: list[int], stop: tuple[str, ...]) -> Generation:
        ends = self._model.generation_config.eos_token_id
        ends = {self.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        length = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
        while (
            length and tokens[length - 1] == self._pad_id
        ):  # the batch went on after this answer had stopped
            length -= 1
        text = self.tokenizer.decode(tokens[:length], skip_special_tokens=True)
        return Generation(_cut(text, stop), length)

    def _score_causal(self, rows: list[_Input], asked: list[_Asked]) -> dict[int, Likelihood]:
        # Padding on the left puts all scored positions at the end, so that the head runs on no others.
        longest = max(len(continuation) for row in asked for _, continuation in row)
        ids, mask = self._padded([row for row, _ in rows])
        arguments: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        if "position_ids" in self._forward_arguments:
            arguments["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        if "logits_to_keep" in self._forward_arguments:
            arguments["logits_to_keep"] = longest
        logits = self._model(**arguments).logits
        return {
            index: _likelihood(logits[row, logits.shape[1] - len(continuation) :], continuation)
            for row, continuations in enumerate(asked)
            for index, continuation in continuations
        }

    def _score_decoder(self, rows: list[_Input], asked: list[_Asked]) -> dict[int, Likelihood]:
        ids, mask = self._padded([encoded for encoded, _ in rows])
        longest = max(len(decoded) for _, decoded in rows)
        labels = torch.tensor(
            [[*decoded, *[self._pad_id] * (longest - len(decoded))] for _, decoded in rows], device=ids.device
        )
        logits = self._model(input_ids=ids, attention_mask=mask, labels=labels).logits
        return {
            index: _likelihood(logits[row, : len(continuation)], continuation)
            for row, continuations in enumerate(asked)
            for index, continuation in continuations
        }

    def _padded(self, rows: Sequence[TokenIds]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask. Padding goes left of what is continued, and right of what is only read."""
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self._pad_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            start = 0 if self.is_encoder_decoder else width - len(row)
            ids[i, start : start + len(row)] = torch.tensor(row)
            mask[i, start : start + len(row)] = 1
        return ids.to(self._model.device), mask.to(self._model.device)

    @property
    def _pad_id(self) -> int:
        pad, end = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        return pad if pad is not None else end if end is not None else 0


class _StopStrings(transformers.StoppingCriteria):
    """Ends a row whose generated text holds one of the stop strings."""

    def __init__(self, tokenizer: Any, stop: tuple[str, ...], start: int) -> None:
        self._tokenizer, self._stop, self._start = tokenizer, stop, start
        # A token is at least one byte, so the string lies in as many tokens; two more for a split character.
        self._tail = max((len(text.encode()) for text in stop), default=0) + 2

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        tails = input_ids[:, max(self._start, input_ids.shape[1] - self._tail) :]
        texts = self._tokenizer.batch_decode(tails, skip_special_tokens=False)
        done = [any(stop in text for stop in self._stop) for text in texts]
        return torch.tensor(done, device=input_ids.device)


@contextmanager
def _named_errors(checkpoint: Path) -> Iterator[None]:
    """Turn what transformers raises over a checkpoint into one sentence that names it, and hide its bars."""
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"The checkpoint {checkpoint} cannot be loaded: {reason}") from error
    finally:
        if bars:
            transformers.utils.logging.enable_progress_bar()


def _likelihood(logits: torch.Tensor, continuation: TokenIds) -> Likelihood:
    target = torch.tensor(continuation, device=logits.device)
    logits = logits.float()
    logprobs = logits.log_softmax(-1).gather(1, target[:, None])
    return Likelihood(float(logprobs.sum()), bool((logits.argmax(-1) == target).all()))


def _batches(lengths: dict[int, int], budget: int) -> Iterator[list[int]]:
    """Groups of keys, longest first, each at most `budget` tokens with its padding (and at least one key)."""
    batch: list[int] = []
    for key in sorted(lengths, key=lambda key: (-lengths[key], key)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch


def _cut(text: str, stop: tuple[str, ...]) -> str:
    for string in stop:
        text = text.split(string, maxsplit=1)[0]
    return text


def _max_length(config: Any, tokenizer: Any) -> int:
    for key in ("n_positions", "max_position_embeddings", "n_ctx", "max_sequence_length"):
        value = getattr(config.get_text_config(), key, None)
        if value:
            return int(value)
    limit = tokenizer.model_max_length
    return int(limit) if limit and limit < _UNLIMITED else _DEFAULT_MAX_LENGTH


def _architecture(config: Any) -> dict[str, Any]:
    volatile = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"}
    return {key: value for key, value in config.to_dict().items() if key not in volatile}


def _stored_tensors(checkpoint: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for path in sorted(checkpoint.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    yield name, file.get_tensor(name)
        except SafetensorError as error:
            raise InputError(f"{path} is not a complete safetensors file: {error}.") from error
