"""Tests that need bubblewrap: skipped where it is not, but never in CI."""

import os
import shutil

import pytest


def need_bwrap() -> None:
    """`.ci/run` installs it: where it is missing all the same, CI must not pass without it."""
    if shutil.which("bwrap"):
        return
    if os.environ.get("CI"):
        pytest.fail("bubblewrap (bwrap) is not installed, and its sandbox must be tested here")
    pytest.skip("bubblewrap (bwrap) is not installed")
