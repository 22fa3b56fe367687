"""A server that ignores what it does not know, cuts prompts or breaks answers off is not believed."""

import json
import os
from pathlib import Path

import pytest
from command_line import manyshot
from tiny_server import TinyServer, chatting_llama, serving

import bench.api.client as client_module
from bench.api.conversation import ConversationRequest
from bench.api.requests import read_completion
from bench.engine import EngineSettings, GenerationRequest
from bench.engine_registry import open_engine
from bench.server_settings import ServerSettings
from results.errors import InputError
from results.store import Store

PROMPT = (3, 4, 5, 6, 7, 8)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return chatting_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def running(llama):
    with serving(TinyServer(llama)) as server:
        yield server


@pytest.fixture
def server(running, monkeypatch):
    """The server as it was, and no long waits between attempts."""
    monkeypatch.setattr(client_module, "_FIRST_WAIT", 0.01)
    nothing = running.fault
    yield running
    running.lacks, running.fault, running.room = frozenset(), nothing, None


def opened(server, model=None):
    told = ServerSettings(url=server.url, attempts=2)
    return open_engine(model or Path(os.devnull), EngineSettings(name="api", server=told))


def record(server, *more, cwd):
    told = ("--engine", "api", "--url", server.url, "--benchmark", "lab_math", "--limit", "2")
    done = manyshot("score", *told, *more, "--store", "store", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return max(Store(cwd / "store").records(), key=lambda one: len(one.notices))


def says(text, reason="stop", **more):
    """A server that answers with a text."""
    choice = {"text": text, "finish_reason": reason, "message": {"content": text}, **more}
    answer = json.dumps({"choices": [choice], "usage": {"prompt_tokens": len(PROMPT)}}).encode()
    return lambda path, body, number: (200, {}, answer) if "completions" in path else None


@pytest.mark.parametrize("chat", ["never", "server"])
def test_what_a_server_does_not_show_to_heed_is_said_and_in_the_key(server, llama, tmp_path, chat):
    told = (llama, "--chat-template", chat)
    proved = record(server, *told, cwd=tmp_path)
    assert proved.key.settings["penalties"] == "neutral"
    assert "does not show" not in " ".join(proved.notices)
    server.lacks = frozenset({"heed"})
    unproved = record(server, *told, cwd=tmp_path)
    assert unproved.key.settings["penalties"] == "asked to be neutral"
    assert "does not show that it heeds repetition_penalty and stop_token_ids" in " ".join(unproved.notices)
    if chat == "never":
        with pytest.raises(InputError, match="does not show that it heeds a repetition penalty"):
            opened(server, llama).generate([GenerationRequest(PROMPT, 4, repetition_penalty=1.7)])


def test_a_server_that_cuts_prompts_is_refused(server, llama):
    engine = opened(server, llama)
    assert len(engine.generate([GenerationRequest(PROMPT, 2)])) == 1
    assert engine.server.joins_choices
    server.room = 5
    refusal = "read 5 tokens of a prompt of 6: it cuts prompts, or adds"
    with pytest.raises(InputError, match=refusal):
        engine.generate([GenerationRequest(PROMPT, 3)])
    with pytest.raises(InputError, match=refusal):
        engine.loglikelihood([(PROMPT, [9]), (PROMPT, [10])])
    with pytest.raises(InputError, match="completes no prompts: The server read 5 tokens of"):
        opened(server, llama).generate([GenerationRequest(PROMPT, 3)])


def test_that_a_server_does_not_count_prompts_is_said(server, llama, tmp_path):
    server.lacks = frozenset({"usage"})
    assert "does not say how many tokens of a prompt it read" in " ".join(
        record(server, llama, cwd=tmp_path).notices
    )


@pytest.mark.parametrize("chat", [False, True])
def test_an_answer_that_is_broken_off_is_asked_again_and_then_refused(server, llama, chat):
    engine = opened(server, llama)
    request = GenerationRequest(PROMPT, 4)
    if chat:
        request = ConversationRequest((), 4, messages='[{"role": "user", "content": "hello"}]')
    engine.generate([request])
    engine.journal.remove()
    server.asked.clear()
    server.fault = says("yes", "abort")
    with pytest.raises(InputError, match=r"broke an answer off \(finish_reason 'abort'\)"):
        engine.generate([request])
    assert len(server.asked) == 2


def filtering(status, content):
    """A server that filters the second of the questions that it is asked: its answer, or the question."""
    questions = []

    def fault(path, body, number):
        if not body or "completions" not in path or body["max_tokens"] == 1:
            return None
        question = body.get("prompt") or body["messages"]
        questions.extend([question] if question not in questions else [])
        return (status, {}, json.dumps(content).encode()) if questions.index(question) == 1 else None

    return fault


BROKEN_OFF = {"finish_reason": "content_filter", "text": "yes", "message": {"content": "yes"}}
NOT_BEGUN = {"finish_reason": "content_filter", "text": None, "message": {}}


@pytest.mark.parametrize(
    ("chat", "answered"),
    [
        ("never", (200, {"choices": [BROKEN_OFF]})),
        ("never", (400, {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}})),
        ("server", (200, {"choices": [NOT_BEGUN]})),
        ("server", (400, {"error": {"code": "content_filter"}})),
    ],
)
def test_what_is_filtered_counts_as_an_empty_answer_and_stops_nothing(
    server, llama, tmp_path, chat, answered
):
    server.fault = filtering(*answered)
    found = record(server, llama, "--chat-template", chat, cwd=tmp_path)
    assert "1 of 2 answers was kept back by the server's filter of contents: taken as empty" in (
        found.notices
    )
    assert (found.n, found.answers["all"], found.answers["empty"]) == (2, 2, 1)


