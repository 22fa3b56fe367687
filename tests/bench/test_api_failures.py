"""A server that is busy, broken or curious: patience, one sentence, answers kept, and the key kept secret."""

import email.utils
import json
import os
import time
from pathlib import Path

import pytest
from command_line import manyshot
from tiny import tiny_llama
from tiny_server import TinyServer, serving

import bench.api.client as client_module
from bench.api.client import Client
from bench.api.served import Served
from bench.engine import EngineSettings
from bench.engine_registry import open_engine
from bench.server_settings import ServerSettings
from merging.chat import ChatSettings
from results.errors import InputError
from results.store import Store

KEY = "sk-secret-0123456789"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def running(llama):
    with serving(TinyServer(llama)) as server:
        yield server


@pytest.fixture
def server(running, monkeypatch):
    """The server as it was, and no long waits between attempts."""
    monkeypatch.setattr(client_module, "_FIRST_WAIT", 0.01)
    for variable in ("MANYSHOT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    running.asked.clear()
    nothing = running.fault
    yield running
    running.fault = nothing
    running.card.pop("root", None)


def asked(server, **settings):
    client = Client(ServerSettings(url=server.url, **settings))
    body = {"model": "tiny", "prompt": [3, 4], "max_tokens": 1}
    return client.post("/completions", body, lambda answer: answer["choices"][0]["text"])


def fails(times, status=200, headers=None, content=b"{}"):
    """The first requests fail."""
    return lambda path, body, number: (status, headers or {}, content) if number <= times else None


def score(server, *more, cwd):
    told = ("--engine", "api", "--url", server.url, "--tokenizer", server.model, "--attempts", "2")
    rest = ("--concurrency", "2", "--benchmark", "lab_math", "--limit", "8", "--store", "store", *more)
    return manyshot("score", *told, *rest, cwd=cwd)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (fails(2, 429), "in 2 attempts, at the last of which it answered with status 429: start again"),
        (fails(2, 500, content=b'{"error": {"message": "oops"}}'), r"answers with status 500 \(oops\)\.$"),
        (
            fails(2, 503, {"Retry-After": "0"}),
            "at the last of which it answered with status 503",
        ),
        (
            fails(2, content=b'{"choices": [{"te'),
            r"of another form than OpenAI's \('{\"choices\": \[{",
        ),
        (fails(2, content=b'{"choices": []}'), r"of another form than OpenAI's \('{\"choices\": \[\]}'\)"),
        (fails(2, content=b"[1]"), r"of another form than OpenAI's \('\[1\]'\)"),
    ],
)
def test_what_passes_is_asked_again(server, fault, sentence):
    server.fault = fault
    assert isinstance(asked(server, attempts=3), str)
    assert len(server.asked) == 3
    server.asked.clear()
    with pytest.raises(InputError, match=sentence):
        asked(server, attempts=2)
    assert len(server.asked) == 2


def test_a_retry_after_is_kept_to_as_seconds_and_as_a_date(server):
    server.fault = fails(1, 429, {"Retry-After": "0.4"})
    started = time.monotonic()
    asked(server)
    assert time.monotonic() - started >= 0.4
    server.asked.clear()
    server.fault = fails(1, 503, {"Retry-After": email.utils.formatdate(time.time() + 2)})
    started = time.monotonic()
    asked(server)
    assert time.monotonic() - started >= 0.9  # a date has whole seconds
    server.asked.clear()
    server.fault = fails(1, 429, {"Retry-After": "86400"})
    with pytest.raises(InputError, match="status 429"):
        asked(server)


def test_a_slow_server_is_given_up_in_a_sentence(server):
    def slow(path, body, number):
        time.sleep(0.5)

    server.fault = slow
    with pytest.raises(InputError, match=r"in 2 attempts, at the last of which it took longer than 0\.1 sec"):
        asked(server, attempts=2, timeout=0.1)


def test_a_refusal_is_not_repeated(server):
    server.fault = fails(9, 400, content=b'{"error": {"message": "the prompt is\\ntoo long."}}')
    with pytest.raises(InputError, match=r"completions answers with status 400 \(the prompt is too long\)\."):
        asked(server)
    assert len(server.asked) == 1


