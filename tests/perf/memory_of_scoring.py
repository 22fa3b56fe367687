"""Peak memory of scoring with a vocabulary of 128,000, beside lm-eval's own class for transformers.

    python tests/perf/memory_of_scoring.py [--folder DIR]

Both score sequences of 128 tokens, 8,192 at once, each in a process of its own. Memory is the largest
resident size above that with the model loaded.
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from bench.engine import EngineSettings
from bench.engine_registry import open_engine
from manyshot.lab.tokenizer import build_tokenizer

VOCABULARY, LENGTH, AT_ONCE = 128_000, 128, 8192
PAIRS = [(list(range(3 + i, 3 + i + LENGTH // 2)), list(range(200, 200 + LENGTH // 2))) for i in range(128)]


def make_checkpoint(folder: Path) -> Path:
    """A random Llama with a large vocabulary; what is there already is kept."""
    if not (folder / "model.safetensors").is_file():
        torch.manual_seed(0)
        shape = {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        }
        LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **shape)).save_pretrained(folder)
        build_tokenizer(["a b c"], 2048).save_pretrained(folder)
    return folder


def ours(checkpoint: Path) -> None:
    """Print the bytes that the hf engine takes."""
    settings = EngineSettings(dtype="float32", device="cpu", batch_tokens=AT_ONCE)
    engine = open_engine(checkpoint, settings)
    before = peak()
    engine.loglikelihood(PAIRS)
    sys.stdout.write(f"\n{peak() - before}\n")


def theirs(checkpoint: Path) -> None:
    """Print the bytes that lm-eval's class takes."""
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=str(checkpoint), dtype="float32", device="cpu", batch_size=AT_ONCE // LENGTH)
    before = peak()
    lm._loglikelihood_tokens([(("", ""), *pair) for pair in PAIRS], disable_tqdm=True)
    sys.stdout.write(f"\n{peak() - before}\n")


def peak() -> int:
    """Largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("build/perf"), help="where the model is kept")
    parser.add_argument("--measure", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    checkpoint = make_checkpoint(options.folder / "llama with 128,000 words")
    if options.measure:
        {"ours": ours, "theirs": theirs}[options.measure](checkpoint)
        return
    taken = {}
    for name in ("ours", "theirs"):
        command = [sys.executable, __file__, "--folder", str(options.folder), "--measure", name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        taken[name] = int(output.splitlines()[-1])
    table = Table("scoring 8,192 tokens at once", "MB", "times less", "asked")
    table.add_row("lm-eval's HFLM", f"{taken['theirs'] / 1e6:.0f}", "", "")
    table.add_row("hf engine", f"{taken['ours'] / 1e6:.0f}", f"{taken['theirs'] / taken['ours']:.1f}", "4")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
