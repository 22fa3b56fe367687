"""`manyshot merge`: merge experts as a recipe file says."""

import argparse

from manyshot.terminal import answer
from merging.merge import merge
from merging.recipe import load_recipe


def run(options: argparse.Namespace) -> None:
    """Merge, and print the folder of the result."""
    answer(str(merge(load_recipe(options.recipe), options.out)))
