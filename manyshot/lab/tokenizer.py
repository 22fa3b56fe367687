"""The lab's tokenizer: whole words where it knows them, bytes everywhere else.

It is an ordinary fast tokenizer, saved as ordinary files. Any text comes back from it exactly.
"""

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
SPECIAL = (PAD, BOS, EOS)


def build_tokenizer(texts: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    """Build a tokenizer that knows every word of some texts.

    Args:
        texts: texts whose words, each with the space before it, become tokens.
        max_length: tokens that the model can read.

    Returns:
        A tokenizer that adds no special token by itself.
    """
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = {word for text in set(texts) for word, _ in split.pre_tokenize_str(text)}
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*SPECIAL, *symbols, *sorted(words.difference(symbols))]
    backend = Tokenizer(
        models.BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[], ignore_merges=True)
    )
    backend.pre_tokenizer = split
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    return as_fast(backend, max_length)


def as_fast(backend: Tokenizer, max_length: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer as transformers has them, with the lab's special tokens."""
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )
