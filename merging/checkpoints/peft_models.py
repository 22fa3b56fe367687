"""Adapters that peft made, loaded as the whole models that they make of their bases."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from merging.checkpoints.adapter import PEFT_PREFIX, WEIGHTS
from merging.checkpoints.checkpoint import open_adapter_weights
from merging.checkpoints.pretrained import load_config, loading, refuse_unfit, unsaveable_generation
from results.errors import InputError


@contextmanager
def written_out(adapter: Path, base: Path) -> Iterator[Path]:
    """Give a folder with the whole model that an adapter makes of its base, in memory where there is one.

    Raises:
        InputError: one of the two cannot be loaded, or the adapter is not whole.
    """
    shared = Path("/dev/shm")
    refuse_unfit(base, load_config(base))
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as name:
        with loading(adapter):
            whole = transformers.AutoModelForCausalLM.from_pretrained(
                base, dtype="auto", trust_remote_code=False
            )
        whole = adapted(whole, adapter)
        with loading(adapter):
            ends = whole.get_input_embeddings(), whole.get_output_embeddings()
            if ends[0].weight is not ends[1].weight:
                whole.config.tie_word_embeddings = False
            generation = unsaveable_generation(whole, base)
            whole.save_pretrained(name)
            if generation is not None:
                shutil.copyfile(generation, Path(name) / generation.name)
            for file in base.iterdir():
                if file.is_file() and file.suffix in {".json", ".model", ".jinja", ".txt"}:
                    target = Path(name) / file.name
                    if not target.exists() and not file.name.endswith(".index.json"):
                        shutil.copyfile(file, target)
        yield Path(name)


def adapted(model: Any, adapter: Path) -> Any:
    """Return the model that an adapter makes of its base, which is written into.

    Where the adapter changes one of two tables that the base ties, the two are apart afterwards, as they are
    when the adapter runs beside its base; peft's own merging would change both.

    Raises:
        InputError: the adapter is no weights, does not fit the base, or is not whole.
    """
    from peft import PeftModel, get_peft_model_state_dict

    file = adapter / WEIGHTS
    stored = open_adapter_weights(file)
    tied = _tied_modules(model)
    # What it warns of, ties and factors that are missing, is seen to here.
    with loading(adapter), warnings.catch_warnings(action="ignore"):
        wrapped = PeftModel.from_pretrained(model, str(adapter))
        asked = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    _refuse_incomplete(file, set(asked), set(stored))
    touched = sorted(name for name in tied if any(f"{PEFT_PREFIX}{name}." in f"{key}." for key in stored))
    if touched:
        if getattr(wrapped.active_peft_config, "ensure_weight_tying", False):
            raise InputError(
                f"{adapter} changes {touched[0]!r}, which its base ties, and asks to keep it tied "
                "(`ensure_weight_tying`); write the adapted model out with peft and score that."
            )
        _untie(wrapped)
    with loading(adapter):
        return wrapped.merge_and_unload()


def _refuse_incomplete(file: Path, asked: set[str], stored: set[str]) -> None:
    """Refuse an adapter that lacks factors that its configuration speaks of, or has more."""
    for name in sorted(asked - stored):
        raise InputError(
            f"{file} lacks the tensor {name!r}, which its configuration asks for; save it again."
        )
    # Beside factors of an embedding peft saves the embedding itself.
    for name in sorted(extra for extra in stored - asked if ".base_layer." not in extra):
        raise InputError(
            f"{file} has the tensor {name!r}, which its configuration does not speak of or its base lacks; "
            "save it again, or name the base that it was trained on."
        )


def _tied_modules(model: Any) -> set[str]:
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(name)
    return {name for names in owners.values() if len(names) > 1 for name in names}


def _untie(model: Any) -> None:
    """Give every module that shares a parameter with an earlier one a copy of its own."""
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                copied = torch.nn.Parameter(parameter.detach().clone(), requires_grad=False)
                setattr(module, name, copied)
            seen.add(id(parameter))
