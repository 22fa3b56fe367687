"""Seconds of merging on a GPU beside this machine's CPU, and how far the weights are apart.

    python tests/perf/gpu_merges.py [--layers 24] [--method NAME …] [--folder DIR]

Four experts and a base of random weights in the shapes of Qwen2.5-0.5B, in bfloat16.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from family import make_family
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from merging.merge import merge
from merging.recipe import Recipe

METHODS = ("task_arithmetic", "ties", "dare", "tsv_merge", "iso", "cart", "wudi")


def merged(recipe: Recipe, out: Path, device: str) -> float:
    """Seconds in which a recipe is merged."""
    started = time.perf_counter()
    merge(recipe, out, progress=False, device=device)
    return time.perf_counter() - started


def furthest(one: Path, other: Path) -> float:
    """The largest difference between weights of two folders, in units of the last place of bfloat16."""
    there = load_file(other / "model.safetensors")
    steps = [
        (numbered(tensor) - numbered(there[name])).abs().max().item()
        for name, tensor in load_file(one / "model.safetensors").items()
    ]
    return max(steps)


def numbered(weights: torch.Tensor) -> torch.Tensor:
    """Number the bfloat16 numbers in their order."""
    bits = weights.view(torch.int16).int()
    return torch.where(bits < 0, -(bits & 0x7FFF), bits)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--method", action="append")
    parser.add_argument("--folder", type=Path, help="for the family; what is there is kept")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    table = Table("method", "CPU, s", f"{options.device}, s", "ratio", "steps of bfloat16 apart, at most")
    with tempfile.TemporaryDirectory() as folder:
        base, experts = make_family(options.folder or Path(folder) / "family", layers=options.layers)
        for method in options.method or METHODS:
            recipe = Recipe(base=base, experts=experts, method={"name": method})
            outs = {device: Path(folder) / method / device for device in ("cpu", options.device)}
            merged(recipe, Path(folder) / method / "first", options.device)  # compiles, and reads the files
            seconds = {device: merged(recipe, out, device) for device, out in outs.items()}
            ratio = seconds[options.device] / seconds["cpu"]
            apart = furthest(outs["cpu"], outs[options.device])
            table.add_row(
                method,
                f"{seconds['cpu']:.1f}",
                f"{seconds[options.device]:.1f}",
                f"{ratio:.2f}",
                f"{apart:,}",
            )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
