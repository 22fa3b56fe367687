"""Conversations as text, by templates and tokenizers like those of Llama 3, Gemma and Qwen 3."""

import pytest
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from merging.chat import ChatSettings, chat_form, check_template, encode
from merging.examples import IGNORED, Example, tokenise
from merging.train_settings import TrainSettings
from results.errors import InputError

LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
QWEN = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)


def tokenizer(template, bos, special, adds_bos):
    """Every letter a token, with special tokens and, where it is said, BOS before every text."""
    words = ["<unk>", *sorted({*pre_tokenizers.ByteLevel.alphabet()}), *special]
    built = Tokenizer(models.WordLevel({word: i for i, word in enumerate(dict.fromkeys(words))}, "<unk>"))
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            pre_tokenizers.Split("", "isolated"),
        ]
    )
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token=bos, eos_token=special[-1], unk_token="<unk>"
    )
    made.add_special_tokens({"extra_special_tokens": list(special)})
    if adds_bos:
        made.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, made.convert_tokens_to_ids(bos))]
        )
    made.chat_template = template
    return made


LIKE_LLAMA = tokenizer(
    LLAMA,
    "<|begin_of_text|>",
    ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"],
    adds_bos=True,
)
LIKE_GEMMA = tokenizer(GEMMA, "<bos>", ["<bos>", "<start_of_turn>", "<end_of_turn>", "<eos>"], adds_bos=True)
LIKE_QWEN = tokenizer(QWEN, None, ["<|im_start|>", "<|im_end|>", "<|endoftext|>"], adds_bos=False)
QUESTION = [{"role": "user", "content": " Hi? "}]
ALWAYS = ChatSettings(chat_template="always")


def form(of, **settings):
    return chat_form(of, ALWAYS.but(**settings), "models/it")


@pytest.mark.parametrize(
    ("of", "text", "end"),
    [
        (
            LIKE_LLAMA,
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            "<|eot_id|>",
        ),
        (
            LIKE_GEMMA,
            "<bos><start_of_turn>user\nHi?<end_of_turn>\n<start_of_turn>model\n",
            "<end_of_turn>",
        ),
        (LIKE_QWEN, "<|im_start|>user\n Hi? <|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"),
    ],
    ids=["llama", "gemma", "qwen"],
)
def test_a_question_is_written_as_the_template_says_with_one_bos(of, text, end):
    written = form(of)
    assert written.render(QUESTION) == text
    ids = encode(of, text)
    assert ids.count(of.bos_token_id) == (of.bos_token is not None)
    assert ids == of.encode(text, add_special_tokens=False)
    assert encode(of, "Hi?")[: 1 if of.bos_token else 0] == [of.bos_token_id][: 1 if of.bos_token else 0]
    assert written.end_token == of.convert_tokens_to_ids(end) != of.eos_token_id


@pytest.mark.parametrize("of", [LIKE_LLAMA, LIKE_GEMMA, LIKE_QWEN], ids=["llama", "gemma", "qwen"])
def test_an_example_is_a_question_as_it_is_asked_and_a_turn_with_its_end(of):
    written = form(of)
    before, turn = written.conversation("How many?", "Two.")
    assert before == written.render([{"role": "user", "content": "How many?"}])
    end = of.convert_ids_to_tokens(written.end_token)
    assert turn == ("<think>\n\n</think>\n\nTwo." if of is LIKE_QWEN else "Two.") + end


@pytest.mark.parametrize("of", [LIKE_LLAMA, LIKE_GEMMA, LIKE_QWEN], ids=["llama", "gemma", "qwen"])
@pytest.mark.parametrize("loss", ["completion", "text"])
def test_what_is_learned_is_the_turn_with_the_token_that_ends_it(of, loss):
    written = form(of)
    row = tokenise(of, Example("How many?", "Two."), TrainSettings(loss=loss, chat=ALWAYS), written)
    before, turn = written.conversation("How many?", "Two.")
    ids = of.encode(before + turn, add_special_tokens=False)
    assert row["input_ids"] == ids and ids[-1] == written.end_token
    assert ids.count(of.bos_token_id) == (of.bos_token is not None)
    learned = [label for label in row["labels"] if label != IGNORED]
    assert learned == (of.encode(turn, add_special_tokens=False) if loss == "completion" else ids)


def test_an_answer_without_thoughts_is_learned_after_the_empty_thought_of_the_prompt():
    before, turn = form(LIKE_QWEN, enable_thinking=False).conversation("How many?", "Two.")
    assert before.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n") and turn == "Two.<|im_end|>"


def test_worked_examples_and_a_turn_that_goes_on():
    turns = [*QUESTION, {"role": "assistant", "content": "Yes"}, {"role": "user", "content": "And?"}]
    started = [*turns, {"role": "assistant", "content": "The answer is"}]
    assert form(LIKE_LLAMA).render(started, False).endswith("assistant<|end_header_id|>\n\nThe answer is")


