"""A worker on a GPU: seconds to swap a model of 1.1 billion parameters, and the share that is not scoring.

    python tests/perf/gpu_worker.py TOKENIZER [--checkpoints 4] [--benchmark NAME …] [--limit N]

Checkpoints of random weights in the shapes of TinyLlama-1.1B, in bfloat16, with the tokenizer of a
checkpoint that is named. First an engine swaps them in turn; then `manyshot score --workers 1` scores all,
and what its records took is taken from what the command took.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from bench.engine import EngineSettings
from bench.engines.hf import HFEngine

ASKED = 0.1
HIDDEN, INTERMEDIATE, LAYERS, HEADS, KEY_VALUE_HEADS = 2048, 5632, 22, 32, 4


def write_family(folder: Path, tokenizer: str, number: int, device: str) -> list[Path]:
    """Write checkpoints of which each has the weights of the first, moved a little."""
    words = AutoTokenizer.from_pretrained(tokenizer)
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        vocab_size=len(words),
        max_position_embeddings=8192,
        dtype="bfloat16",
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    paths = [folder / f"checkpoint{index}" for index in range(number)]
    for path in paths:
        model.save_pretrained(path, max_shard_size="1GB")
        words.save_pretrained(path)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=1e-4)
    return paths


def swap_seconds(paths: list[Path], device: str) -> list[float]:
    """Seconds of loading the first checkpoint, then of each swap, the first's at the end once more."""
    started = time.perf_counter()
    engine = HFEngine(paths[0], EngineSettings(name="hf", device=device, dtype="bfloat16"))
    seconds = [time.perf_counter() - started]
    for path in [*paths[1:], paths[0]]:
        started = time.perf_counter()
        engine.swap(path)
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds


def scored(paths: list[Path], benchmarks: list[str], options: argparse.Namespace) -> tuple[float, float, int]:
    """Seconds of the command, seconds of its records, and the number of their documents."""
    flags = [flag for name in benchmarks for flag in ("--benchmark", name)]
    flags += ["--limit", str(options.limit)] if options.limit else []
    flags += ["--workers", "1", "--engine", "hf", "--device", options.device, "--dtype", "bfloat16", "--json"]
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "manyshot", "score", *map(str, paths), *flags, "--store", store]
        started = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - started
    records = json.loads(done.stdout)
    return seconds, sum(record["seconds"] for record in records), sum(record["n"] for record in records)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokenizer", help="folder of a checkpoint")
    parser.add_argument("--checkpoints", type=int, default=4)
    parser.add_argument("--benchmark", action="append")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        paths = write_family(folder, options.tokenizer, options.checkpoints, options.device)
        first, *swaps = swap_seconds(paths, options.device)
        benchmarks = options.benchmark or ["hellaswag", "arc_challenge", "gsm8k_likelihood", "gsm8k_cot"]
        seconds, scoring, documents = scored(paths, benchmarks, options)
    finally:
        shutil.rmtree(folder)
    table = Table(f"{len(paths)} checkpoints on {', '.join(benchmarks)}", "measured", "asked")
    table.add_row("loading the first, s", f"{first:.2f}", "")
    table.add_row("swaps, s", ", ".join(f"{swap:.2f}" for swap in swaps), "")
    table.add_row("the command, with the start of Ray and of the worker, s", f"{seconds:.1f}", "")
    table.add_row(f"scoring of {documents:,} documents, s", f"{scoring:.1f}", "")
    table.add_row("share that is not scoring", f"{1 - scoring / seconds:.3f}", str(ASKED))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
