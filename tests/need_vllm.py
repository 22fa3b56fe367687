"""Tests that need vLLM: skipped where it is not, but never in CI."""

import importlib.util
import os

import pytest


def need(name: str) -> None:
    """`make test` installs vLLM: where it is missing all the same, CI must not pass without it."""
    if name != "vllm" or importlib.util.find_spec("vllm"):
        return
    if os.environ.get("CI"):
        pytest.fail("vLLM is not installed, and its contract must be tested here")
    pytest.skip("vLLM is not installed: `make setup-vllm` installs it")