def test_a_system_text_that_a_template_refuses():
    given = [{"role": "system", "content": "Be brief."}, *QUESTION]
    assert form(LIKE_GEMMA).render(given) == form(LIKE_GEMMA).render(QUESTION)  # a benchmark's, as in lm-eval
    with pytest.raises(InputError, match=r"takes no system text \(no system role\): leave out"):
        form(LIKE_GEMMA, system_instruction="Be brief.").render(given)


ENDED = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
OPEN = "<|im_start|>assistant\n<think>\n"


@pytest.mark.parametrize(
    ("prompt", "answer", "said"),
    [
        ("assistant\n", "<think>\nTwo?\n</think>\n\nTwo.", "Two."),
        ("assistant\n", "<think>\nTwo? Or thr", ""),
        ("assistant\n", "Two.", "Two."),
        ("assistant\n", "a</think>b</think> c", "c"),
        (OPEN, "Two? Or thr", ""),
        (OPEN, "Two?</think> Two.", "Two."),
        (ENDED, "Two.", "Two."),
        (ENDED, "</think> is a tag.", "</think> is a tag."),
    ],
)
def test_what_is_said_is_what_follows_the_thoughts(prompt, answer, said):
    assert form(LIKE_QWEN).said(prompt, answer, ()) == said
    assert form(LIKE_QWEN).thinks_after(prompt) is (prompt != ENDED)
    assert form(LIKE_LLAMA).said(prompt, answer, ()) == answer
    assert form(LIKE_LLAMA, think_end="</think>").said(prompt, answer, ()) == said


def test_thoughts_that_a_special_token_ends_are_cut_by_its_id():
    of = tokenizer(QWEN, None, ["<|im_start|>", "[/THINK]", "<|im_end|>"], adds_bos=False)
    written = form(of, think_end="[/THINK]")
    ids = of.encode("why[/THINK]so", add_special_tokens=False)
    assert written.said("assistant\n", of.decode(ids, skip_special_tokens=True), ids).replace(" ", "") == "so"


@pytest.mark.parametrize("completion", [" Two.", "Two.\n\n", " yes"])
def test_what_separates_a_completion_from_its_prompt_in_plain_text_is_no_part_of_a_turn(completion):
    before, turn = form(LIKE_LLAMA).conversation("How many?", completion)
    assert turn == completion.strip() + "<|eot_id|>" and before.endswith("<|end_header_id|>\n\n")


def test_a_turns_text_is_found_whatever_it_is():
    end = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
    phi = end + "{% if add_generation_prompt %}<|assistant|>{% else %}{{ eos_token }}{% endif %}"
    special = ["<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"]
    of = tokenizer(phi, None, special, adds_bos=False)
    assert form(of).end_token == of.convert_tokens_to_ids("<|end|>")
    for completion in ("d", "x", "end"):
        assert form(of).conversation("How many?", completion)[1] == f"{completion}<|end|>\n<|endoftext|>"


def test_a_template_that_begins_thoughts_is_refused_for_examples():
    thinking = QWEN.replace("assistant\n{% if", "assistant\n<think>\n{% if").replace(
        "<think>\n\n</think>\n\n", ""
    )
    of = tokenizer(thinking, None, ["<|im_start|>", "<|im_end|>", "<|endoftext|>"], adds_bos=False)
    with pytest.raises(InputError, match=r"begins an answer with '<think>.n'"):
        form(of).conversation("How many?", "Two.")


def test_which_template(tmp_path):
    assert chat_form(LIKE_LLAMA, ChatSettings(), "m") is None
    assert chat_form(LIKE_LLAMA, ChatSettings(chat_template="never"), "m") is None
    file = tmp_path / "own.jinja"
    file.write_text("{{ messages[0]['content'] }}:")
    assert form(LIKE_LLAMA, chat_template=str(file)).render(QUESTION) == " Hi? :"
    of = tokenizer({"default": LLAMA, "tool": QWEN}, "<s>", ["<s>", "<|im_end|>", "</s>"], adds_bos=False)
    assert form(of).template == LLAMA and form(of, chat_template="tool").template == QWEN
    (tmp_path / "latin.jinja").write_bytes("{{ 'é' }}".encode("latin-1"))
    with pytest.raises(InputError, match="holds no text"):
        form(of, chat_template=str(tmp_path / "latin.jinja"))
    for name, said in [
        (
            "rag",
            "models/it has no chat template called 'rag'; take alpaca, chatml, default, exaone, llama3, "
            "mistral, tool.",
        ),
        ("no.jinja", "'no.jinja': there is no such file of a chat template."),
    ]:
        with pytest.raises(InputError) as refused:
            form(of, chat_template=name)
        assert str(refused.value) == said
    only = tokenizer({"tool": LLAMA}, "<s>", ["<s>", "</s>"], adds_bos=False)
    with pytest.raises(InputError, match="several chat templates and none that is its usual one: take tool"):
        form(only)
    (tmp_path / "own.txt").write_text(LLAMA)
    with pytest.raises(InputError, match=r"is a file whose name does not end in \.jinja"):
        form(of, chat_template=str(tmp_path / "own.txt"))
    with pytest.raises(InputError, match="is for the engine that asks servers: --engine api"):
        form(of, chat_template="server")
    plain = tokenizer(None, "<s>", ["<s>", "</s>"], adds_bos=False)
    with pytest.raises(InputError, match=r"models/it has no chat template.*--chat-template never"):
        form(plain)


