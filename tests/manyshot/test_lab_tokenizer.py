"""The lab's tokenizer: any text comes back, known words are one token, and it opens like any other."""

import random

import pytest
from transformers import AutoTokenizer

from manyshot.lab.tokenizer import build_tokenizer

KNOWN = "Question: What is the dog like?\nAnswer: The dog is big, brown, and kind. 3 + 4 = 7\n#### 7"
TEXTS = (
    "",
    " ",
    "  two  spaces \n\n\t tabs\r\n",
    KNOWN,
    "the dog , is .  big !",
    "Grüße, 世界! 👩‍👩‍👧 ñ ñ שלום \u200b\ufeff\x00\x7f",
    "I'm sorry, but I can't; don't.",
    "tokens such as </s> and <pad> in a text",
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer([KNOWN], max_length=128).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_exactly(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_random_unicode_comes_back_exactly(tokenizer):
    source = random.Random(0)
    planes = [*range(0xD800), *range(0xE000, 0x110000)]
    for _ in range(200):
        text = "".join(chr(source.choice(planes)) for _ in range(20))
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_known_words_are_one_token_with_the_space_before_them(tokenizer):
    assert tokenizer.tokenize("The dog is big.") == ["T", "h", "e", "Ġdog", "Ġis", "Ġbig", "."]
    assert tokenizer.tokenize(" The") == ["ĠThe"]


def test_no_special_token_is_added_and_all_three_are_there(tokenizer):
    ids = tokenizer("Question")["input_ids"]
    special = [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert len(ids) == 1 and len(set(special)) == 3 and not set(ids) & set(special)
    assert tokenizer.model_max_length == 128


def test_the_tokens_do_not_depend_on_the_order_of_the_texts():
    vocabularies = [
        build_tokenizer(texts, 8).get_vocab() for texts in (["b a", "d c"], ["d c", "b a", "b a"])
    ]
    assert vocabularies[0] == vocabularies[1]
