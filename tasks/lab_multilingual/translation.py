"""Translation into three made-up languages, each with words and a word order of its own.

A question asks for a sentence of an adjective, a noun and a verb. Each wrong choice has one wrong word,
so that all three have to be known. Every word occurs in every split; no sentence occurs in two.
"""

from itertools import product
from random import Random

from tasks.lab.rows import Row, draw_splits

PARTS = {
    "adjective": ("red", "blue", "big", "small", "old", "young", "quiet", "wild"),
    "noun": ("dog", "cat", "horse", "bird", "child", "woman", "man", "fish", "bear", "king"),
    "verb": ("sleeps", "runs", "eats", "sings", "falls", "swims", "waits", "plays"),
}
ORDERS = {
    "tavi": ("adjective", "noun", "verb"),
    "moru": ("noun", "adjective", "verb"),
    "selka": ("verb", "adjective", "noun"),
}
SYLLABLES = {"tavi": ("tiv", "pek", "zi"), "moru": ("mo", "gur", "bol"), "selka": ("sel", "fa", "wen")}
VOWELS = "aeiou"


def lexicon(language: str) -> dict[str, str]:
    """The made-up word of every word, all different."""
    random = Random(f"lab_multilingual {language}")
    stems = [a + v + b + w for a, b in product(SYLLABLES[language], repeat=2) for v in VOWELS for w in VOWELS]
    words = [word for part in PARTS.values() for word in part]
    return dict(zip(words, random.sample(stems, len(words)), strict=True))


LEXICONS = {language: lexicon(language) for language in ORDERS}


def translate(sentence: dict[str, str], language: str) -> str:
    """A sentence, given by its parts, in a made-up language."""
    return " ".join(LEXICONS[language][sentence[part]] for part in ORDERS[language])


def question(random: Random, language: str) -> Row:
    """Draw one row: language, sentence, four choices, and which of them is right."""
    sentence = {part: random.choice(words) for part, words in PARTS.items()}
    choices = [translate(sentence, language)]
    for part, words in PARTS.items():
        other = random.choice([word for word in words if word != sentence[part]])
        choices.append(translate({**sentence, part: other}, language))
    right = choices[0]
    random.shuffle(choices)
    return {
        "language": language.capitalize(),
        "sentence": "the {adjective} {noun} {verb}".format(**sentence),
        "choices": choices,
        "label": choices.index(right),
        "answer": right,
    }


def language_splits(language: str) -> dict[str, list[Row]]:
    """Rows of test, validation and train of one language."""
    sizes = {"test": 80, "validation": 40, "train": 480}
    return draw_splits(
        lambda random: question(random, language),
        lambda row: row["sentence"],
        sizes,
        f"lab_multilingual {language} rows",
    )


def tavi() -> dict[str, list[Row]]:
    """Rows of the language with English word order."""
    return language_splits("tavi")


def moru() -> dict[str, list[Row]]:
    """Rows of the language whose adjective follows its noun."""
    return language_splits("moru")


def selka() -> dict[str, list[Row]]:
    """Rows of the language whose verb comes first."""
    return language_splits("selka")


def splits() -> dict[str, list[Row]]:
    """Rows of the three languages together."""
    together: dict[str, list[Row]] = {}
    for language in ORDERS:
        for split, rows in language_splits(language).items():
            together.setdefault(split, []).extend(rows)
    return together
