"""How far a generated text is one of its references: ROUGE-1, exact match, and F1 over words."""

import functools
from typing import Any


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """The best over the references, each metric for itself.

    ROUGE-1 is the F-measure of `rouge-score`, without stemming. Exact match and F1 are SQuAD's: case,
    punctuation and English articles do not count.

    Args:
        doc: a document with `references`.
        results: the answer, alone.
    """
    from transformers.data.metrics.squad_metrics import compute_exact, compute_f1

    answer, references = results[0].strip(), doc["references"]
    return {
        "rouge1": max(_rouge().score(one, answer)["rouge1"].fmeasure for one in references),
        "exact_match": float(max(compute_exact(one, answer) for one in references)),
        "f1": float(max(compute_f1(one, answer) for one in references)),
    }


@functools.cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1"])
