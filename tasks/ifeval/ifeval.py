"""IFEval's verdicts (arXiv 2311.07911) by lm-eval's code, without a network.

lm-eval's module fetches a trained sentence tokenizer (nltk's punkt_tab) when it is imported. Here it is
looked for and used where it is. Where it is not, the same algorithm runs with a short list of English
abbreviations in place of the trained ones, and the score says so. What draws random numbers has a fixed seed.
"""

import contextlib
import functools
import io
import logging
import random
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from tasks.errors import WrongColumnError

_ABBREVIATIONS = (
    "dr mr mrs ms prof jr st rev gen col capt lt sgt gov sen rep pres vs inc ltd co corp dept est fig vol "
    "e.g a.m p.m u.s u.k u.n d.c l.a n.y j.k j.r.r ph.d b.a m.a approx jan feb mar apr aug sept oct nov dec"
)

_NEVER_NAMES = (
    "a after all also an and another any are as at be before but by can could did do does each even every "
    "first for from had has have he her here his how however i if in instead is it it's its just let "
    "let's many may more most my never no not now of on once one only or other our over please she should "
    "since so some such that that's the their then there there's these they this those though through "
    "thus to today together was we we'll were what when where whether which while who why will with would "
    "yes yet you your"
)


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """Verdicts on one answer: prompt-level (bool) and instruction-level (one bool each), strict and loose."""
    scoring, state = _scoring(), random.getstate()
    # Where a prompt asks for a "letter" such as '#', the authors' code draws another one.
    random.seed(doc["key"])
    try:
        return scoring.process_results(doc, results)
    finally:
        random.setstate(state)


def share_of_instructions(verdicts: list[list[bool]]) -> float:
    """Share of all instructions, over all prompts, that were followed."""
    flat = [verdict for document in verdicts for verdict in document]
    return sum(flat) / len(flat)


def notice() -> str | None:
    """What is to be said of the sentence splitter on this machine."""
    if _trained_splitter() is not None:
        return None
    return "sentences were split without nltk's punkt_tab, by a short list of abbreviations"


def known_instructions(row: dict[str, Any]) -> dict[str, Any]:
    """The row as it is.

    Raises:
        WrongColumnError: it names an instruction that the authors' code does not have, or its settings
            are not one mapping for each instruction.
    """
    known = _scoring().instructions_registry.INSTRUCTION_DICT
    for name in row["instruction_id_list"]:
        if name not in known:
            raise WrongColumnError("instruction_id_list", f"names the unknown instruction '{name}'")
    settings = row["kwargs"]
    if len(settings) != len(row["instruction_id_list"]) or not all(isinstance(one, dict) for one in settings):
        raise WrongColumnError("kwargs", "must have one mapping for each instruction")
    return row


def verdict(metrics: Mapping[str, Any]) -> dict[str, list[bool]]:
    """Which instructions a recorded answer follows, strictly and loosely."""
    return {
        "strict": [bool(one) for one in metrics["inst_level_strict_acc,none"]],
        "loose": [bool(one) for one in metrics["inst_level_loose_acc,none"]],
    }


@functools.cache
def _scoring() -> Any:
    import langdetect
    import nltk
    from nltk.tokenize import NLTKWordTokenizer, RegexpTokenizer

    langdetect.DetectorFactory.seed = 0
    download, nltk.download = nltk.download, lambda *arguments, **options: False
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the module says that it downloaded something
            from lm_eval.tasks.ifeval import instructions, instructions_util, utils
    finally:
        nltk.download = download
    # Of a text in no language it logs all, on several lines of the terminal; its verdict stands.
    logging.getLogger(instructions.__name__).setLevel(logging.CRITICAL)
    splitter = _trained_splitter() or _splitter_by_abbreviations()
    instructions_util._get_sentence_tokenizer = lambda: splitter

    def words(text: str) -> list[str]:
        # nltk's `word_tokenize`, which would look for punkt_tab: sentences first, then their words.
        tokenizer = NLTKWordTokenizer()
        return [word for sentence in splitter.tokenize(text) for word in tokenizer.tokenize(sentence)]

    instructions_util.nltk = SimpleNamespace(
        tokenize=SimpleNamespace(RegexpTokenizer=RegexpTokenizer), word_tokenize=words
    )
    return utils


@functools.cache
def _trained_splitter() -> Any:
    """nltk's trained splitter of English sentences, or None where it is not on this machine."""
    from nltk.tokenize.punkt import PunktTokenizer

    try:
        return PunktTokenizer("english")
    except LookupError:
        return None


def _splitter_by_abbreviations() -> Any:
    from nltk.tokenize.punkt import _ORTHO_LC, PunktParameters, PunktSentenceTokenizer

    parameters = PunktParameters()
    parameters.abbrev_types = set(_ABBREVIATIONS.split())
    for word in _NEVER_NAMES.split():
        # Written with a capital, behind "o." too, it begins a sentence.
        parameters.add_ortho_context(word, _ORTHO_LC)
    return PunktSentenceTokenizer(parameters)