def test_an_answer_without_ids_ends_at_the_text_of_an_end_token(server, llama):
    server.lacks = frozenset({"heed"})
    engine = opened(server, llama)
    end, own = engine.tokenizer.encode("D", add_special_tokens=False)[-1], engine.tokenizer.eos_token_id
    assert engine.server.dialect.proved is False
    for token, ends in ((end, (end,)), (own, ())):
        mark = engine.tokenizer.decode([token])
        server.fault = says(f"yes no{mark} A B C", "length")
        engine.journal.remove()
        [answer] = engine.generate([GenerationRequest(PROMPT, 12, ("B",), ends)])
        assert (answer.text, answer.ended, answer.cut) == ("yes no", True, False)
        [answer] = engine.generate([GenerationRequest(PROMPT, 12, ("no",), ends)])
        assert (answer.text, answer.ended, answer.cut) == ("yes ", False, False)


def test_that_answers_go_on_in_a_turn_is_shown_by_the_number_of_tokens(server, llama):
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "the answer"}]
    request = ConversationRequest((), 6, messages=json.dumps(turns))
    engine = opened(server, llama)
    [answer] = engine.generate([request])
    ids = engine.tokenizer.encode("user : hello\nassistant : the answer", add_special_tokens=False)
    assert answer.text == server.engine.generate([GenerationRequest(tuple(ids), 6)])[0].text
    assert engine.noticed == set()
    server.lacks = frozenset({"heed"})
    with pytest.raises(InputError, match="does not go on in a turn that is begun"):
        opened(server, llama).generate([request])
    server.lacks = frozenset({"usage"})
    engine = opened(server, llama)
    engine.generate([request])
    assert "does not show that answers went on in the turns" in " ".join(engine.noticed)


def test_a_prompt_is_counted_where_the_server_counts():
    answer = {"choices": [{"text": "yes"}], "usage": {"prompt_tokens": 3}}
    assert read_completion(answer, 3)["read"] == 3
    assert read_completion({"choices": [{"text": "yes"}]}, 3)["read"] is None
    for sent in (2, 4):
        with pytest.raises(InputError, match=f"read 3 tokens of a prompt of {sent}"):
            read_completion(answer, sent)


@pytest.mark.parametrize(
    "answered",
    [
        (200, {"choices": [{"finish_reason": "content_filter", "text": None, "logprobs": None}]}),
        (400, {"error": {"code": "content_filter"}}),
        (403, {"error": {"code": 403, "metadata": {"reasons": ["violence"], "flagged_input": "Question"}}}),
    ],
)
def test_a_choice_that_is_filtered_is_named_and_all_else_is_scored_and_kept(
    server, llama, tmp_path, answered
):
    filtered = []

    def fault(path, body, number):
        if not body or not filtered or body.get("prompt", [])[: len(filtered)] != filtered:
            return None
        return answered[0], {}, json.dumps(answered[1]).encode()

    server.fault = fault
    told = ("score", "--engine", "api", "--url", server.url, llama, "--limit", "4", "--concurrency", "1")
    told += ("--benchmark", "lab_yes_no", "--benchmark", "lab_math")
    first = manyshot(*told, "--store", "whole", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    whole = Store(tmp_path / "whole")
    [record] = [one for one in whole.records() if one.key.benchmark == "lab_yes_no"]
    encode = opened(server, llama).tokenizer.encode
    prompts = [encode(prompt) for prompt in whole.documents(record)["prompt"]]
    filtered += prompts[1]
    done = manyshot(*told, "--store", "store", cwd=tmp_path)
    assert done.returncode == 2
    assert "keeps back how likely choices are in documents of lab_yes_no: 1 (counted from 0)" in done.stderr
    assert [one.key.benchmark for one in Store(tmp_path / "store").records()] == ["lab_math"]
    filtered.clear()
    server.asked.clear()
    again = manyshot(*told, "--store", "store", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "1 record made, 1 found" in again.stderr
    asked = [body["prompt"] for body in server.bodies("/v1/completions")]
    assert [any(one[: len(ids)] == ids for one in asked) for ids in prompts] == [False, True, False, False]
