"""Reading a checkpoint's configuration, tokenizer and tensors, with errors that name it."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
import transformers.utils
from safetensors import SafetensorError, safe_open

import bench.lean  # noqa: F401
from results.errors import InputError

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


def adapted_base(checkpoint: Path) -> Path | None:
    """The folder of the model that a PEFT adapter is for; None for a whole model.

    Raises:
        InputError: it is an adapter whose base is not on this machine.
    """
    file = checkpoint / "adapter_config.json"
    if not file.is_file() or (checkpoint / "config.json").is_file():
        return None
    try:
        named = json.loads(file.read_bytes())["base_model_name_or_path"]
        for folder in (checkpoint / named, Path(named)):
            if folder.is_dir():
                return folder
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{file} names no base; train or save the adapter again.") from None
    with named_errors(checkpoint):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(named, allow_patterns=["*.safetensors", "*.json", "*.model"]))


@contextmanager
def written_out(adapter: Path, base: Path) -> Iterator[Path]:
    """Give a folder with the whole model that an adapter makes of its base, in memory where there is one.

    Raises:
        InputError: one of the two cannot be loaded.
    """
    from peft import PeftModel

    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as name:
        with named_errors(adapter):
            whole = transformers.AutoModelForCausalLM.from_pretrained(
                base, dtype="auto", use_safetensors=True, trust_remote_code=False
            )
            PeftModel.from_pretrained(whole, str(adapter)).merge_and_unload().save_pretrained(name)
            for file in base.iterdir():
                if file.is_file() and file.suffix in {".json", ".model", ".jinja", ".txt"}:
                    target = Path(name) / file.name
                    if not target.exists() and not file.name.endswith(".index.json"):
                        shutil.copyfile(file, target)
        yield Path(name)


def load_config(checkpoint: Path) -> Any:
    """A checkpoint's configuration.

    Raises:
        InputError: it is not there or not understood.
    """
    with named_errors(checkpoint):
        return transformers.AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)


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


def stored_tensors(checkpoint: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """A checkpoint's tensors by name, read one by one.

    Raises:
        InputError: a file is not complete.
    """
    for path in sorted(checkpoint.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
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
