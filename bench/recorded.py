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
from merging.chat import without_thoughts
from results.errors import InputError

REPLAY_VERSION = 3
"""Part of the key of records of recorded outputs: to be raised by whoever changes what is made of these, as
cutting off thoughts did, and those that a prompt began."""

_OURS = RecordedForm(match="prompt", output="output")

Choices = Mapping[str, tuple[float, bool]]
"""By continuation, its log-likelihood and whether it is the greedy one."""


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
    def source(self) -> str:
        """File and line, for messages."""
        return _source(self.file, self.line)

    def said(self, think_end: str) -> str:
        """What the text says behind its thoughts, which the prompt may have begun.

        Args:
            think_end: what ends them.
        """
        return without_thoughts(str(self.answer), think_end, self.prompt or "")


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
        self._choices: dict[tuple[str, str], tuple[float, bool]] = {}
        for answer in answers:
            if isinstance(answer.answer, str):
                _index(self._by_key, answer.key, answer)
                _index(self._by_prompt, answer.prompt, answer)
            else:
                # Two questions may share a prompt that does not show their choices.
                for continuation, likelihood in answer.answer.items():
                    self._choices.setdefault(((answer.prompt or "").strip(), continuation), likelihood)

    def find(self, doc: Mapping[str, Any], prompt: str) -> RecordedAnswer | None:
        """The recorded text for a document, or None."""
        key = doc.get(self._match)
        answer = self._by_key.get(key.strip()) if isinstance(key, str) else None
        return answer or self._by_prompt.get(prompt.strip())

    def choice(self, prompt: str, continuation: str) -> tuple[float, bool] | None:
        """The recorded log-likelihood of a continuation of a prompt, or None."""
        return self._choices.get((prompt.strip(), continuation))


def _index(index: dict[str, RecordedAnswer], name: str | None, answer: RecordedAnswer) -> None:
    if name is not None:
        earlier = index.setdefault(name.strip(), answer)
        if earlier.answer != answer.answer:
            raise InputError(f"{answer.source}: another answer to what {earlier.source} answers.")


def _source(file: Path, line: int) -> str:
    return f"{file}, line {line}"


def _read(file: Path, line: int, row: Row, form: RecordedForm) -> RecordedAnswer:
    source = _source(file, line)
    key = row.get(form.match)
    prompt = row.get("prompt")
    if "resps" in row:
        prompt = _sent(row, source)[0][0]
        doc = row.get("doc")
        key = doc.get(form.match) if key is None and isinstance(doc, dict) else key
    for name, value in ((form.match, key), ("prompt", prompt)):
        if value is not None and not isinstance(value, str):
            raise InputError(f"{source}: the column '{name}' must be a text.")
    if key is None and prompt is None:
        raise InputError(f"{source}: the column '{form.match}' is missing.")
    return RecordedAnswer(file, line, row, _answer(row, form, source), key, prompt)


def _answer(row: Row, form: RecordedForm, source: str) -> str | Choices:
    if "resps" in row:
        return _logged(row, source)
    column = form.output if form.output in row else "output"
    if column not in row:
        raise InputError(f"{source}: the column '{form.output}' (or 'output') is missing.")
    if not isinstance(row[column], str):
        raise InputError(f"{source}: the column '{column}' must be a text.")
    return row[column]


def _sent(row: Row, source: str) -> list[tuple[str, Any]]:
    """The requests in a row of lm-eval's log, each a prompt with its continuation or its settings."""
    try:
        arguments = row["arguments"]
        if isinstance(arguments, dict):
            arguments = [(each["arg_0"], each.get("arg_1")) for each in arguments.values()]
        sent = [(str(prompt), second) for prompt, second in arguments]
        if not sent:
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{source}: the column 'arguments' is not as lm-eval writes it.") from None
    return sent


def _logged(row: Row, source: str) -> str | Choices:
    """The answer in a row of lm-eval's log: a text, or a pair for each choice."""
    responses = row["resps"]
    try:
        if isinstance(responses[0][0], str):
            return responses[0][0]
        # lm-eval writes numbers and truth values as texts.
        return {
            str(continuation): (float(logprob), str(greedy) == "True")
            for (_, continuation), ((logprob, greedy),) in zip(_sent(row, source), responses, strict=True)
        }
    except (IndexError, TypeError, ValueError):
        raise InputError(f"{source}: the column 'resps' is not as lm-eval writes it.") from None
