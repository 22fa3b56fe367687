"""`manyshot restore`: an expert's checkpoint from what `manyshot compress` stored of it."""

import argparse

from manyshot.console import answer
from merging.restore import restore


def run(options: argparse.Namespace) -> None:
    """Restore, and print the folder."""
    answer(str(restore(options.store, options.task, options.out, options.base)))
