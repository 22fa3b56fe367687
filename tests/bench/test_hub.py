"""A network that is not there is found out at once, and not waited for."""

import time

import pytest

from bench import hub
from bench.data import load_rows
from bench.hub import NoDataError
from bench.suite import load_benchmark


@pytest.fixture
def unknown_network(monkeypatch):
    """Nothing is known of the network, and the hub is a port where nobody listens."""
    import datasets
    import huggingface_hub

    hub._reachable.cache_clear()
    for module in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield
    hub._reachable.cache_clear()


def test_an_unreachable_hub_is_given_up_at_once(unknown_network):
    load_rows(load_benchmark("lab_math").tasks[0], None)  # the imports are not what is timed
    started = time.monotonic()
    for name in ("gsm8k_cot", "xstest", "imdb", "m_arc"):
        with pytest.raises(NoDataError, match="cannot be loaded from the hub"):
            load_rows(load_benchmark(name).tasks[0], None)
    # With the library's own retries it is half a minute for each.
    assert time.monotonic() - started < 30


def test_behind_a_proxy_the_hub_is_believed_to_answer(unknown_network, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert hub._reachable()


def test_what_the_user_says_of_the_network_holds(unknown_network, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert not hub._reachable()
