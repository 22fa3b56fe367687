"""A headless Chromium for tests of pages: skipped where there is none, but never in CI."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def headless_chromium() -> "Iterator[Browser]":
    """Start the machine's Chromium, driven by playwright."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    missing = "playwright is not installed" if importlib.util.find_spec("playwright") is None else ""
    missing = missing or ("" if found else "there is no Chromium on this machine")
    if missing and os.environ.get("CI"):
        pytest.fail(f"{missing}, and the page must be tested here")
    if missing:
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
