"""Making the base of the family `glue-lab`: it has read English and met each task, and masters none.

It reads local text: paragraphs of WikiText-2, inputs of five GLUE tasks without labels, and a few with them.
The same settings and rows give the same weights, bit for bit, on the same machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Self

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.examples import ExampleSource, load_examples
from bench.suite import load_suite
from manyshot.lab.base import scratch_trained, with_threads, write_newborn
from manyshot.lab.tokenizer import SPECIAL, as_fast
from merging.examples import Example
from merging.train_settings import TrainSettings

SUITE = "glue-lab"
CONTEXT = 512
PARAGRAPHS = ExampleSource(
    split="validation",
    prompt="",
    completion="{{text}}",
    files={"validation": "text/wikitext2/validation.jsonl"},
    hub="Salesforce/wikitext",
    hub_config="wikitext-2-raw-v1",
    keep="text | trim | length > 80",
)


@dataclass(frozen=True)
class GlueSettings:
    """How the base is made.

    Attributes:
        training: on as many documents as its steps can read.
        vocabulary: tokens of the tokenizer.
        width: of the hidden states.
        layers: transformer blocks.
        tastes: share of the documents that are a task's examples with their labels.
        seed: of the initial weights and of the documents.
        threads: that compute, at most; the weights depend on their number.
    """

    training: TrainSettings = field(
        default_factory=lambda: TrainSettings(
            max_steps=600,
            batch_size=32,
            learning_rate=2e-3,
            warmup_ratio=0.05,
            loss="text",
            max_length=96,
            cpu=True,
        )
    )
    vocabulary: int = 6000
    width: int = 128
    layers: int = 4
    tastes: float = 0.3
    seed: int = 0
    threads: int = 2

    @classmethod
    def smoke(cls) -> Self:
        """A few steps of a narrow model: what is made has the right form and knows nothing."""
        small = cls()
        return replace(small, training=small.training.but(max_steps=2, batch_size=4), width=32, layers=2)


def make_glue_base(out: Path, root: Path | None, settings: GlueSettings | None = None) -> Path:
    """Make the base of `glue-lab`, or find it made.

    Args:
        out: its folder.
        root: local data root, or None for the hub.
        settings: how to make it; the usual ones unless given.

    Raises:
        InputError: rows are missing, or what is already there was made in another way.
    """
    settings = settings or GlueSettings()
    lessons = {
        task: [Example(*pair) for pair in load_examples(of.training, root)]
        for task, of in load_suite(SUITE).tasks.items()
    }
    paragraphs = [completion for _, completion in load_examples([PARAGRAPHS], root)]
    documents = _documents(lessons, paragraphs, settings)
    texts = [*paragraphs, *(one.prompt + one.completion for some in lessons.values() for one in some)]
    with with_threads(settings.threads):
        return scratch_trained(
            lambda folder: _initialise(folder, texts, settings), documents, settings.training, out
        )


def _documents(
    lessons: Mapping[str, Sequence[Example]], paragraphs: Sequence[str], settings: GlueSettings
) -> list[Example]:
    """Paragraphs and inputs in equal parts, and among them examples with their labels."""
    random = Random(f"{SUITE} base {settings.seed}")
    documents = []
    for _ in range((settings.training.max_steps or 1) * settings.training.batch_size):
        drawn = random.random()
        if drawn < (1 - settings.tastes) / 2:
            words = random.choice(paragraphs).split()
            start = random.randrange(max(1, len(words) - 60))
            documents.append(Example("", " ".join(words[start : start + 60])))
            continue
        one = random.choice(lessons[random.choice(list(lessons))])
        # Without its last line, which asks for the answer: the base would learn that none follows.
        documents.append(one if drawn >= 1 - settings.tastes else Example("", one.prompt.rpartition("\n")[0]))
    return documents


def _initialise(folder: Path, texts: Sequence[str], settings: GlueSettings) -> Path:
    tokenizer = build_bpe(texts, settings.vocabulary, CONTEXT)
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=8 * settings.width // 3,
        num_hidden_layers=settings.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.05,
        **ends,
    )
    return write_newborn(folder, LlamaForCausalLM, config, tokenizer, seed=settings.seed, special=ends)


def build_bpe(texts: Sequence[str], size: int, max_length: int) -> PreTrainedTokenizerFast:
    """Build a byte-level BPE tokenizer from texts.

    Args:
        texts: what its merges are learned from.
        size: tokens of the vocabulary.
        max_length: tokens that the model can read.
    """
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return as_fast(backend, max_length)
