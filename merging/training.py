"""Supervised fine-tuning, full or LoRA: prompts and completions in, a checkpoint or adapter folder out.

An expert is a base after ``train``; so is a base that starts from freshly initialised weights. Weights are
held and written in float32. The output folder appears only when it is complete, and ``training.json`` in it
says how it was made. A training that was killed resumes from its last save, and ends with the weights that it
would have had, bit for bit on the same machine.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from merging.chat import chat_form
from merging.checkpoints.adapter import Adapter, is_adapter
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.folders import locate
from merging.checkpoints.pretrained import (
    load_config,
    load_model,
    load_tokenizer,
    padding_of,
    unsaveable_generation,
    without_file_bars,
)
from merging.checkpoints.removed import identity_of
from merging.checkpoints.tokenizer_files import copy_tokenizer
from merging.examples import IGNORED, Example, examples_digest, tokenise
from merging.lori import Calibration, calibrate, freeze_projections, train_only
from merging.optimise import is_main, optimise
from merging.staging import SAVES, partial_folder, refuse_existing, resumable
from merging.train_settings import AdapterSettings, TrainSettings
from results.errors import InputError
from results.json_values import cache_key, json_value

TRAINING_VERSION = 2
"""Part of the key of trainings that are kept. To be raised by whatever changes the weights that one gives."""
_PEFTS_INITS = ("gaussian", "orthogonal")
"""Those of the settings that peft has by the same name, and that leave the base as it is."""
_LORI = ("lori_d", "lori_s")
_CALIBRATION = "calibration"
"""In the folder of a training of LoRI-S, while it lasts: the folder of its calibration."""


def train(base: Path, examples: Sequence[Example], settings: TrainSettings, out: Path) -> Path:
    """Train every weight of a checkpoint, or an adapter on it, on examples.

    Args:
        base: folder of the checkpoint to start from, with its tokenizer; or of an adapter to train on.
        examples: what to learn.
        settings: how.
        out: folder to make; it must not exist, and exists only once it is complete.

    Returns:
        ``out``.

    Raises:
        InputError: ``out`` exists, ``base`` is not a whole checkpoint with its tokenizer, no example has a
            token to learn, an encoder-decoder is to learn whole texts, or the loss is no number.
    """
    start = locate(base)
    below = locate(Adapter.open(start).base) if is_adapter(start) else start
    if is_adapter(start) and settings.adapter is None:
        raise InputError(f"{start} is an adapter: say which adapter to train, or start from a whole model.")
    encoder = bool(load_config(Checkpoint.open(below).folder).is_encoder_decoder)
    if encoder and settings.loss == "text":
        raise InputError(
            f"{base} is an encoder-decoder, which learns answers: set the loss to 'completion', not 'text'."
        )
    tokenizer = load_tokenizer(below)
    if tokenizer.eos_token_id is None:
        raise InputError(f"{below}: the tokenizer names no end-of-sequence token, which ends every example.")
    form = chat_form(tokenizer, settings.chat, below)
    encoded = [tokenise(tokenizer, example, settings, form, encoder=encoder) for example in examples]
    # A decoder alone never predicts its first token.
    first = 0 if encoder else 1
    kept = [row for row in encoded if any(label != IGNORED for label in row["labels"][first:])]
    if not kept:
        raise InputError(
            f"{base}: none of the {len(examples)} examples has a token to learn within "
            f"{settings.max_length} tokens; raise max_length"
        )
    made_by = made_from(start, examples, settings)
    key = training_key(made_by)
    started = time.monotonic()
    with _workspace(out, key) as folder, without_file_bars():
        begin = partial(_begun, below, start, settings, of=made_by["examples"])
        fit = partial(optimise, rows=kept, padding=padding_of(tokenizer))
        found = _calibration(begin, fit, settings, folder, out.name)
        model = begin()
        generation = unsaveable_generation(model, below)
        if found is not None:
            train_only(model, found.masks)
        curve = fit(model, settings=settings, folder=folder, title=out.name)
        if is_main():
            report = {
                **made_by,
                "used": len(kept),
                "left_out": len(encoded) - len(kept),
                "loss": curve,
                **({} if found is None else {"calibration_loss": found.loss}),
                "seconds": round(time.monotonic() - started, 3),
                "versions": _versions(),
            }
            model.save_pretrained(folder)
            if generation is not None and settings.adapter is None:
                shutil.copyfile(generation, folder / generation.name)
            (folder / "README.md").unlink(missing_ok=True)  # peft's form of a model card, with nothing in it
            copy_tokenizer(below, folder)
            (folder / "training.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            for unfinished in (SAVES, _CALIBRATION):
                shutil.rmtree(folder / unfinished, ignore_errors=True)
    return out


def made_from(base: Path, examples: Sequence[Example], settings: TrainSettings) -> dict[str, Any]:
    """Return what decides a training's outcome, which ``training.json`` repeats."""
    return {
        "base": identity_of(base).digest,
        "examples": examples_digest(examples),
        "settings": json_value(settings.deciding),
        "version": TRAINING_VERSION,
    }


