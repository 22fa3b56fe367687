"""A server with OpenAI's protocol scores as the hf engine does that answers behind it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import manyshot
from tiny_server import TinyServer, chatting_llama, serving

from bench.api.requests import MOST_STOPS
from bench.engine import EngineSettings, GenerationRequest
from bench.engine_registry import open_engine
from bench.server_settings import ServerSettings
from manyshot.published_scores import published_scores
from results.errors import InputError
from results.store import Store

TEXTS = ["hello", "how many apples are left ? the answer is", "Question : A", "maybe yes no and A B C D"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return chatting_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def running(llama):
    with serving(TinyServer(llama)) as server:
        yield server


@pytest.fixture
def server(running):
    """The server as it was."""
    running.lacks, running.card = frozenset(), {"owned_by": "tests", "max_model_len": 2048}
    running.asked.clear()
    return running


def opened(server, model=None, **settings):
    told = ServerSettings(url=server.url, attempts=2, **settings)
    return open_engine(model or Path(os.devnull), EngineSettings(name="api", server=told))


def score(server, *more, cwd, benchmarks=("lab_math",), engine="api"):
    names = [flag for name in benchmarks for flag in ("--benchmark", name)]
    where = ("--engine", "api", "--url", server.url) if engine == "api" else ("--engine", engine)
    return manyshot("score", *where, *names, "--limit", "4", "--store", "store", *more, cwd=cwd)


def records(cwd):
    return list(Store(cwd / "store").records())


def pairs(tokenizer):
    contexts = [tokenizer.encode(text) for text in TEXTS]
    contexts[0] = [*tokenizer.encode("Question : how many apples ? 1 . " * 9), *contexts[0]]
    return [(context, tokens) for context in contexts for tokens in (contexts[1], contexts[2][:1])]


@pytest.mark.parametrize("lacks", [(), ("choices",), ("ids",), ("ids", "extras", "tokenize")])
def test_likelihoods_and_answers_are_those_of_the_engine_behind(server, llama, lacks):
    server.lacks = frozenset(lacks)
    engine = opened(server, llama)
    contexts = [engine.tokenizer.encode(text) for text in TEXTS]
    asked = pairs(engine.tokenizer)
    if "ids" in lacks:  # then prompts must be what their texts become
        asked = [(ids[:place], ids[place:]) for ids in contexts for place in (1, len(ids) - 1)]
    for ours, theirs in zip(engine.loglikelihood(asked), server.engine.loglikelihood(asked), strict=True):
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-4)
        np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=1e-5)
        assert ours.is_greedy == theirs.is_greedy
    requests = [GenerationRequest(tuple(context), room) for context in contexts for room in (1, 12)]
    theirs = server.engine.generate(requests)
    ours = engine.generate(requests)
    assert [one.text for one in ours] == [one.text for one in theirs]
    assert [one.cut for one in ours] == [one.cut for one in theirs]
    if "extras" not in lacks:
        assert ours == theirs


def test_the_greedy_continuation_is_recognised(server, llama):
    engine = opened(server, llama)
    context = engine.tokenizer.encode(TEXTS[1])
    tokens = list(server.engine.generate([GenerationRequest(tuple(context), 3)])[0].ids)
    asked = [(context, tokens[:1]), (context, tokens), (context, [*tokens[:2], tokens[2] - 1])]
    assert [one.is_greedy for one in engine.loglikelihood(asked)] == [True, True, False]


def test_choices_of_one_token_are_one_question_where_the_server_has_that(server, llama):
    context, other = ([3, 4, 5], [6, 7])
    asked = [(context, [token]) for token in range(8, 14)] + [(other, [8]), (context, [8, 9]), (context, [8])]
    [likeliest] = server.engine.generate([GenerationRequest(tuple(context), 1)])[0].ids
    asked.append((context, [likeliest]))
    theirs = server.engine.loglikelihood(asked)
    different = {(*context, -1, *tokens) for context, tokens in asked}
    for lacks, requests in (((), 3), (("choices",), len(different))):
        server.lacks = frozenset(lacks)
        engine = opened(server, llama)
        assert engine.server.joins_choices == (not lacks)
        server.asked.clear()
        ours = engine.loglikelihood(asked)
        assert len(server.asked) == requests
        for one, expected in zip(ours, theirs, strict=True):
            assert one.logprob == pytest.approx(expected.logprob, abs=1e-4)
            assert one.is_greedy == expected.is_greedy
    assert theirs[-1].is_greedy


def test_one_prompt_that_is_split_in_two_places_is_two_questions(server, llama):
    engine = opened(server, llama)
    tokens = engine.tokenizer.encode(TEXTS[1])
    asked = [(tokens[:place], tokens[place:]) for place in (2, 3)]
    ours = [one.logprob for one in engine.loglikelihood(asked)]
    assert ours == pytest.approx([one.logprob for one in server.engine.loglikelihood(asked)], abs=1e-4)
    assert abs(ours[0] - ours[1]) > 0.1


def test_a_pair_that_is_too_long_loses_its_left_and_fits_with_the_token_that_is_generated(server, llama):
    server.card["max_model_len"] = 40
    engine = opened(server, llama)
    long = engine.tokenizer.encode("A B C D yes no" * 40)[:60]
    tokens = engine.tokenizer.encode("maybe yes")
    assert engine.max_length == 38
    kept = long[-(39 - len(tokens)) :]
    [ours], [theirs] = engine.loglikelihood([(long, tokens)]), server.engine.loglikelihood([(kept, tokens)])
    assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-4)
    with pytest.raises(InputError, match="A prompt of 38 tokens and an answer of 4 do not fit into 38"):
        engine.generate([GenerationRequest(tuple(long[:38]), 4)])


def test_greedy_decoding_is_said_and_at_most_four_stop_strings_are_sent(server, llama):
    engine = opened(server, llama)
    prompt = tuple(engine.tokenizer.encode(TEXTS[0]))
    whole = server.engine.generate([GenerationRequest(prompt, 16)])[0].text
    stop = ("#1", "#2", "#3", "#4", whole[4:6])
    [answer] = engine.generate([GenerationRequest(prompt, 16, stop)])
    assert answer.text == whole.split(whole[4:6])[0]
    assert not answer.cut
    sent = server.bodies("/v1/completions")[-1]
    assert sent["stop"] == list(stop[:MOST_STOPS])
    neutral = {"temperature": 0, "top_p": 1, "n": 1, "frequency_penalty": 0, "presence_penalty": 0}
    assert sent | neutral | {"repetition_penalty": 1.0, "stream": False} == sent


@pytest.mark.parametrize("checkpoint", [True, False])
def test_scores_are_those_of_hf_and_records_are_never_taken_for_its(server, llama, tmp_path, checkpoint):
    benchmarks = ("lab_math", "lab_yes_no")
    what = [llama] if checkpoint else ["--tokenizer", llama]
    done = score(server, *what, cwd=tmp_path, benchmarks=benchmarks)
    assert done.returncode == 0, done.stderr
    assert "2 records made" in done.stderr
    served = {record.key.benchmark: record for record in records(tmp_path)}
    local = score(server, llama, cwd=tmp_path, benchmarks=benchmarks, engine="hf")
    assert "2 records made, 0 found" in local.stderr
    store = Store(tmp_path / "store")
    for record in records(tmp_path):
        if record.key.settings["engine"] != "hf":
            continue
        other = served[record.key.benchmark]
        assert (record.value, record.answers) == (other.value, other.answers)
        assert (record.key.checkpoint == other.key.checkpoint) == checkpoint
        ours, theirs = (store.documents(one)["output"].tolist() for one in (other, record))
        if record.key.benchmark == "lab_math":
            assert ours == theirs
        assert [one.record for one in published_scores(record.key.checkpoint, store)].count(other) == 0
        assert other.key.settings["dtype"] == other.key.settings["device"] == "the server's"
    again = score(server, *what, cwd=tmp_path, benchmarks=benchmarks)
    assert "0 records made, 2 found" in again.stderr
    assert not (tmp_path / "store/answers").exists()


def test_records_say_what_could_not_be_verified(server, llama, tmp_path):
    server.card["root"] = "/models/tiny"
    score(server, llama, cwd=tmp_path)
    score(server, "--tokenizer", llama, cwd=tmp_path)
    score(server, "--tokenizer", llama, "--model-digest", "abc", cwd=tmp_path)
    server.lacks, server.card["root"] = frozenset({"tokenize", "extras", "ids"}), "/models/other"
    score(server, "--tokenizer", llama, cwd=tmp_path)
    made = {record.key.checkpoint.weights: " ".join(record.notices) for record in records(tmp_path)}
    assert len(made) == 4  # another root is another model
    cards = [record.key.settings["server"] for record in records(tmp_path)]
    known = {"id": "tiny", "owned_by": "tests", "root": "/models/tiny"}
    assert cards.count({"url": server.url, "model": "tiny", "card": known}) == 3
    assert "digest abc was given, not verified" in made["given: abc"]
    assert any(f"has the weights of {llama} could not be verified" in said for said in made.values())
    [other] = [
        " ".join(record.notices)
        for record in records(tmp_path)
        if record.key.settings["server"]["card"]["root"] == "/models/other"
    ]
    for lack in ("no /tokenize", "takes no repetition_penalty", "prompts were sent as text", "may change"):
        assert lack in other


@pytest.mark.parametrize("known", ["checkpoint", "digest"])
def test_another_server_or_model_finds_no_record_whatever_is_said_of_the_weights(
    server, llama, tmp_path, known
):
    told = [llama] if known == "checkpoint" else ["--tokenizer", llama, "--model-digest", "abc"]
    assert "1 record made" in score(server, *told, cwd=tmp_path).stderr
    assert "1 found" in score(server, *told, cwd=tmp_path).stderr
    with serving(TinyServer(llama)) as other:
        assert "1 record made, 0 found" in score(other, *told, cwd=tmp_path).stderr
    server.card["root"] = "/models/other"
    assert "1 record made, 0 found" in score(server, *told, cwd=tmp_path).stderr


def test_long_cards_of_servers_are_told_apart_by_their_ends(server, llama, tmp_path):
    for end in "ab":
        server.card["root"] = "x" * 5000 + end
        assert "1 record made" in score(server, "--tokenizer", llama, cwd=tmp_path).stderr
    assert len({record.key.checkpoint for record in records(tmp_path)}) == 2


@pytest.mark.parametrize("chat", ["server", "never"])
def test_a_checkpoints_own_repetition_penalty_is_sent_where_it_is_asked_for(server, llama, tmp_path, chat):
    folder = shutil.copytree(llama, tmp_path / "penalised")
    (folder / "generation_config.json").write_text('{"repetition_penalty": 1.7}')
    told = ("--chat-template", chat, folder)
    path = "/v1/chat/completions" if chat == "server" else "/v1/completions"
    for more, penalty in (((), 1.0), (("--gen-kwargs", "model"), 1.7)):
        done = score(server, *told, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert server.bodies(path)[-1]["repetition_penalty"] == penalty
    assert [record.key.settings.get("gen_kwargs") for record in records(tmp_path)].count("model") == 1


def test_the_server_writes_conversations_where_it_is_asked_to(server, llama, tmp_path):
    told = ("--system-instruction", "be brief", "--chat-template", "server", "--num-fewshot", "2")
    done = score(server, *told, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sent = server.bodies("/v1/chat/completions")[-1]
    roles = [turn["role"] for turn in sent["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert sent["messages"][0]["content"].startswith("be brief")
    assert "stop" not in sent  # thoughts may hold a stop string
    [record] = records(tmp_path)
    assert record.key.settings["chat_template"]["template"] == "server"
    assert record.tokens["generated"] > 0
    done = score(server, *told, "--no-enable-thinking", cwd=tmp_path)
    sent = server.bodies("/v1/chat/completions")[-1]
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    assert len(sent["stop"]) <= MOST_STOPS
    # The same template, written here and sent as a prompt, has the same answers.
    ours = ("--chat-template", "always", *told[:2], *told[-2:], "--tokenizer", llama)
    assert score(server, *ours, cwd=tmp_path).returncode == 0
    outputs = [Store(tmp_path / "store").documents(one)["output"].tolist() for one in records(tmp_path)]
    assert len(outputs) == 3
    assert outputs[0] == outputs[1] == outputs[2]


def test_what_a_server_cannot_be_asked_is_said_with_what_can(server, llama, tmp_path):
    both = ("lab_math", "lab_yes_no")
    done = score(server, "--chat-template", "server", cwd=tmp_path, benchmarks=both)
    assert done.returncode == 2
    assert "conversations give no log-likelihoods of choices" in done.stderr
    assert "These can be run: lab_math" in done.stderr
    server.lacks = frozenset({"echo"})
    done = score(server, llama, cwd=tmp_path, benchmarks=both)
    assert done.returncode == 2
    assert (
        f"{server.url} gives no log-probabilities of prompts (echo with logprobs), which these benchmarks "
        "need: lab_yes_no. These can be run: lab_math." in done.stderr
    )
    done = score(server, llama, cwd=tmp_path, benchmarks=both[1:])
    assert "These can be run: common_gen, " in done.stderr
    assert score(server, llama, cwd=tmp_path).returncode == 0
    assert "no tokenizer is given" in score(server, cwd=tmp_path).stderr
    server.lacks = frozenset({"chat"})
    assert "answers no conversations" in score(server, "--chat-template", "server", cwd=tmp_path).stderr


def test_another_tokenizer_than_the_servers_is_refused(server, tmp_path, llama):
    from manyshot.lab.tokenizer import build_tokenizer

    build_tokenizer(["naive words and few others"], 64).save_pretrained(tmp_path / "other")
    done = score(server, "--tokenizer", "other", cwd=tmp_path)
    assert done.returncode == 2
    assert "give the served model's (--tokenizer)" in done.stderr


def test_what_runs_several_checkpoints_takes_no_server(server, llama, tmp_path):
    asked = ("--suite", "lab", "--base", llama, "--engine", "api")
    done = manyshot("signals", *asked, f"math={llama}", cwd=tmp_path)
    assert done.returncode == 2
    assert "a server has one model: take another engine" in done.stderr
    done = score(server, llama, llama, llama.parent, cwd=tmp_path)
    assert "A server has one model, and 3 checkpoints are named" in done.stderr
    with pytest.raises(InputError, match="no next-token distributions"):
        opened(server, llama).distributions([([3], [4])])
    with pytest.raises(InputError, match="A server runs one model"):
        opened(server, llama).swap(llama)
