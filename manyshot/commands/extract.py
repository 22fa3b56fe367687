"""`manyshot extract`: an adapter of low rank from a whole fine-tuned model."""

import argparse
import json

from manyshot.console import answer
from merging.extract import REPORT, extract


def run(options: argparse.Namespace) -> None:
    """Extract, and print the folder with the error of the whole and of the worst tensor."""
    out = extract(options.base, options.expert, options.out, options.rank)
    report = json.loads((out / REPORT).read_text(encoding="utf-8"))
    worst = max(report["tensors"], key=report["tensors"].__getitem__)
    answer(
        f"{out}: relative error {report['error']:.4g}, largest {report['tensors'][worst]:.4g} in {worst} "
        f"(all in {REPORT})"
    )
