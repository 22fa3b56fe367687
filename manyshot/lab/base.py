"""Making the lab's base, from freshly initialised weights; experts of its tasks are trained from it.

The same settings give the same weights, bit for bit, on the same machine. A base that is there is kept.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from bench.examples import load_examples
from bench.suite import load_suite
from manyshot.lab.corpus import base_examples
from manyshot.lab.tokenizer import build_tokenizer
from merging.checkpoints.pretrained import without_file_bars
from merging.examples import Example
from merging.train_settings import TrainSettings
from merging.training import made_from, train
from results.errors import InputError

SUITE = "lab"
VOCABULARY_DOCUMENTS = 5000
"""Documents of the base from which the tokenizer takes its words."""
CONTEXT = 2048
"""Tokens that the models can read: enough for prompts of real benchmarks, in bytes."""


@dataclass(frozen=True)
class BaseSettings:
    """How the base is made.

    Attributes:
        training: on as many documents as its steps can read.
        seed: seed of the initial weights and of the documents.
        threads: threads that compute, at most; the weights depend on their number.
    """

    training: TrainSettings = field(
        default_factory=lambda: TrainSettings(
            max_steps=800,
            batch_size=32,
            learning_rate=3e-3,
            warmup_ratio=0.1,
            group_by_length=False,
            cpu=True,
        )
    )
    seed: int = 0
    threads: int = 2

    @classmethod
    def smoke(cls) -> Self:
        """A few steps: what is made has the right form and knows nothing."""
        return cls(cls().training.but(max_steps=3, batch_size=4))


def make_base(out: Path, settings: BaseSettings | None = None) -> Path:
    """Make the lab's base, or find it made.

    Args:
        out: its folder.
        settings: how to make it; the usual ones unless given.

    Returns:
        ``out``.

    Raises:
        InputError: what is already there was made in another way.
    """
    settings = settings or BaseSettings()
    suite = load_suite(SUITE)
    lessons: dict[str, list[Example]] = {}
    for task, of in suite.tasks.items():
        if not of.training:
            raise InputError(f"The suite {SUITE} names no training data for the task '{task}'.")
        lessons[task] = [Example(*pair) for pair in load_examples(of.training, None)]
    steps = settings.training.max_steps or 1
    documents = base_examples(steps * settings.training.batch_size, settings.seed, lessons)
    with with_threads(settings.threads):
        return scratch_trained(
            lambda folder: initialise(folder, lessons, settings.seed), documents, settings.training, out
        )


def initialise(folder: Path, lessons: Mapping[str, Sequence[Example]], seed: int) -> Path:
    """Write a checkpoint with random weights, and the tokenizer that all of the family shares.

    Args:
        folder: where to write it.
        lessons: examples of each task, whose words the tokenizer knows.
        seed: seed of the weights.
    """
    read = [example for examples in lessons.values() for example in examples]
    texts = [e.prompt + e.completion for e in [*read, *base_examples(VOCABULARY_DOCUMENTS, 0, lessons)]]
    tokenizer = build_tokenizer(texts, max_length=CONTEXT)
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.06,  # about 0.7/√width; with the customary 0.02 so narrow a model learns late
        **special,
    )
    return write_newborn(folder, LlamaForCausalLM, config, tokenizer, seed=seed, special=special)


def write_newborn(
    folder: Path, kind: Any, config: Any, tokenizer: Any, *, seed: int, special: Mapping[str, int]
) -> Path:
    """Write a checkpoint of random weights that answers greedily.

    Args:
        folder: where to write it.
        kind: the model's class.
        config: its configuration.
        tokenizer: what lies beside it.
        seed: of the weights.
        special: tokens that generation begins, fills up and ends with.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config)
    model.generation_config = GenerationConfig(do_sample=False, **special)
    with without_file_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def scratch_trained(
    initialise: Callable[[Path], Path], examples: Sequence[Example], settings: TrainSettings, out: Path
) -> Path:
    """Train a model of random weights, or find it trained.

    Args:
        initialise: writes it into a folder.
        examples: what it reads.
        settings: how.
        out: where it goes.

    Raises:
        InputError: what is already there was made in another way.
    """
    with tempfile.TemporaryDirectory() as scratch:
        start = initialise(Path(scratch))
        if not out.exists():
            return train(start, examples, settings, out)
        try:
            report = json.loads((out / "training.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            report = {}
        wanted = made_from(start, examples, settings)
    if any(report.get(key) != value for key, value in wanted.items()):
        raise InputError(
            f"{out} was made in another way than is asked for now: name another folder or remove it."
        )
    return out


@contextmanager
def with_threads(number: int) -> Iterator[None]:
    """Compute with that many threads, or fewer where there are fewer cores or torch was given fewer."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(number, before, os.cpu_count() or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
