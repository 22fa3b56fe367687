"""Reading a checkpoint's configuration, tokenizer and tensors, with errors that name it."""

import copy
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
import transformers.utils
from safetensors import SafetensorError, safe_open

import bench.lean  # noqa: F401
from results.errors import InputError
from results.weights import refuse_no_weights, refuse_unfilled, stored_dtypes

_UNLIMITED = 10**9  # tokenizers without a limit report a huge model_max_length
_DEFAULT_MAX_LENGTH = 2048


@contextmanager
def named_errors(checkpoint: Path) -> Iterator[None]:
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


def load_config(checkpoint: Path) -> Any:
    """A checkpoint's configuration.

    Raises:
        InputError: it is not there or not understood.
    """
    with named_errors(checkpoint):
        return transformers.AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)


def family(config: Any) -> Any:
    """The class of transformers that loads models of a configuration."""
    return (
        transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    )


def refuse_unfit(checkpoint: Path, config: Any) -> None:
    """Refuse a checkpoint whose tensors are no weights, or not those of the model in config.json.

    Judged by the headers of its files before an engine reads a byte, with transformers' own knowledge of
    names that changed, that tie and that nobody reads. What a quantised checkpoint must hold is for its
    reader to say.

    Raises:
        InputError: names the tensor.
    """
    files = _weight_files(checkpoint)
    dtypes = stored_dtypes(files)
    refuse_no_weights(checkpoint, dtypes, config.to_dict())
    if getattr(config, "quantization_config", None):
        return
    with named_errors(checkpoint):
        model, loading = family(config).from_pretrained(
            checkpoint,
            config=copy.deepcopy(config),
            device_map="meta",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named
        )
    refuse_unfilled(checkpoint, loading)
    if getattr(config, "tie_word_embeddings", False):
        ties = getattr(model, "all_tied_weights_keys", None) or {}
        _refuse_unequal(checkpoint, {a: b for a, b in ties.items() if a in dtypes and b in dtypes})


def _refuse_unequal(checkpoint: Path, ties: Mapping[str, str]) -> None:
    """Refuse two tensors that the configuration ties, which engines would choose between as they like."""
    if not ties:
        return
    tensors = dict(stored_tensors(checkpoint, {*ties, *ties.values()}))
    for duplicate, table in ties.items():
        if not torch.equal(tensors[duplicate], tensors[table]):
            raise InputError(
                f"{checkpoint}: tensor {duplicate!r} differs from {table!r}, though config.json ties the "
                'two; set "tie_word_embeddings": false there if both are meant, or save the model again.'
            )


def _weight_files(checkpoint: Path) -> list[Path]:
    index = checkpoint / "model.safetensors.index.json"
    if (checkpoint / "model.safetensors").is_file() or not index.is_file():
        return sorted(checkpoint.glob("model.safetensors"))
    try:
        shards = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{index} has no weight_map from tensor names to shard names; download it again."
        ) from error
    return [checkpoint / shard for shard in sorted(shards)]


def load_tokenizer(checkpoint: Path) -> Any:
    """A checkpoint's tokenizer.

    Raises:
        InputError: it is not there or not understood.
    """
    with named_errors(checkpoint):
        return transformers.AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)


def load_generation_config(checkpoint: Path, config: Any) -> Any:
    """What a checkpoint says of generation, or what follows from its configuration."""
    if (checkpoint / "generation_config.json").is_file():
        with named_errors(checkpoint):
            return transformers.GenerationConfig.from_pretrained(checkpoint)
    return transformers.GenerationConfig.from_model_config(config)


def end_tokens(tokenizer: Any, generation_config: Any) -> frozenset[int]:
    """The tokens that end an answer."""
    ends = generation_config.eos_token_id
    found = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
    return frozenset(found - {None})


def max_length(config: Any, tokenizer: Any) -> int:
    """Longest sequence in tokens that a checkpoint is made for."""
    for key in ("n_positions", "max_position_embeddings", "n_ctx", "max_sequence_length"):
        value = getattr(config.get_text_config(), key, None)
        if value:
            return int(value)
    limit = tokenizer.model_max_length
    return int(limit) if limit and limit < _UNLIMITED else _DEFAULT_MAX_LENGTH


def architecture(config: Any) -> dict[str, Any]:
    """What two checkpoints must have in common for one's weights to be put in the other's place."""
    volatile = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"}
    return {key: value for key, value in config.to_dict().items() if key not in volatile}


def stored_tensors(
    checkpoint: Path, names: Collection[str] | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    """A checkpoint's tensors by name, read one by one.

    Args:
        checkpoint: its folder.
        names: those to read; None reads all.

    Raises:
        InputError: a file is not complete.
    """
    for path in sorted(checkpoint.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    if names is None or name in names:
                        yield name, file.get_tensor(name)
        except SafetensorError as error:
            raise InputError(f"{path} is not a complete safetensors file: {error}.") from error


def refuse_not_finite(checkpoint: Path, name: str, tensor: torch.Tensor) -> None:
    """Let no NaN and no infinity through.

    Raises:
        InputError: the tensor holds one.
    """
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise InputError(f"The checkpoint {checkpoint} holds NaN or infinity in the tensor {name}.")
