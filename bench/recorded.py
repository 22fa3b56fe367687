"""Recorded outputs: answers that a model gave elsewhere, in JSONL, and finding the one to a request.

A row holds the answer and what tells what it answers. Three forms are read: the benchmark's own (named in
its definition, such as `prompt` and `completion`), ours (`prompt` as it was sent, and `output`), and the log
of samples of lm-eval (`arguments` and `resps`), which also holds log-likelihoods of choices.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.benchmark import Benchmark, RecordedForm
from bench.data import Row, numbered_rows
from results.errors import InputError

_OURS = RecordedForm(match="prompt", output="output")

Choices = tuple[tuple[float, bool], ...]
"""Log-likelihood of every choice of a question, and whether it is the greedy continuation."""


@dataclass(frozen=True)
class RecordedAnswer:
    """One recorded row.

    Attributes:
        file: where it was read.
        line: the row's line, from 1.
        row: the row as it is.
        answer: the generated text, or the choices' log-likelihoods.
        key: what the benchmark's own column says was answered; None where the row lacks it.
        prompt: the prompt as it was sent; None where it is not recorded.
    """

    file: Path
    line: int
    row: Row
    answer: str | Choices
    key: str | None
    prompt: str | None

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return _place(self.file, self.line)


def recorded_form(benchmark: Benchmark) -> RecordedForm:
    """How outputs recorded elsewhere look: as the benchmark says, else as ours."""
    return benchmark.recorded or _OURS


def read_recorded(path: Path, benchmark: Benchmark) -> list[RecordedAnswer]:
    """Read recorded outputs of a benchmark.

    Args:
        path: a JSONL file, or a folder that has one by the benchmark's name.
        benchmark: what was answered.

    Raises:
        InputError: there is no such file, or a row has no answer.
    """
    file = path / f"{benchmark.name}.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{file} does not exist: recorded outputs of {benchmark.name} are looked for there.")
    form = recorded_form(benchmark)
    return [_read(file, number, row, form) for number, row in numbered_rows(file)]


def recorded_digest(path: Path) -> str:
    """Digest of recorded outputs: of a file, or of the names and contents of a folder's.

    Raises:
        InputError: there are none.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise InputError(f"{path} is neither a JSONL file of recorded outputs nor a folder that has some.")
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name if path.is_dir() else ''}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


class Recordings:
    """Recorded answers by what they answer: the benchmark's column, else the prompt that was sent."""

    def __init__(self, answers: list[RecordedAnswer], match: str) -> None:
        self._match = match
        self._by_key: dict[str, RecordedAnswer] = {}
        self._by_prompt: dict[str, RecordedAnswer] = {}
        for one in answers:
            for index, name in ((self._by_key, one.key), (self._by_prompt, one.prompt)):
                if name is None:
                    continue
                known = index.setdefault(name.strip(), one)
                if known.answer != one.answer:
                    raise InputError(f"{one.place}: another answer to what {known.place} answers.")

    def answer_to(self, doc: Mapping[str, Any], prompt: str) -> RecordedAnswer | None:
        """The recorded answer to a document, or None."""
        key = doc.get(self._match)
        if isinstance(key, str) and key.strip() in self._by_key:
            return self._by_key[key.strip()]
        return self._by_prompt.get(prompt.strip())


def _place(file: Path, line: int) -> str:
    return f"{file}, line {line}"


def _read(file: Path, line: int, row: Row, form: RecordedForm) -> RecordedAnswer:
    place = _place(file, line)
    key = row.get(form.match)
    prompt = row.get("prompt")
    if "resps" in row:
        prompt = _sent(row, place)
    for name, value in ((form.match, key), ("prompt", prompt)):
        if value is not None and not isinstance(value, str):
            raise InputError(f"{place}: the column '{name}' must be a text.")
    if key is None and prompt is None:
        raise InputError(f"{place}: the column '{form.match}' is missing.")
    return RecordedAnswer(file, line, row, _answer(row, form, place), key, prompt)


def _answer(row: Row, form: RecordedForm, place: str) -> str | Choices:
    if "resps" in row:
        return _logged(row["resps"], place)
    column = form.output if form.output in row else "output"
    if column not in row:
        raise InputError(f"{place}: the column '{form.output}' is missing.")
    if not isinstance(row[column], str):
        raise InputError(f"{place}: the column '{column}' must be a text.")
    return row[column]


def _sent(row: Row, place: str) -> str:
    """The prompt in a row of lm-eval's log."""
    try:
        arguments = row["arguments"]
        first = arguments["gen_args_0"]["arg_0"] if isinstance(arguments, dict) else arguments[0][0]
    except (KeyError, IndexError, TypeError):
        raise InputError(f"{place}: the column 'arguments' is not as lm-eval writes it.") from None
    return str(first)


def _logged(responses: Any, place: str) -> str | Choices:
    """The answer in a row of lm-eval's log: a text, or a pair for each choice."""
    try:
        if isinstance(responses[0][0], str):
            return responses[0][0]
        # lm-eval writes numbers and truth values as texts.
        return tuple((float(logprob), str(greedy) == "True") for ((logprob, greedy),) in responses)
    except (IndexError, TypeError, ValueError):
        raise InputError(f"{place}: the column 'resps' is not as lm-eval writes it.") from None
