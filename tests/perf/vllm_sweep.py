"""Ten checkpoints by one vLLM engine beside ten engines started anew, in one run.

    python tests/perf/vllm_sweep.py [--folder DIR]

Each checkpoint answers the same prompts. Engines that are started anew are processes of their own, as ten
runs of a command line are; the sweep is a process too, so both pay for their imports.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from bench.engine import EngineSettings, GenerationRequest
from manyshot.lab.tokenizer import build_tokenizer

CHECKPOINTS, PROMPTS, NEW_TOKENS = 10, 64, 16
WORDS = " ".join(f"word{i}" for i in range(500))


def make_family(folder: Path) -> list[Path]:
    """Checkpoints of 3.5 M parameters; what is there already is kept."""
    paths = [folder / f"{i}" for i in range(CHECKPOINTS)]
    if (paths[-1] / "model.safetensors").is_file():
        return paths
    tokenizer = build_tokenizer([WORDS], 512)
    torch.manual_seed(0)
    shape = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **shape))
    for path in paths:
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
    for seed, path in enumerate(paths[1:], start=1):
        torch.manual_seed(seed)
        tensors = load_file(path / "model.safetensors")
        moved = {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in tensors.items()}
        save_file(moved, path / "model.safetensors", metadata={"format": "pt"})
    return paths


def sweep(paths: list[Path]) -> dict[str, float]:
    """Seconds of the start and of all swaps after it, of one engine over the checkpoints."""
    from bench.engines.vllm import VLLMEngine

    started = time.perf_counter()
    engine = VLLMEngine(paths[0], EngineSettings(name="vllm", dtype="float32", device="cpu"))
    start, swaps = time.perf_counter() - started, 0.0
    try:
        for path in paths:
            if path is not paths[0]:
                before = time.perf_counter()
                engine.swap(path)
                swaps += time.perf_counter() - before
            prompt = engine.tokenizer.encode(WORDS[:200])
            engine.generate([GenerationRequest([*prompt, i % 400], NEW_TOKENS) for i in range(PROMPTS)])
    finally:
        engine.close()
    return {"start": start, "swaps": swaps, "starts": engine.starts}


def in_process(paths: list[Path]) -> tuple[float, dict[str, float]]:
    """Wall seconds of a sweep in a process of its own, and what it measured."""
    started = time.perf_counter()
    command = [sys.executable, __file__, "--sweep", *map(str, paths)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - started, json.loads(output.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("build/perf"), help="where the models are kept")
    parser.add_argument("--sweep", nargs="+", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sweep:
        sys.stdout.write(f"\n{json.dumps(sweep(options.sweep))}\n")
        return
    paths = make_family(options.folder / "ten llamas")
    in_process(paths[:1])  # brings the libraries into memory and compiles
    whole, inside = in_process(paths)
    apart = sum(in_process([path])[0] for path in paths)
    table = Table("ten checkpoints", "s", "ratio", "asked")
    table.add_row("ten engines, each started anew", f"{apart:.1f}", "1", "")
    table.add_row(f"one engine ({inside['starts']} start)", f"{whole:.1f}", f"{whole / apart:.2f}", "0.25")
    table.add_row("its start", f"{inside['start']:.1f}", "", "")
    table.add_row("its nine swaps", f"{inside['swaps']:.2f}", "", "2 s")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