def test_common_forms_have_names_and_a_models_own_of_the_name_goes_first():
    plain = tokenizer(None, "<s>", ["<s>", "<|im_end|>", "</s>"], adds_bos=False)
    assert form(plain, chat_template="chatml").render(QUESTION) == form(LIKE_QWEN).render(QUESTION)
    asked = form(LIKE_LLAMA, chat_template="llama3")
    assert asked.render(QUESTION) == form(LIKE_LLAMA).render(QUESTION)
    own = tokenizer({"chatml": LLAMA}, "<s>", ["<s>", "</s>"], adds_bos=False)
    assert form(own, chat_template="chatml").template == LLAMA


@pytest.mark.parametrize(
    "text",
    [
        "{% for m in messages %}",
        "{{ messages[0].absent.more }}",
        "{{ 1 / 0 }}",
        "{{ raise_exception('no') }}",
    ],
)
def test_a_template_that_fails_gets_one_sentence(tmp_path, text):
    file = tmp_path / "broken.jinja"
    file.write_text(text)
    with pytest.raises(InputError) as refused:
        form(LIKE_LLAMA, chat_template=str(file))
    assert str(refused.value).startswith(f"{file} fails (") and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("Hello world", {}, "does not write the text of a question."),
        ("", {}, "does not write the text of a question."),
        (
            "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}",
            {"system_instruction": "Be brief."},
            "does not write a system text: leave out --system-instruction.",
        ),
    ],
)
def test_a_template_that_leaves_something_out_is_refused(tmp_path, text, settings, said):
    file = tmp_path / "own.jinja"
    file.write_text(text)
    with pytest.raises(InputError, match=f"{file.name} {said}"):
        form(LIKE_LLAMA, chat_template=str(file), **settings)
    if not settings:
        with pytest.raises(InputError, match=f"the recipe's {said}"):
            check_template(text, "the recipe's")


def test_thoughts_are_looked_for_where_a_template_only_begins_them(tmp_path):
    file = tmp_path / "own.jinja"
    file.write_text("{% for m in messages %}{{ m.content }}{% endfor %}<think>\n")
    assert form(LIKE_LLAMA, chat_template=str(file)).said("x<think>\n", "why", ()) == ""


def test_the_key_of_a_file_is_its_text(tmp_path):
    keys = []
    for name in ("one", "other"):
        (tmp_path / f"{name}.jinja").write_text(LLAMA)
        keys.append(ALWAYS.but(chat_template=str(tmp_path / f"{name}.jinja")).key)
    (tmp_path / "other.jinja").write_text(LLAMA + " ")
    assert keys[0] == keys[1] != ALWAYS.but(chat_template=str(tmp_path / "other.jinja")).key


def test_bos_stands_once_behind_spaces_too():
    assert encode(LIKE_LLAMA, " <|begin_of_text|>Hi?").count(LIKE_LLAMA.bos_token_id) == 1


def test_settings_over_those_of_a_suite():
    thinking = ChatSettings(chat_template="always", enable_thinking=False)
    ChatSettings(chat_template="never").over(thinking).check()
    with pytest.raises(InputError, match="'enable_thinking' is about a chat template"):
        ChatSettings(chat_template="never", enable_thinking=True).over(thinking).check()
    assert ChatSettings(system_instruction="").over(thinking) == thinking.but(system_instruction=None)
    suite = ChatSettings(chat_template="always", system_instruction="Be brief.")
    assert ChatSettings().over(suite) == suite
    assert ChatSettings(chat_template="auto").over(suite).chat_template == "always"
    assert ChatSettings(chat_template="never").over(suite).chat_template == "never"
    assert ChatSettings(fewshot_as_multiturn=False).over(suite) == suite.but(fewshot_as_multiturn=False)


def test_the_key_tells_forms_apart():
    keys = [
        form(LIKE_LLAMA).key,
        form(LIKE_GEMMA).key,
        form(LIKE_LLAMA, system_instruction="Be brief.").key,
        form(LIKE_LLAMA, enable_thinking=False).key,
        form(LIKE_LLAMA, fewshot_as_multiturn=False).key,
    ]
    assert all(a != b for i, a in enumerate(keys) for b in keys[:i])


def test_a_template_that_writes_the_date_is_told():
    dated = tokenizer("{{ strftime_now('%d') }}" + LLAMA, "<s>", ["<s>", "</s>"], adds_bos=False)
    assert "today's date" in form(dated).notices[0]
    assert form(dated, chat_template_args={"date_string": "26 Jul 2024"}).notices == ()
