"""`manyshot convert`: make a checkpoint of a GGUF file."""

import argparse

from manyshot.console import answer
from merging.gguf import convert_gguf


def run(options: argparse.Namespace) -> None:
    """Convert and print the folder of the checkpoint."""
    answer(str(convert_gguf(options.file, options.out, dtype=options.dtype, tokenizer=options.tokenizer)))
