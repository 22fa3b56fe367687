"""Every form of a mergekit file merged by mergekit and by us, and how far apart the results are.

    python tests/perf/compare_mergekit.py MERGEKIT_YAML [--folder DIR] [--only NAME ...] [--values]
    python tests/perf/compare_mergekit.py MERGEKIT_YAML --examples DIR

Tiny Llamas of four blocks with random weights. For each file: the share of entries that are more than a step
of bfloat16 apart (and more than a millionth, since sums that cancel round apart), the largest difference, and
both norms, which can be compared where entries are dropped by chance. `--values` prints what is kept of
mergekit's results in `tests/merging/test_mergekit_files.py`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import yaml
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))
from mergekit_files import (
    FILES,
    LOOKED_AT,
    TOKEN_FILES,
    TOKENS,
    by_token,
    make_models,
    make_token_models,
    models_for,
)
from transformers import AutoTokenizer

from merging.merge import merge
from merging.recipe_file import load_recipe


def by_mergekit(command: str, config: Path, out: Path) -> dict[str, torch.Tensor]:
    """Merge by mergekit's command line."""
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    options = ["--quiet", "--random-seed", "0", "--no-write-model-card", "--clone-tensors"]
    subprocess.run(
        [command, str(config), str(out), *options], env=environment, check=True, capture_output=True
    )
    return by_token(out)


def too_far_apart(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Return where bfloat16 tensors are more than one number of bfloat16 and more than a millionth apart."""
    ranks = []
    for tensor in (ours, theirs):
        bits = tensor.contiguous().view(torch.int16).int()
        ranks.append(torch.where(bits < 0, -(bits & 0x7FFF), bits))
    return ((ranks[0] - ranks[1]).abs() > 1) & ((ours.float() - theirs.float()).abs() > 1e-6)


def compared(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> str:
    """Return a line of the table."""
    if ours.keys() != theirs.keys():
        return f"other tensors: {sorted(ours.keys() ^ theirs.keys())[:3]}"
    apart = torch.cat([too_far_apart(ours[name], theirs[name]).flatten() for name in ours])
    flat = [torch.cat([one[name].double().flatten() for name in ours]) for one in (ours, theirs)]
    beyond, largest = float(apart.double().mean()), float((flat[0] - flat[1]).abs().max())
    norms = " ".join(f"{float(one.norm()):.4f}" for one in flat)
    return f"beyond a step {beyond:.6f}  largest {largest:.2e}  norms {norms}"


def main() -> None:
    """Compare and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mergekit_yaml")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[*FILES, *TOKEN_FILES])
    parser.add_argument("--values", action="store_true")
    parser.add_argument("--examples", type=Path)
    options = parser.parse_args()
    console, folder = Console(width=140), options.folder or Path(tempfile.mkdtemp())
    if options.examples:
        contents = {
            path.stem: models_for(path.read_text(), folder)
            for path in sorted(options.examples.glob("*.y*ml"))
        }
    else:
        contents = {name: {**FILES, **TOKEN_FILES}[name](folder) for name in options.only}
        if not (folder / "base").exists():
            make_models(folder)
            make_token_models(folder)
    for name, content in contents.items():
        config = folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump(content))
        out = folder / f"{name}-theirs"
        theirs = by_token(out) if out.exists() else by_mergekit(options.mergekit_yaml, config, out)
        with tempfile.TemporaryDirectory() as temporary:
            ours = by_token(merge(load_recipe(config), Path(temporary) / "ours", progress=False))
            console.print(f"{name:26} {compared(ours, theirs)}")
        for tensor in LOOKED_AT if options.values else ():
            console.print(f"    {tensor} {theirs[tensor].flatten()[:4].float().tolist()}")
        if options.values and name in TOKEN_FILES:
            places = {
                token: row for row, token in enumerate(sorted(AutoTokenizer.from_pretrained(out).get_vocab()))
            }
            for token in TOKENS:
                row = theirs["model.embed_tokens.weight"][places[token]]
                console.print(f"    {token} {row[:3].float().tolist()}", highlight=False)


if __name__ == "__main__":
    main()
