"""A cut answer is thought, not said, where the server's template begins thoughts that it does not end."""

import json

import pytest
from command_line import manyshot
from tiny import tiny_llama
from tiny_server import TinyServer, serving

from results.store import Store

PLAIN = "{% for m in messages %}{{ m.content }}{% endfor %}"
THINKING = PLAIN + "{% if add_generation_prompt %}<think>\n{% endif %}"
ENDS = "so it is 3 </think> 3"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def server(llama):
    with serving(TinyServer(llama)) as running:
        yield running


def answers(server, *more, cwd, texts=("yes",), paths=None, reason="length", thoughts="", counts=True):
    """The record of four answers, each one of the texts in turn, cut unless it ends its thoughts.

    Args:
        paths: what the server says of its template, by path.
        thoughts: taken out of answers.
        counts: whether tokens are counted.
    """
    asked = []

    def fault(path, body, number):
        if path in (paths or {}):
            return 200, {}, json.dumps(paths[path]).encode()
        if "chat" not in path:
            return None if path == "/v1/models" else (404, {}, b"")
        asked.append(body)
        text = texts[len(asked) % len(texts)]
        message = {"content": text, **({"reasoning_content": thoughts} if thoughts else {})}
        choice = {"message": message, "finish_reason": "stop" if "</think>" in text else reason}
        usage = {"usage": {"completion_tokens": 7}} if counts else {}
        return 200, {}, json.dumps({"choices": [choice], **usage}).encode()

    server.fault = fault
    told = ("--engine", "api", "--url", server.url, "--benchmark", "lab_math", "--limit", "8")
    done = manyshot("score", *told, "--chat-template", "server", *more, "--store", "store", cwd=cwd)
    assert done.returncode == 0, done.stderr
    [record] = Store(cwd / "store").records()
    return record


SHOWN = {"/apply-template": {"prompt": "user: Hello\n<think>\n"}}
TOKENS = {"/tokenize": {"tokens": [1, 2, 3]}, "/detokenize": {"prompt": "Hello<think>\n"}}


@pytest.mark.parametrize("paths", [SHOWN, TOKENS])
def test_a_cut_answer_says_nothing_where_the_server_shows_that_thoughts_are_begun(server, tmp_path, paths):
    record = answers(server, cwd=tmp_path, paths=paths)
    assert (record.answers["empty"], record.answers["cut"]) == (8, 8)


@pytest.mark.parametrize(
    "told",
    [
        {"paths": SHOWN, "reason": "stop"},
        {"paths": SHOWN, "thoughts": "it is thought apart"},
        {"paths": {"/apply-template": {"prompt": "user: Hello\nassistant:"}}},
        {"paths": {**TOKENS, "/detokenize": {"prompt": "<think>\n</think>\n\n"}}},
    ],
)
def test_other_answers_are_what_they_say(server, tmp_path, told):
    record = answers(server, cwd=tmp_path, **told)
    assert record.answers["empty"] == 0
    assert not any("taken as they are" in notice for notice in record.notices)


def test_thoughts_that_are_switched_off_are_none(server, tmp_path):
    assert answers(server, "--no-enable-thinking", cwd=tmp_path, paths=SHOWN).answers["empty"] == 0


def test_where_nothing_shows_it_cut_answers_stand_and_it_is_said(server, tmp_path):
    record = answers(server, cwd=tmp_path)
    assert record.answers["empty"] == 0
    assert any(notice.startswith("8 cut answers taken as read") for notice in record.notices)


def test_an_answer_that_ends_what_it_never_began_shows_that_thoughts_are_begun(server, tmp_path):
    record = answers(server, "--concurrency", "1", cwd=tmp_path, texts=("yes", ENDS))
    assert (record.answers["empty"], record.answers["cut"]) == (4, 4)
    assert not any("taken as they are" in notice for notice in record.notices)


def test_thinking_that_is_switched_on_is_begun(server, tmp_path):
    assert answers(server, "--enable-thinking", cwd=tmp_path).answers["empty"] == 8


@pytest.mark.parametrize(("template", "empty"), [(PLAIN, 0), (THINKING, 8)])
def test_a_tokenizer_that_was_given_shows_its_template(server, llama, tmp_path, template, empty):
    from shutil import copytree

    folder = copytree(llama, tmp_path / "tokenizer")
    (folder / "chat_template.jinja").write_text(template)
    assert answers(server, "--tokenizer", folder, cwd=tmp_path).answers["empty"] == empty


def test_tokens_are_left_out_where_nobody_counts_them(server, tmp_path):
    assert answers(server, cwd=tmp_path / "a", counts=False).tokens == {}
    assert answers(server, cwd=tmp_path / "b").tokens == {"generated": 56}


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
