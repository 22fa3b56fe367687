"""`manyshot compress`: experts stored as masks of one merged vector, or as task vectors of a few bits."""

import argparse
import json

from manyshot.console import answer
from merging.compress import REPORT, compress
from results.errors import InputError


def run(options: argparse.Namespace) -> None:
    """Store them, and print the sizes with each expert's error."""
    experts: dict[str, str] = {}
    for text in options.experts:
        task, equals, path = text.partition("=")
        if not (task and equals and path) or task in experts:
            raise InputError(f"{text!r}: each expert is expected once, as TASK=PATH.")
        experts[task] = path
    out = compress(
        options.base, experts, options.out, bits=options.bits, mask_threshold=options.mask_threshold
    )
    report = json.loads((out / REPORT).read_text(encoding="utf-8"))
    share = report["bytes"] / report["bytes_of_experts"]
    errors = ", ".join(f"{task} {error:.4g}" for task, error in report["error"].items())
    answer(
        f"{out}: {report['bytes']:,} bytes for {report['bytes_of_experts']:,} ({share:.1%}); relative error "
        f"{errors} (of every tensor in {REPORT})"
    )
