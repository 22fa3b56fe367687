"""IFEval's verdicts by lm-eval's code, without a network, and the same on every machine and every run.

lm-eval's module fetches a trained sentence tokenizer (nltk's punkt_tab) when it is imported. Here the same
algorithm runs with a short list of English abbreviations in place of the trained ones, whether that file is
there or not: a verdict must not depend on the machine. Language detection draws random numbers; its seed is
fixed.
"""

import contextlib
import functools
import io
from types import SimpleNamespace
from typing import Any

_ABBREVIATIONS = (
    "dr mr mrs ms prof sr jr st rev gen col capt lt sgt gov sen rep pres vs etc inc ltd co corp dept est fig "
    "no vol e.g i.e a.m p.m u.s u.k u.n d.c ph.d b.a m.a approx jan feb mar apr aug sept oct nov dec"
)


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """Verdicts on one answer: prompt-level (bool) and instruction-level (one bool each), strict and loose."""
    return _scoring().process_results(doc, results)


def share_of_instructions(verdicts: list[list[bool]]) -> float:
    """Share of all instructions, over all prompts, that were followed."""
    flat = [verdict for document in verdicts for verdict in document]
    return sum(flat) / len(flat)


@functools.cache
def _scoring() -> Any:
    import langdetect
    import nltk
    from nltk.tokenize import NLTKWordTokenizer, RegexpTokenizer
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    langdetect.DetectorFactory.seed = 0
    download, nltk.download = nltk.download, lambda *arguments, **options: False
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the module says that it downloaded something
            from lm_eval.tasks.ifeval import instructions_util, utils
    finally:
        nltk.download = download
    parameters = PunktParameters()
    parameters.abbrev_types = set(_ABBREVIATIONS.split())
    sentences = PunktSentenceTokenizer(parameters)
    instructions_util._get_sentence_tokenizer = lambda: sentences
    instructions_util.nltk = SimpleNamespace(
        tokenize=SimpleNamespace(RegexpTokenizer=RegexpTokenizer), word_tokenize=NLTKWordTokenizer().tokenize
    )
    return utils
