"""What asking a server is made of: addresses, keys, waits, calls in threads, and answers that are kept."""

import threading
import time

import pytest

from bench.api.client import backoff, is_loopback
from bench.api.journal import Journal
from bench.api.key import ApiKey
from bench.api.pool import results_of
from bench.server_settings import ServerSettings
from results.errors import InputError
from results.validation import validated

KEY = "sk-secret-0123456789"


def test_waits_grow_twofold_up_to_a_minute():
    for attempt, seconds in enumerate((0.5, 1, 2, 4, 8, 16, 32, 60, 60)):
        assert seconds <= backoff(attempt) <= 1.25 * seconds


def test_answers_of_another_model_under_the_same_name_are_not_taken(tmp_path):
    path = tmp_path / "answers/of.jsonl"
    Journal(path, [-1.0, -2.0]).keep("of one", {"text": "old"})
    assert Journal(path, [-1.001, -2.002]).find("of one") == {"text": "old"}
    assert Journal(path, [-1.0, -2.02]).find("of one") is None
    assert not path.exists()
    Journal(path, "what it says").keep("of one", {"text": "old"})
    assert Journal(path, "something else").find("of one") is None


@pytest.mark.parametrize("host", ["openai.com", "api.openai.com", "eu.api.openai.com"])
def test_openais_key_is_for_openais_hosts_and_others_have_their_own(monkeypatch, host):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("MANYSHOT_API_KEY", raising=False)
    assert ApiKey.find(host) == ApiKey("OPENAI_API_KEY", KEY)
    assert ApiKey.find(f"{host}.example.org") is ApiKey.find("notopenai.com") is None
    monkeypatch.setenv("MANYSHOT_API_KEY", "own")
    assert ApiKey.find(host) == ApiKey.find("localhost") == ApiKey("MANYSHOT_API_KEY", "own")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1", "a.localhost"])
def test_what_this_machine_is_called(host):
    assert is_loopback(host)
    assert not is_loopback(f"{host}.org")


def test_results_that_are_there_are_given_before_a_failure():
    """The failure waits in the queue while its caller is slow, and further results come after it."""
    first, failed, later = (threading.Event() for _ in range(3))

    def second():
        first.wait(9)
        failed.set()
        raise ValueError("broken")

    def third():
        failed.wait(9)
        time.sleep(0.1)
        later.set()
        return "third"

    given = []
    with pytest.raises(ValueError, match="broken"):
        for key, _ in results_of({"first": lambda: "first", "second": second, "third": third}, 3):
            given.append(key)
            first.set()
            later.wait(9)
            time.sleep(0.1)
    assert given == ["first", "third"]


@pytest.mark.parametrize(
    "url",
    ["http://me:secret@host/v1", "http://me@host/v1", "http://host/v1?key=secret", "http://host/v1#secret"],
)
def test_an_address_with_credentials_is_refused_unseen(url):
    with pytest.raises(InputError) as refused:
        validated(ServerSettings, {"url": url}, "The command line")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["host:8000/v1", "ftp://host/v1", "http://", "http://host:port/v1", ""])
def test_what_is_no_address_is_said(url):
    with pytest.raises(InputError, match="is no address such as http://localhost:8000/v1"):
        validated(ServerSettings, {"url": url}, "The command line")
