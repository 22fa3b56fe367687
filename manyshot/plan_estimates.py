"""How many texts and tokens the data of an experiment has: counted where its rows are at hand, else guessed.

Nothing is fetched and no tokenizer is asked, so that it can be said before either is there.
"""

from collections.abc import Sequence
from pathlib import Path

from bench.benchmark import Benchmark, EvalTask
from bench.data import load_rows
from bench.examples import ExampleSource, at_hand, load_shares
from bench.hub import NoDataError
from bench.prompts import DEFAULT_NEW_TOKENS, documents_of, prompts_of
from manyshot.plan_steps import Amount

_CHARACTERS = 4
_QUESTION = 128
_SAMPLED = 8
HOW = (
    "Tokens are estimates: where rows are at hand, a quarter of the characters, of all texts and of "
    f"{_SAMPLED} "
    f"questions of a kind. Elsewhere a text has as many as it is cut at, and a question and each worked "
    f"example before it {_QUESTION}. An answer has as many as it may have at most."
)
"""How tokens are estimated."""


def training_texts(sources: Sequence[ExampleSource], root: Path | None, most: int | None, cut: int) -> Amount:
    """Examples of some sources.

    Args:
        sources: where they come from.
        root: local data root, or None.
        most: most examples that are taken.
        cut: tokens after which each is cut.
    """
    if all(at_hand(source, root) for source in sources):
        pairs = load_shares(sources, root, most)
        tokens = sum(min(cut, _tokens(prompt + completion)) for prompt, completion in pairs)
        return Amount(len(pairs), tokens / len(pairs), counted=True)
    sizes = [source.size for source in sources]
    all_sizes = None if None in sizes else sum(size for size in sizes if size is not None)
    return Amount(all_sizes, cut, counted=False).at_most(most)


def documents(benchmark: Benchmark, root: Path | None, limit: int | None, seed: int) -> Amount:
    """What a benchmark asks, with what is answered.

    Args:
        benchmark: the definition.
        root: local data root, or None.
        limit: most documents of each of its tasks.
        seed: of the few-shot sampler.
    """
    each = [_asked(task, root, limit, seed) for task in benchmark.tasks]
    texts = None if any(one.texts is None for one in each) else sum(one.texts or 0 for one in each)
    weights = [one.texts or 1 for one in each]
    tokens = sum(weight * one.tokens_each for weight, one in zip(weights, each, strict=True)) / sum(weights)
    return Amount(texts, tokens, counted=all(one.counted for one in each))


def _asked(task: EvalTask, root: Path | None, limit: int | None, seed: int) -> Amount:
    answer = 0
    if task.config.get("output_type") == "generate_until":
        asked = task.config.get("generation_kwargs") or {}
        answer = asked.get("max_gen_toks", DEFAULT_NEW_TOKENS)
    try:
        if task.generate is None and root is None:
            raise NoDataError("the rows are on the hub")
        rows = load_rows(task, root)
    except NoDataError:
        shots = task.config.get("num_fewshot") or 0
        return Amount(task.size, _QUESTION * (1 + shots) + answer, counted=False).at_most(limit)
    shown = prompts_of(task, rows, seed, _SAMPLED)
    question = sum(_tokens("".join([one.prompt, *one.choices])) for one in shown) / len(shown)
    return Amount(len(documents_of(task, rows)), question + answer, counted=True).at_most(limit)


def _tokens(text: str) -> float:
    return len(text) / _CHARACTERS
