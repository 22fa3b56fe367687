"""One step of learning coefficients beside a plain forward and backward pass, and beside autograd.

    python tests/perf/learning_step.py [--experts 7] [--tokens 24] [--folder DIR]

A Llama of 30 M random float32 parameters and its experts lie in files. Each way takes steps over one batch of
4 inputs a task, in a process of its own: `plain`, the objective with its gradients of the weights alone;
`ours`, weights written from coefficients, the objective, and the coefficients' gradient; `functional`, the
objective of weights that autograd knows as sums of task vectors, by `torch.func.functional_call`. Seconds are
medians of steps; memory is the largest anonymous one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from bench.divergence import Distributions, apart
from bench.hf.objective import Matching
from merging.differentiable import DifferentiableMerge
from merging.prepare import task_vectors

VOCABULARY, NEW_TOKENS, PER_TASK = 8000, 4, 4
WARM_UP, STEPS = 2, 7
WAYS = ("plain", "ours", "functional")


class Fixed:
    """Targets in memory: random inputs and random distributions."""

    def __init__(self, seed: int, inputs: int, tokens: int) -> None:
        random = torch.Generator().manual_seed(seed)

        def drawn(length: int) -> tuple[int, ...]:
            return tuple(torch.randint(3, VOCABULARY, (length,), generator=random).tolist())

        self.pairs = [(drawn(tokens), drawn(NEW_TOKENS)) for _ in range(inputs)]
        self._logprobs = torch.randn(inputs, NEW_TOKENS, VOCABULARY, generator=random).log_softmax(-1)

    def __len__(self) -> int:
        return len(self.pairs)

    def distributions(self, index: int, start: int = 0, stop: int | None = None) -> Distributions:
        """The distributions of one input."""
        return Distributions(self._logprobs[index][start:stop])


def make_family(folder: Path, experts: int) -> tuple[Path, dict[str, Path]]:
    """Write a base and experts, a random step away each."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=512, intermediate_size=1376, num_hidden_layers=8,
        num_attention_heads=8, num_key_value_heads=8, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    paths = {f"task{i}": folder / f"task{i}" for i in range(experts)}
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for seed, path in enumerate((folder / "base", *paths.values())):
        if not path.exists():
            random = torch.Generator().manual_seed(seed)
            model.load_state_dict(
                {
                    name: tensor + (seed > 0) * 2e-3 * torch.randn(tensor.shape, generator=random)
                    for name, tensor in start.items()
                }
            )
            model.save_pretrained(path)
    return folder / "base", paths


def measure(way: str, folder: Path, experts: int, tokens: int) -> dict[str, float]:
    """Seconds of a step, and the largest anonymous memory."""
    base, paths = make_family(folder, experts)
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1)  # so that none is a view of its file, which would not count as memory
    targets = {task: Fixed(i, PER_TASK, tokens) for i, task in enumerate(paths)}
    objective = Matching(model, targets, "js", pad=0, batch_tokens=10**6)  # type: ignore[arg-type]
    inputs = [(task, i) for task in paths for i in range(PER_TASK)]
    weights = [1.0 / PER_TASK] * len(inputs)
    coefficients = torch.full((experts, 1), 0.5, dtype=torch.float64)
    if way == "plain":

        def step() -> None:
            model.zero_grad(set_to_none=True)
            objective.values(inputs, weights)
    elif way == "ours":
        followed = DifferentiableMerge(
            model, task_vectors(str(base), {t: str(p) for t, p in paths.items()}), "task"
        )

        def step() -> None:
            followed.write_weights(coefficients)
            model.zero_grad(set_to_none=True)
            objective.values(inputs, weights)
            followed.gradient()
    else:
        step = _functional(model, paths, targets, inputs, weights)
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], _anonymous())

    for _ in range(WARM_UP):
        step()
    watcher = threading.Thread(target=watch)
    watcher.start()
    seconds = []
    for _ in range(STEPS):
        started = time.monotonic()
        step()
        seconds.append(time.monotonic() - started)
    done.set()
    watcher.join()
    return {"seconds": median(seconds), "memory": peak[0]}


def _functional(model: Any, paths: dict[str, Path], targets: Any, inputs: Any, weights: Any) -> Any:
    start = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    vectors = []
    for path in paths.values():
        expert = dict(LlamaForCausalLM.from_pretrained(path, dtype=torch.float32).named_parameters())
        vectors.append({name: (expert[name] - tensor).detach() for name, tensor in start.items()})
    coefficients = torch.full((len(paths),), 0.5, requires_grad=True)
    pairs = [targets[task].pairs[i] for task, i in inputs]
    ids = torch.tensor([[*context, *answer[:-1]] for context, answer in pairs])
    experts = Distributions(torch.cat([targets[task].distributions(i).logprobs for task, i in inputs]))
    first = len(pairs[0][0]) - 1
    share = torch.tensor(weights).repeat_interleave(NEW_TOKENS) / NEW_TOKENS

    def step() -> None:
        coefficients.grad = None
        merged = {
            name: tensor + sum(c * vector[name] for c, vector in zip(coefficients, vectors, strict=True))
            for name, tensor in start.items()
        }
        given = {"input_ids": ids, "logits_to_keep": NEW_TOKENS, "use_cache": False}
        logits = torch.func.functional_call(model, merged, kwargs=given, tie_weights=True).logits
        assert logits.shape[1] == ids.shape[1] - first
        log_q = Distributions(logits.reshape(-1, VOCABULARY).log_softmax(-1))
        (share * apart("js", experts, log_q)).sum().backward()

    return step


def _anonymous() -> int:
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def main() -> None:
    """Measure each way and print ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--experts", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--folder", type=Path, help="keep the models here")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options.way, options.folder, options.experts, options.tokens)))  # noqa: T201
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        make_family(folder, options.experts)
        found = {}
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
            command += ["--experts", str(options.experts), "--tokens", str(options.tokens)]
            found[way] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    table = Table(title=f"{options.experts} task vectors, inputs of {options.tokens} tokens")
    for heading in ("way", "seconds a step", "of plain", "of functional", "memory, MB"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for way, one in found.items():
        table.add_row(
            way,
            f"{one['seconds']:.3f}",
            f"{one['seconds'] / found['plain']['seconds']:.2f}",
            f"{one['seconds'] / found['functional']['seconds']:.2f}",
            f"{one['memory'] / 2**20:.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