def test_answers_that_came_before_a_failure_are_not_asked_for_again(server, tmp_path):
    failing = set()

    def some_fail(path, body, number):
        if path == "/v1/completions" and tuple(body["prompt"]) in failing:
            return 503, {}, b""
        return None

    assert score(server, cwd=tmp_path).returncode == 0
    prompts = [tuple(body["prompt"]) for body in server.bodies("/v1/completions")[-8:]]
    server.asked.clear()
    failing.add(prompts[5])
    server.fault = some_fail
    done = score(server, "--store", "other", cwd=tmp_path)
    assert done.returncode == 2
    assert "status 503" in done.stderr
    assert "the answers that are kept" in done.stderr
    [kept] = (tmp_path / "other/answers").iterdir()
    before = len(kept.read_text().splitlines()) - 1
    assert before >= 4
    with kept.open("a") as file:
        file.write('["cut off')
    server.asked.clear()
    failing.clear()
    server.fault = lambda *_: None
    done = score(server, "--store", "other", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{before} answers kept from an earlier start" in done.stderr
    again = {tuple(body["prompt"]) for body in server.bodies("/v1/completions")}
    assert len(set(prompts)) == 8
    assert len(again.intersection(prompts)) == 8 - before
    assert not (tmp_path / "other/answers").exists()
    first, second = (next(Store(tmp_path / name).records()).value for name in ("store", "other"))
    assert first == second


def test_the_key_is_sent_and_is_in_no_file_and_no_output(server, tmp_path, monkeypatch):
    variable = "MANYSHOT_API_KEY"
    monkeypatch.setenv(variable, KEY)
    server.card["root"] = f"/models/{KEY}"  # a server that tells all that it is told
    done = [score(server, "--debug", cwd=tmp_path)]
    assert done[0].returncode == 0, done[0].stderr
    assert {headers.get("Authorization") for _, headers, _ in server.asked} == {f"Bearer {KEY}"}
    repeated = json.dumps({"error": {"message": f"you said {KEY}"}}).encode()
    for status in (400, 401, 403, 404, 429, 500, 200):
        server.asked.clear()
        server.fault = fails(99, status, content=repeated)
        done.append(score(server, "--debug", "--store", f"{status}", cwd=tmp_path))
        assert done[-1].returncode == 2, (status, done[-1].stderr)
    assert f"does not accept the key in {variable} (status 401)" in done[2].stderr
    for one in done:
        assert KEY not in one.stdout + one.stderr
        assert KEY[:9] not in one.stdout + one.stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_a_key_that_is_asked_for_or_cannot_be_one_is_said(server, tmp_path, monkeypatch):
    server.fault = fails(9, 401)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    done = score(server, cwd=tmp_path)
    assert "asks for a key (status 401): set MANYSHOT_API_KEY (OPENAI_API_KEY is sent to Op" in done.stderr
    assert not any("Authorization" in headers for _, headers, _ in server.asked)
    monkeypatch.setenv("MANYSHOT_API_KEY", f"{KEY}\n{KEY}")
    done = score(server, cwd=tmp_path)
    assert "MANYSHOT_API_KEY holds no key" in done.stderr
    assert KEY not in done.stderr


def test_an_address_of_this_machine_is_asked_through_no_proxy(server, monkeypatch, caplog):
    monkeypatch.setenv("MANYSHOT_API_KEY", KEY)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    assert isinstance(asked(server, attempts=1), str)
    assert caplog.text == ""
    Client(ServerSettings(url="http://models.example.org/v1"))
    warned = "MANYSHOT_API_KEY goes to models.example.org through the proxy 127.0.0.1 unencrypted, by http"
    assert warned in caplog.text


@pytest.mark.parametrize("status", [404, 500, 503])
def test_what_fails_beside_the_protocol_is_told_from_what_is_absent(server, tmp_path, status):
    server.fault = lambda path, *_: (status, {}, b"{}") if path == "/tokenize" else None
    done = score(server, cwd=tmp_path)
    assert done.returncode == 0
    [record] = Store(tmp_path / "store").records()
    lack = "has no /tokenize" if status == 404 else "did not answer /tokenize"
    assert any(f"the server {lack}, so that" in notice for notice in record.notices)
    assert (f"/tokenize is left out: No answer from {server.url[:-3]}" in done.stderr) == (status != 404)
    assert [path for path, _, _ in server.asked].count("/tokenize") == 1


def test_what_is_beside_the_protocol_is_not_waited_for_long(server, tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "_BESIDE_SECONDS", 0.1)
    server.fault = lambda path, *_: time.sleep(1) if path == "/tokenize" else None
    assert "it took longer than 0.1 seconds" in score(server, cwd=tmp_path).stderr


def test_a_server_that_says_nothing_to_a_fixed_question_has_no_answers_kept(server, tmp_path):
    answer = {"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}
    server.fault = lambda path, *_: (200, {}, json.dumps(answer).encode()) if "chat" in path else None
    engine = open_engine(Path(os.devnull), EngineSettings(name="api", server={"url": server.url}))
    served, chat = Served(engine, None), ChatSettings(chat_template="server")
    served.begin(tmp_path, "digest", chat)
    assert engine.journal.path is None
    for message in ({"content": "yes"}, {"content": None, "reasoning": "so"}, {"reasoning_content": "then"}):
        answer["choices"][0]["message"] = message
        served.begin(tmp_path, "digest", chat)
        assert engine.journal.path is not None
        engine.journal.keep("one", "answer")
        served.begin(tmp_path, "digest", chat)
        assert engine.journal.find("one") == "answer"
    answer["choices"][0]["message"] = {"reasoning_content": "others"}
    served.begin(tmp_path, "digest", chat)
    assert engine.journal.find("one") is None


def test_what_netrc_has_is_sent_nowhere(server, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password netrc-secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    asked(server)
    assert "Authorization" not in server.asked[0][1]


def test_a_redirect_takes_the_key_nowhere(server, llama, tmp_path, monkeypatch):
    monkeypatch.setenv("MANYSHOT_API_KEY", KEY)
    with serving(TinyServer(llama)) as other:
        for status in (301, 302, 307, 308):
            server.fault = fails(99, status, {"Location": f"{other.url}/models"})
            done = score(server, cwd=tmp_path)
            assert done.returncode == 2
            assert "redirects to 127.0.0.1, which is not followed" in done.stderr
        assert other.asked == []


def test_a_server_that_is_down_or_has_another_model_is_said_at_once(server, tmp_path):
    started = time.monotonic()
    told = ("score", "--engine", "api", "--benchmark", "lab_math", "--url")
    done = manyshot(*told, "http://127.0.0.1:9/v1", cwd=tmp_path)
    assert done.returncode == 2
    assert "nothing listens there (connection refused). Is the server started" in done.stderr
    assert time.monotonic() - started < 10
    done = score(server, "--model", "tinny", cwd=tmp_path)
    assert f"{server.url} has no model 'tinny'; it has tiny. The nearest name is tiny." in done.stderr
    done = manyshot(*told, server.url.removesuffix("/v1"), cwd=tmp_path)
    assert f"Most servers have it below /v1: --url {server.url}." in done.stderr
    server.fault = lambda *_: (200, {}, b"<html>")
    assert "another form" in score(server, cwd=tmp_path).stderr
