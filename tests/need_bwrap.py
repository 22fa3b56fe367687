"""Tests that need bubblewrap: skipped where it is not; in CI only where the kernel gives it no namespaces."""

import os
import shutil
import subprocess

import pytest


def need_bwrap() -> None:
    """`.ci/run` installs it: where it is missing all the same, CI must not pass without it."""
    if shutil.which("bwrap") is None:
        if os.environ.get("CI"):
            pytest.fail("bubblewrap (bwrap) is not installed, and its sandbox must be tested here")
        pytest.skip("bubblewrap (bwrap) is not installed")
    tried = subprocess.run(
        ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"this machine lets bubblewrap make no namespaces: {tried.stderr.strip()}")