def training_key(made_by: Mapping[str, Any]) -> str:
    """Return a digest of all that decides a training's bits, from what `made_from` returned."""
    return cache_key([made_by, _versions()])


def _versions() -> dict[str, str]:
    return {"torch": torch.__version__, "transformers": transformers.__version__}


@contextmanager
def _workspace(out: Path, key: str) -> Iterator[Path]:
    """Give the hidden folder that becomes ``out``; of several processes the first makes it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        refuse_existing(out)
        with resumable(out, key) as folder:
            yield folder
        return
    from accelerate import PartialState

    state = PartialState()
    if not is_main():
        state.wait_for_everyone()
        yield partial_folder(out, key)
        state.wait_for_everyone()
        return
    with resumable(out, key) as folder:
        state.wait_for_everyone()
        yield folder
        state.wait_for_everyone()


def _begun(below: Path, start: Path, settings: TrainSettings, *, of: str) -> Any:
    """Return the model that a training starts from, on the whole checkpoint `below`."""
    model = load_model(below)
    if settings.adapter is None:
        return model
    return _adapted(model, below, start if is_adapter(start) else None, settings, of=of)


def _calibration(
    begin: Callable[[], Any],
    fit: Callable[..., list[list[float]]],
    settings: TrainSettings,
    folder: Path,
    title: str,
) -> Calibration | None:
    """Return what LoRI-S trains; None of other trainings, which train all that they have."""
    adapter = settings.adapter
    if adapter is None or adapter.init != "lori_s":
        return None
    rate = adapter.calibration_learning_rate or settings.learning_rate
    first = partial(fit, settings=settings.but(learning_rate=rate), title=f"{title}-calibration")
    return calibrate(
        begin, lambda model, saves: first(model, folder=saves), adapter.density, folder / _CALIBRATION
    )


def _adapted(model: Any, base: Path, start: Path | None, settings: TrainSettings, *, of: str) -> Any:
    """Return a model with an adapter to train: a new one, whose first factors are drawn by the seed, or one
    that was begun. `of` is the examples' digest.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    adapter = settings.adapter
    assert adapter is not None
    targets = adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets)
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        target_modules=targets,
        lora_dropout=adapter.dropout,
        init_lora_weights=adapter.init if adapter.init in _PEFTS_INITS else True,
        task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
        base_model_name_or_path=str(base.resolve()),
    )
    if start is not None:
        begun = Adapter.open(start).config
        for setting in ("r", "lora_alpha", "target_modules", "lora_dropout"):
            own, asked = _comparable(begun.get(setting)), _comparable(getattr(config, setting))
            if own != asked:
                raise InputError(
                    f"{start} is an adapter with {setting} {own}, and {asked} is asked for; "
                    "train on with its own."
                )
        return _trainable(PeftModel.from_pretrained(model, str(start), is_trainable=True), adapter)
    seed = settings.seed if adapter.init not in _LORI else int(cache_key([settings.seed, of])[:8], 16)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _trainable(get_peft_model(model, config), adapter)
    except ValueError as error:
        raise InputError(
            f"{base} cannot be adapted: it has none of the layers {_named(adapter.targets)}; name "
            "its linear layers."
        ) from error


def _trainable(model: Any, adapter: AdapterSettings) -> Any:
    """Return an adapted model, of which A stays as it is where it is not to be trained."""
    if adapter.init in _LORI:
        freeze_projections(model)
    return model


def _named(targets: tuple[str, ...] | str) -> str:
    return targets if isinstance(targets, str) else ", ".join(targets)


def _comparable(setting: Any) -> Any:
    return sorted(setting) if isinstance(setting, list | set | tuple) else setting
