"""Prompts as conversations: as lm-eval's own class makes them, in records of their own."""

import json

import peft
import pytest
import torch
import transformers
from command_line import manyshot
from lm_eval.models.huggingface import HFLM
from tiny import tiny_llama, tiny_t5

from bench.answers import run_lm_eval
from bench.data import load_rows
from bench.engine import EngineSettings, Generation, GenerationRequest
from bench.engine_registry import open_engine
from bench.lm import EngineLM
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.signals import ValidationSignals
from bench.suite import load_benchmark, load_suite
from manyshot.experiment import load_experiment
from merging.chat import ChatSettings, chat_form
from results.errors import InputError
from results.store import Store

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {{ eos_token }} {% endfor %}"
    "{% if add_generation_prompt %}assistant :{% endif %}"
)
ALWAYS = ChatSettings(chat_template="always")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A tiny Llama with a chat template."""
    folder = tiny_llama(tmp_path_factory.mktemp("chat") / "llama")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def ours(folder, chat):
    engine = open_engine(folder, EngineSettings(dtype="float32", device="cpu"))
    return EngineLM(engine, chat=chat_form(engine.tokenizer, chat, folder))


def samples(lm, name, chat, shots=None):
    benchmark = load_benchmark(name)
    rows = {task.name: load_rows(task, None) for task in benchmark.tasks}
    results = run_lm_eval(lm, benchmark, rows, ScoreSettings(limit=20, chat=chat))
    return [sample for of_task in results["samples"].values() for sample in of_task]


@pytest.mark.parametrize(
    "chat",
    [
        ALWAYS,
        ALWAYS.but(fewshot_as_multiturn=False),
        ALWAYS.but(system_instruction="Be brief."),
        ChatSettings(system_instruction="Be brief."),
    ],
    ids=["turns", "one question", "system", "system without a template"],
)
@pytest.mark.parametrize("name", ["lab_math", "lab_yes_no"])
def test_prompts_and_answers_are_those_of_lm_evals_own_class(llama, name, chat):
    theirs = HFLM(pretrained=str(llama), dtype="float32", device="cpu", batch_size=8)
    for mine, other in zip(samples(ours(llama, chat), name, chat), samples(theirs, name, chat), strict=True):
        assert mine["arguments"] == other["arguments"]
        if name == "lab_math":
            assert mine["resps"] == other["resps"]
        else:
            for (a,), (b,) in zip(mine["resps"], other["resps"], strict=True):
                assert float(a[0]) == pytest.approx(float(b[0]), abs=1e-4)
        prompt = mine["arguments"][0][0]
        assert ("assistant :" in prompt) == chat.templated
        assert ("Be brief." in prompt) == (chat.system_instruction is not None)


class Saying:
    """An engine that says one text to every prompt, and remembers what it was asked."""

    is_encoder_decoder, max_length = False, 2048

    def __init__(self, tokenizer, text, *, ended=True, cut=False):
        self.tokenizer, self.asked = tokenizer, []
        self._answer = Generation(text, (1, 2), ended, cut)

    def generate(self, requests, progress=None):
        self.asked += requests
        return [self._answer for _ in requests]


def answers(llama, text, arguments, *, chat=ALWAYS, context="hello", **how):
    engine = Saying(open_engine(llama, EngineSettings()).tokenizer, text, **how)
    lm = EngineLM(engine, chat=chat_form(engine.tokenizer, chat, llama))
    request = type("Request", (), {"args": (context, arguments)})
    return lm.generate_until([request]), engine.asked, lm


def test_thoughts_are_cut_off_and_no_stop_string_ends_them(llama):
    thinking = ALWAYS.but(think_end="</think>")
    text = "Question one?\n\n</think>\n\nFour.\n\nQuestion two"
    said, asked, lm = answers(llama, text, {"until": ["\n\n"]}, chat=thinking)
    assert said == ["Four."] and asked[0].stop == ()
    said, asked, lm = answers(llama, text, {"until": ["\n\n"]})
    assert said == [text] and asked[0].stop == ("\n\n",)
    said, _, lm = answers(llama, "<think> And then", {}, chat=thinking, ended=False, cut=True)
    assert said == [""]
    assert lm.answers == {"all": 1, "cut": 1, "empty": 1}
    assert lm.notices == ("1 of 1 answer was cut at the limit of tokens", "1 of 1 answer is empty")


def test_a_prompt_that_has_ended_the_thoughts_leaves_stop_strings_and_answers_alone(llama):
    closed = {"until": ["\n\n"]}
    chat = ALWAYS.but(think_end="assistant :")
    said, asked, _ = answers(llama, "Four.\n\nQuestion", closed, chat=chat, context="a assistant :", cut=True)
    assert asked[0].stop == ("\n\n",) and said == ["Four.\n\nQuestion"]


def test_a_turns_end_ends_an_answer(llama):
    _, asked, lm = answers(llama, "Four", {})
    assert asked[0].ends == (lm.engine.tokenizer.eos_token_id,)
    assert answers(llama, "Four", {}, chat=ChatSettings())[1][0].ends == ()


@pytest.mark.parametrize("shares", [True, False])
def test_an_engine_stops_at_the_ends_of_a_request(llama, shares):
    engine = open_engine(llama, EngineSettings(dtype="float32", device="cpu"))
    engine._shares = shares
    prompt = tuple(engine.tokenizer.encode("how many apples are left ?"))
    (whole,) = engine.generate([GenerationRequest(prompt, 12)])
    end = whole.ids[5]
    (ended, again) = engine.generate(
        [GenerationRequest(prompt, 12, ends=(end,)), GenerationRequest(prompt, 12)]
    )
    assert again == whole and whole.cut and not whole.ended
    assert ended.ids == whole.ids[: whole.ids.index(end)] and ended.ended and not ended.cut


def test_a_record_says_which_template_and_is_no_other(llama, tmp_path):
    store, benchmark, checkpoint = (
        Store(tmp_path / "store"),
        load_benchmark("lab_yes_no"),
        ScoredCheckpoint.open(str(llama)),
    )

    def scored(chat):
        with_chat = Scorer(ScoreSettings(limit=4, chat=chat), store, None)
        try:
            return with_chat.score(checkpoint, benchmark)
        finally:
            with_chat.close()

    first, other = scored(ALWAYS), scored(ChatSettings())
    assert not first.found and not other.found and scored(ALWAYS).found
    assert other.record.key.settings["chat_template"] is None
    kept = first.record.key.settings["chat_template"]
    assert kept["fewshot_as_multiturn"] is True and len(kept["template"]) == 64
    assert not scored(ALWAYS.but(system_instruction="Be brief.")).found
    assert not scored(ChatSettings(system_instruction="Be brief.")).found
    documents = store.documents(first.record, ["prompt"])
    assert documents["prompt"].str.endswith("assistant :").all()


def test_judged_answers_keep_the_prompt_that_was_sent(llama, tmp_path):
    scorer = Scorer(ScoreSettings(limit=4, chat=ALWAYS), Store(tmp_path / "store"), None)
    record = scorer.score(ScoredCheckpoint.open(str(llama)), load_benchmark("lab_safety")).record
    scorer.close()
    assert scorer.store.documents(record, ["prompt"])["prompt"].str.endswith("assistant :").all()


def test_a_suite_says_it_and_a_flag_says_otherwise(llama, tmp_path):
    suite = tmp_path / "suite.yaml"
    suite.write_text("name: s\ntasks: {math: {benchmarks: [lab_math]}}\nchat: {chat_template: always}\n")

    def templates(*flags):
        store = tmp_path / f"store{len(flags)}"
        done = manyshot(
            "score", "--suite", suite, "--limit", "2", *flags, "--store", store, llama, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        (record,) = store.glob("records/**/*.json")
        return json.loads(record.read_text())["record"]["key"]["settings"]["chat_template"]

    assert templates() is not None
    assert templates("--chat-template", "never") is None


def test_a_template_lies_beside_the_file_that_names_it(tmp_path):
    (tmp_path / "own.jinja").write_text(TEMPLATE)
    suite = tmp_path / "suite.yaml"
    suite.write_text("name: s\ntasks: {math: {benchmarks: [lab_math]}}\nchat: {chat_template: own.jinja}\n")
    assert load_suite(str(suite)).chat.chat_template == str(tmp_path / "own.jinja")
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(
        "suite: lab\nbase: b\nexperts: {math: m}\nmethods: [{name: average}]\n"
        "chat: {chat_template: own.jinja}\n"
    )
    read = load_experiment(experiment).chat
    assert read.chat_template == str(tmp_path / "own.jinja")
    assert read.over(ChatSettings(system_instruction="Be brief.")).system_instruction == "Be brief."


def test_without_a_template_there_is_one_sentence_before_anything_is_scored(tmp_path):
    plain = tiny_llama(tmp_path / "plain")
    done = manyshot("score", "--benchmark", "lab_math", "--chat-template", "always", plain, cwd=tmp_path)
    assert done.returncode == 2 and not (tmp_path / "manyshot-results").exists()
    assert f"{plain} has no chat template" in done.stderr and done.stderr.count("\n") == 1
    with pytest.raises(InputError, match="no chat template"):
        Scorer(ScoreSettings(chat=ALWAYS), Store(tmp_path), None).find(
            ScoredCheckpoint.open(str(plain)), load_benchmark("lab_math")
        )


@pytest.mark.parametrize("shares", [True, False])
def test_a_repetition_penalty_is_that_of_transformers(llama, shares):
    engine = open_engine(llama, EngineSettings(dtype="float32", device="cpu"))
    engine._shares = shares
    texts = ["how many apples are left ?", "hello and hello", "the answer is 1 2 3 1 2 3"]
    prompts = [tuple(engine.tokenizer.encode(text)) for text in texts]
    requests = [
        GenerationRequest(prompt, 16, repetition_penalty=penalty)
        for prompt in prompts
        for penalty in (1.0, 1.3)
    ]
    answered = engine.generate(requests)
    model = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    for request, answer in zip(requests, answered, strict=True):
        ids = torch.tensor([request.prompt])
        expected = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=16,
            do_sample=False,
            repetition_penalty=request.repetition_penalty,
        )[0, ids.shape[1] :].tolist()
        assert list(answer.ids) == [token for token in expected if token != engine.tokenizer.eos_token_id]
    assert answered[0].ids != answered[1].ids


def test_the_models_own_settings_are_left_out_and_told_or_its_penalty_is_kept(tmp_path):
    folder = tiny_llama(tmp_path / "llama")
    file = folder / "generation_config.json"
    said = json.loads(file.read_text()) | {
        "do_sample": True,
        "temperature": 0.6,
        "repetition_penalty": 1.3,
    }
    checkpoint = ScoredCheckpoint.open(str(folder))
    store, records = Store(tmp_path / "store"), []
    for settings in ({}, said):
        file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
        for kept in ("neutral", "model"):
            checkpoint = ScoredCheckpoint.open(str(folder))
            scorer = Scorer(ScoreSettings(limit=4, gen_kwargs=kept), store, None)
            records.append(scorer.score(checkpoint, load_benchmark("lab_math")).record)
            scorer.close()
    told = [[n for n in record.notices if "answers are greedy" in n] for record in records]
    assert told == [
        [],
        [],
        ["answers are greedy, without the model's own repetition_penalty 1.3, do_sample, temperature 0.6"],
        ["answers are greedy, without the model's own do_sample, temperature 0.6"],
    ]
    outputs = [store.documents(record, ["output"])["output"].tolist() for record in records]
    assert outputs[0] == outputs[1] == outputs[2] != outputs[3]
    assert len({record.key.digest for record in records}) == 4


def test_generation_settings_are_a_flag_too(tmp_path):
    folder = tiny_llama(tmp_path / "llama")
    file = folder / "generation_config.json"
    neutral = {"do_sample": False, "temperature": 1.0, "repetition_penalty": 1.0, "num_beams": 1, "top_k": 50}
    file.write_text(json.dumps({**json.loads(file.read_text()), **neutral}))
    arguments = ("score", "--benchmark", "lab_math", "--limit", "2", "--store", tmp_path / "store", folder)
    for kept in ("neutral", "model"):
        done = manyshot(*arguments, "--gen-kwargs", kept, cwd=tmp_path)
        assert done.returncode == 0 and "greedy" not in done.stderr, done.stderr
    assert len(list((tmp_path / "store").glob("records/**/*.json"))) == 2


def test_an_adapter_is_asked_by_its_own_template(llama, tmp_path):
    adapter = tmp_path / "adapter"
    model = transformers.AutoModelForCausalLM.from_pretrained(llama)
    peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(adapter)
    content = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps({**content, "base_model_name_or_path": str(llama)})
    )
    scorer = Scorer(ScoreSettings(chat=ALWAYS), Store(tmp_path / "store"), None)
    asked = scorer.chat_forms.find(ScoredCheckpoint.open(str(adapter)))
    assert asked.template == TEMPLATE
    (adapter / "chat_template.jinja").write_text("{{ messages[0]['content'] }} answer :")
    scorer = Scorer(ScoreSettings(chat=ALWAYS), Store(tmp_path / "store"), None)
    own = ScoredCheckpoint.open(str(adapter))
    assert scorer.chat_forms.find(own).question("hello") == "hello answer :"
    with pytest.raises(InputError, match="has another chat template than"):
        scorer.chat_forms.check([ScoredCheckpoint.open(str(llama)), own])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--chat-template always --enable-thinking", "leave out enable_thinking, or the benchmark"),
        (
            '--chat-template always --chat-template-args {"enable_thinking":true}',
            "leave out enable_thinking, or the benchmark",
        ),
        ("--enable-thinking", "'enable_thinking' is about a chat template, and none is used"),
        ("--chat-template never --think-end x", "'think_end' is about a chat template, and none is used"),
        ("--no-fewshot-as-multiturn", "'fewshot_as_multiturn' is about a chat template"),
        ('--chat-template always --chat-template-args {"tokenize":true}', "'tokenize' is said to the"),
        ("--engine replay --chat-template always", "--chat-template is for prompts that are written now"),
    ],
)
def test_flags_of_templates_that_mean_nothing_are_refused(llama, tmp_path, flags, said):
    done = manyshot("score", "--benchmark", "lab_yes_no", *flags.split(), llama, cwd=tmp_path)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1


def test_padding_is_not_penalised(llama):
    engine = open_engine(llama, EngineSettings(dtype="float32", device="cpu"))
    engine._shares = False
    ids = [tuple(engine.tokenizer.encode(text)) for text in ("hello", "how many apples are left ? " * 8)]
    requests = [GenerationRequest(prompt, 16, repetition_penalty=1.5) for prompt in ids]
    assert engine.generate(requests)[0] == engine.generate(requests[:1])[0]


def test_an_encoder_decoders_own_settings_are_left_out_too(tmp_path):
    folder = tiny_t5(tmp_path / "t5")
    settings = EngineSettings(dtype="float32", device="cpu")

    def said(penalty):
        engine = open_engine(folder, settings)
        prompt = tuple(engine.tokenizer.encode("how many apples are left ?"))
        return engine.generate([GenerationRequest(prompt, 12, repetition_penalty=penalty)])[0].ids

    plain, penalised = said(1.0), said(1e6)
    assert plain != penalised
    file = folder / "generation_config.json"
    own = {"repetition_penalty": 3.0, "no_repeat_ngram_size": 1, "suppress_tokens": [plain[0]]}
    file.write_text(json.dumps({**json.loads(file.read_text()), **own}))
    assert said(1.0) == plain and said(1e6) == penalised


def test_a_loss_is_of_the_form_that_is_scored(llama, tmp_path):
    scorer = Scorer(ScoreSettings(chat=ALWAYS), Store(tmp_path / "store"), None)
    signals = ValidationSignals(scorer, load_suite("lab"), None, limit=3)
    in_form = signals.loss(llama, "math", "completion")
    plain = ValidationSignals(
        Scorer(ScoreSettings(), Store(tmp_path / "store"), None), load_suite("lab"), None, limit=3
    ).loss(llama, "math", "completion")
    form = chat_form(scorer.engine_with(ScoredCheckpoint.open(str(llama))).tokenizer, ALWAYS, llama)
    examples = signals.data.examples("math")
    asked = [form.conversation(example.prompt, example.completion) for example in examples]
    encode = form.tokenizer.encode
    pairs = [(encode(before), encode(before + turn)[len(encode(before)) :]) for before, turn in asked]
    engine = scorer.engine_with(ScoredCheckpoint.open(str(llama)))
    expected = [-likelihood.logprobs.mean() for likelihood in engine.loglikelihood(pairs)]
    assert in_form == pytest.approx(float(sum(expected)) / len(expected), abs=1e-5) != plain
