"""Making the base of the family `t5-lab`: a small T5 that has answered questions on stories and abstracts.

The same settings give the same weights, bit for bit, on the same machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from transformers import T5Config, T5ForConditionalGeneration

from bench.examples import load_examples
from bench.suite import load_suite
from manyshot.lab.base import CONTEXT, scratch_trained, with_threads, write_newborn
from manyshot.lab.corpus import base_examples
from manyshot.lab.tokenizer import build_tokenizer
from merging.examples import Example
from merging.train_settings import TrainSettings


@dataclass(frozen=True)
class T5Settings:
    """How the base is made.

    Attributes:
        training: on as many documents as its steps can read.
        seed: of the initial weights and of the documents.
        threads: that compute, at most; the weights depend on their number.
    """

    training: TrainSettings = field(
        default_factory=lambda: TrainSettings(
            max_steps=1500, batch_size=32, learning_rate=3e-3, warmup_ratio=0.1, cpu=True
        )
    )
    seed: int = 0
    threads: int = 2

    @classmethod
    def smoke(cls) -> Self:
        """A few steps: what is made has the right form and knows nothing."""
        return cls(cls().training.but(max_steps=2, batch_size=4))


def make_t5_base(out: Path, settings: T5Settings | None = None) -> Path:
    """Make the base of `t5-lab`, or find it made.

    Args:
        out: its folder.
        settings: how to make it; the usual ones unless given.

    Raises:
        InputError: what is already there was made in another way.
    """
    settings = settings or T5Settings()
    lessons = {
        task: [Example(*pair) for pair in load_examples(of.training, None)]
        for task, of in load_suite("lab").tasks.items()
    }
    count = (settings.training.max_steps or 1) * settings.training.batch_size
    documents = [
        Example(pair.prompt, pair.completion.strip())
        for pair in base_examples(2 * count, settings.seed, lessons)
        if pair.prompt
    ][:count]
    with with_threads(settings.threads):
        return scratch_trained(
            lambda folder: _initialise(folder, documents, settings.seed), documents, settings.training, out
        )


def _initialise(folder: Path, documents: Sequence[Example], seed: int) -> Path:
    texts = [text for pair in documents for text in (pair.prompt, f" {pair.completion}", pair.completion)]
    tokenizer = build_tokenizer(texts, max_length=CONTEXT)
    ends = {name: getattr(tokenizer, name) for name in ("eos_token_id", "pad_token_id")}
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=128,
        d_kv=32,
        d_ff=384,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=tokenizer.pad_token_id,
        **ends,
    )
    special = {**ends, "decoder_start_token_id": tokenizer.pad_token_id}
    return write_newborn(folder, T5ForConditionalGeneration, config, tokenizer, seed=seed, special=special)
