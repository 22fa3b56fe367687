"""Scoring with the hf engine beside lm-eval's own class for transformers, in one run.

    MANYSHOT_DATA=… python tests/perf/against_hflm.py [--folder DIR] [--device cuda --dtype bfloat16 …]

A Llama of random parameters, 30 M unless told, with a BPE vocabulary of 32,000 trained on local text, or a
checkpoint (--checkpoint, with --chat in its chat form), answers real rows, in float32 on a CPU unless told.
Both get the same documents through lm-eval; seconds are of the whole evaluation, with prompts and metrics.
lm-eval's class gets the batch size that served it best. The last columns say how many prompts have the same
tokens, and how far log-likelihoods or answers are from each other; --exact says how far both are from
lm-eval's class in float64. With --vllm the vllm engine answers too.
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.answers import run_lm_eval
from bench.data import data_root, load_rows
from bench.engine import EngineSettings
from bench.engine_registry import open_engine
from bench.lm import EngineLM
from bench.score_settings import ScoreSettings
from bench.suite import load_benchmark
from merging.chat import ChatSettings, chat_form

VOCABULARY, WIDTH, LAYERS, HEAD_WIDTH = 32_000, 384, 10, 64
BATCH_SIZE = 16


@dataclass(frozen=True)
class Job:
    """A benchmark, how many documents of it, and the ratio that is asked."""

    title: str
    benchmark: str
    limit: int
    asked: float
    shots: int
    new_tokens: int | None = None


JOBS = (
    Job("HellaSwag", "hellaswag", 200, 0.45, 0),
    Job("ARC-Challenge", "arc_challenge", 150, 0.33, 3),
    Job("multilingual MMLU (ar)", "m_mmlu_ar", 150, 0.5, 5),
    Job("GSM8K, 64 tokens", "gsm8k_cot", 64, 0.6, 8, 64),
)


def real_jobs(documents: int, new_tokens: int) -> tuple[Job, ...]:
    """What a real checkpoint is asked, 0 shots but for GSM8K."""
    return (
        Job("HellaSwag", "hellaswag", documents, 0.5, 0),
        Job("ARC-Challenge", "arc_challenge", documents, 0.5, 0),
        Job(f"GSM8K, {new_tokens} tokens", "gsm8k", documents, 0.5, 5, new_tokens),
        Job(f"IFEval, {new_tokens} tokens", "ifeval", documents, 0.5, 0, new_tokens),
    )


def make_checkpoint(folder: Path, root: Path, width: int, layers: int) -> Path:
    """A random Llama and its tokenizer, trained on the local rows' text; what is there already is kept."""
    if (folder / "model.safetensors").is_file():
        return folder
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train(
        [str(path) for path in sorted(root.rglob("*.jsonl")) if "recorded" not in path.parts], trainer
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=8192,
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD_WIDTH,
        num_key_value_heads=width // HEAD_WIDTH,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def prepared(job: Job, root: Path) -> tuple[Any, Any]:
    """The benchmark of a job, and its rows."""
    benchmark = load_benchmark(job.benchmark)
    tasks = []
    for task in benchmark.tasks:
        config = {**task.config, "num_fewshot": job.shots}
        if job.new_tokens:
            config["generation_kwargs"] = {**config["generation_kwargs"], "max_gen_toks": job.new_tokens}
        tasks.append(replace(task, config=config))
    # Where a benchmark has worked examples but no local split of them, lm-eval takes its first documents.
    return benchmark.but(tasks=tuple(tasks)), {task.name: load_rows(task, root) for task in benchmark.tasks}


def measured(lm: Any, job: Job, root: Path, chat: ChatSettings) -> tuple[float, list[Any]]:
    """Seconds of one evaluation, and prompts and answers in the order of the documents."""
    benchmark, rows = prepared(job, root)
    started = time.perf_counter()
    results = run_lm_eval(lm, benchmark, rows, ScoreSettings(limit=job.limit, chat=chat))
    seconds = time.perf_counter() - started
    samples = [sample for task in results["samples"].values() for sample in task]
    samples.sort(key=lambda sample: (sample["doc_id"], sample["filter"]))
    return seconds, [(sample["arguments"], sample["resps"]) for sample in samples]


def same_prompts(lms: tuple[Any, Any], ours: list[Any], theirs: list[Any]) -> str:
    """How many requests have the same tokens."""
    pairs = [
        (mine[:2], other[:2])
        for (a, _), (b, _) in zip(ours, theirs, strict=True)
        for mine, other in zip(a, b, strict=True)
    ]
    same = sum(
        lms[0].tok_encode(mine[0]) == lms[1].tok_encode(other[0])
        and (mine == other or isinstance(mine[1], dict))
        for mine, other in pairs
    )
    return f"{same} of {len(pairs)}"


def difference(job: Job, ours: list[Any], theirs: list[Any]) -> str:
    """The largest difference of log-likelihoods, or the share of equal answers."""
    if job.new_tokens:
        return f"{sum(a[1] == b[1] for a, b in zip(ours, theirs, strict=True)) / len(ours):.1%} equal"
    pairs = [
        (float(mine[0][0]), float(other[0][0]))
        for (_, a), (_, b) in zip(ours, theirs, strict=True)
        for mine, other in zip(a, b, strict=True)
    ]
    return f"{max(abs(mine - other) for mine, other in pairs):.1e} of {len(pairs)}"


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("build/perf"), help="where the model is kept")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help="of lm-eval's class (%(default)s)")
    parser.add_argument("--device", default="cpu", help="(%(default)s)")
    parser.add_argument("--dtype", default="float32", help="(%(default)s)")
    parser.add_argument("--width", type=int, default=WIDTH, help="of the model (%(default)s)")
    parser.add_argument("--checkpoint", type=Path, help="a real one, in place of the random one")
    parser.add_argument("--chat", action="store_true", help="in its chat form")
    parser.add_argument("--documents", type=int, default=100, help="of each benchmark (%(default)s)")
    parser.add_argument("--new-tokens", type=int, default=256, help="of a checkpoint's answer (%(default)s)")
    parser.add_argument("--vllm", action="store_true", help="beside the vllm engine, too")
    parser.add_argument("--benchmark", action="append", help="only this one; may stand several times")
    parser.add_argument("--exact", action="store_true", help="beside lm-eval's class in float64, too")
    parser.add_argument("--layers", type=int, default=LAYERS, help="of the model (%(default)s)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    root = data_root(None)
    if root is None:
        raise SystemExit("MANYSHOT_DATA must name a folder with real rows.")
    checkpoint, jobs = options.checkpoint, real_jobs(options.documents, options.new_tokens)
    if checkpoint is None:
        name = f"llama {options.width} x {options.layers}"
        checkpoint, jobs = make_checkpoint(options.folder / name, root, options.width, options.layers), JOBS
    jobs = tuple(job for job in jobs if not options.benchmark or job.benchmark in options.benchmark)
    chat = ChatSettings(chat_template="always" if options.chat else "never")
    place = {"dtype": options.dtype, "device": options.device}
    engine = open_engine(checkpoint, EngineSettings(**place))
    ours = EngineLM(engine, chat=chat_form(engine.tokenizer, chat, checkpoint))
    theirs = HFLM(pretrained=str(checkpoint), batch_size=options.batch_size, **place)
    lms = [ours, theirs]
    headings = ["benchmark", "shots", "documents", "s", "HFLM, s", "ratio", "asked"]
    if options.vllm:
        vllm = open_engine(checkpoint, EngineSettings(name="vllm", **place))
        lms.append(EngineLM(vllm, chat=chat_form(vllm.tokenizer, chat, checkpoint)))
        headings += ["vllm, s", "ratio"]
    headings += ["same prompts", "log-likelihoods, answers"]
    exact = None
    if options.exact:
        exact = HFLM(
            pretrained=str(checkpoint), batch_size=options.batch_size, **{**place, "dtype": "float64"}
        )
        headings.append("ours, lm-eval's class from float64")
    table = Table(*headings)
    for lm in lms:
        measured(lm, replace(jobs[0], limit=4), root, chat)
    for job in jobs:
        mine, my_answers = measured(ours, job, root, chat)
        other, their_answers = measured(theirs, job, root, chat)
        row = [
            job.title,
            job.shots,
            job.limit,
            f"{mine:.1f}",
            f"{other:.1f}",
            f"{mine / other:.2f}",
            job.asked,
        ]
        for lm in lms[2:]:
            seconds, _ = measured(lm, job, root, chat)
            row += [f"{seconds:.1f}", f"{mine / seconds:.2f}"]
        prompts = same_prompts((ours, theirs), my_answers, their_answers)
        row += [prompts, difference(job, my_answers, their_answers)]
        if exact:
            _, true_answers = measured(exact, job, root, chat)
            row.append(
                ", ".join(difference(job, found, true_answers) for found in (my_answers, their_answers))
            )
        table.add_row(*map(str, row))
        Console(stderr=True).print(f"{job.title}: {mine:.1f} s, lm-eval's class {other:.1f} s")
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
