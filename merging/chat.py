"""Conversations as the text that a model reads: chat templates, for prompts and for training examples alike.

A form is a tokenizer's template, or another one, with its arguments. What it does with a conversation is
transformers' `apply_chat_template`, as in lm-eval.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from results.errors import InputError
from results.reading import beside
from results.validation import Settings, quoted

Message = Mapping[str, str]
"""A turn: its `role` (system, user or assistant) and its `content`."""
THINK_END = "</think>"
_JINJA = (".jinja", ".jinja2", ".j2")
_WORD = "x"


class ChatSettings(Settings):
    """How questions are put to a model that was tuned for conversations."""

    chat_template: str = "auto"
    """Chat template: `always` the model's own, `never`, the name of one of its own, or a jinja file;
    `auto`: as the suite says, else never."""
    system_instruction: str | None = None
    """Text of a system turn before everything else; without a template it stands before the prompt."""
    fewshot_as_multiturn: bool = True
    """With a template, whether worked examples are turns of their own, not one long question."""
    chat_template_args: Mapping[str, JsonValue] = {}
    """What else the template is given, by name."""
    enable_thinking: bool | None = None
    """The template's argument of this name, where it is given."""
    think_end: str | None = None
    """What ends the part of an answer that is thought, not said; else `</think>` where a template has it."""

    def over(self, others: "ChatSettings") -> "ChatSettings":
        """Return these settings, with others' where these say nothing."""
        said = self.model_dump(exclude_unset=True)
        if said.get("chat_template") == "auto":
            del said["chat_template"]
        return others.but(**said)

    def beside(self, file: Path) -> "ChatSettings":
        """Return these settings as a file gives them, whose template may lie beside it."""
        if not self.chat_template.endswith(_JINJA):
            return self
        return self.model_copy(update={"chat_template": beside(file, self.chat_template)})

    @property
    def templated(self) -> bool:
        """Whether a template is used; `auto` is never."""
        return self.chat_template not in ("auto", "never")

    @property
    def key(self) -> JsonValue:
        """All that these settings decide, as a JSON value; of a file its content. None for nothing."""
        if not self.templated:
            return self.system_instruction
        path = Path(self.chat_template)
        content = path.read_bytes() if self.chat_template.endswith(_JINJA) and path.is_file() else b""
        return {**self.model_dump(mode="json"), "file": hashlib.sha256(content).hexdigest()}


@dataclass(frozen=True)
class ChatForm:
    """How a checkpoint's conversations are written.

    Attributes:
        tokenizer: the checkpoint's.
        template: jinja text.
        settings: the rest.
        source: what the template is of, for messages.
    """

    tokenizer: Any
    template: str
    settings: ChatSettings
    source: str

    @cached_property
    def key(self) -> dict[str, JsonValue]:
        """All that decides what conversations become, as a JSON value."""
        settings = self.settings
        return {
            "template": hashlib.sha256(self.template.encode()).hexdigest(),
            "system_instruction": settings.system_instruction,
            "fewshot_as_multiturn": settings.fewshot_as_multiturn,
            "arguments": self._arguments,
            "think_end": self.think_end,
        }

    @property
    def think_end(self) -> str | None:
        """What ends the part of an answer that is thought; None where nothing is."""
        return self.settings.think_end or (THINK_END if THINK_END in self.template else None)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader of the scores should know."""
        if "strftime_now" in self.template and "date_string" not in self._arguments:
            return ("the chat template writes today's date, so that prompts differ from day to day",)
        return ()

    @property
    def _arguments(self) -> dict[str, JsonValue]:
        thinking = self.settings.enable_thinking
        given = dict(self.settings.chat_template_args)
        return given if thinking is None else {**given, "enable_thinking": thinking}

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """Return a conversation as text, up to where the model's next turn begins.

        A template without a system turn loses it where a benchmark's description fills it, as in lm-eval.

        Args:
            messages: the turns.
            add_generation_prompt: whether the model's turn begins after them; else it is the last of them,
                which goes on.

        Raises:
            InputError: the template fails, or refuses the system text that the user gave.
        """
        import jinja2

        wanted = {"add_generation_prompt": add_generation_prompt}
        wanted["continue_final_message"] = not add_generation_prompt
        try:
            return self._render(messages, **wanted)
        except jinja2.TemplateError as error:
            without = [message for message in messages if message["role"] != "system"]
            if len(without) == len(messages):
                raise self._failure(error) from error
            if self.settings.system_instruction:
                raise InputError(
                    f"{self.source} takes no system text ({_reason(error)}): leave out --system-instruction."
                ) from error
        except Exception as error:  # whatever a template's own expressions raise
            raise self._failure(error) from error
        try:
            return self._render(without, **wanted)
        except Exception as error:
            raise self._failure(error) from error

    def question(self, prompt: str) -> str:
        """Return the text of one question, up to where the model's turn begins.

        Raises:
            InputError: the template fails, or refuses the system text.
        """
        return self.render(self._asking(prompt))

    def _asking(self, prompt: str) -> list[Message]:
        system = self.settings.system_instruction
        before = [{"role": "system", "content": system}] if system else []
        return [*before, {"role": "user", "content": prompt}]

    def conversation(self, prompt: str, completion: str) -> tuple[str, str]:
        """Return a training example as two texts: all before the model's turn, and the turn with its end.

        Raises:
            InputError: the template fails, or writes a question differently once it is answered.
        """
        asked = self.question(prompt)
        turns = [*self._asking(prompt), {"role": "assistant", "content": completion}]
        try:
            whole = self._render(turns).rstrip()
        except Exception as error:
            raise self._failure(error) from error
        if whole.startswith(asked):
            return asked, whole[len(asked) :]
        start = whole.rfind(completion.strip())  # where the prompt for a turn says more than the turn itself
        if start <= 0:
            raise InputError(f"{self.source} writes an answer so that it cannot be found in what it writes.")
        return whole[:start], whole[start:]

    @cached_property
    def _after_turn(self) -> str:
        """What the template writes after a turn of the model, up to its last token that is no space."""
        turns = [{"role": "user", "content": _WORD}, {"role": "assistant", "content": _WORD}]
        try:
            whole = self._render(turns)
        except Exception as error:
            raise self._failure(error) from error
        return whole[whole.rfind(_WORD) + len(_WORD) :].rstrip()

    @cached_property
    def end_token(self) -> int | None:
        """The token that ends a turn of the model, where the template has one."""
        ids = self.tokenizer.encode(self._after_turn, add_special_tokens=False) if self._after_turn else []
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        return next((token for token in ids if token in special), None)

    def said(self, answer: str, *, ended: bool) -> str:
        """Return what an answer says: what follows its thoughts.

        Of an answer that never ends its thoughts, and was cut at its limit, nothing is left.

        Args:
            answer: as it was generated.
            ended: whether the model ended it.
        """
        if self.think_end is None:
            return answer
        _, end, said = answer.rpartition(self.think_end)
        if end:
            return said.lstrip()
        return answer if ended else ""

    def _render(self, messages: Sequence[Message], **options: bool) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            chat_template=self.template,
            tokenize=False,
            **options,
            **self._arguments,
        )
        return rendered

    def _failure(self, error: Exception) -> InputError:
        return InputError(f"{self.source} fails ({_reason(error)}).")


def chat_form(tokenizer: Any, settings: ChatSettings, checkpoint: Path | str) -> ChatForm | None:
    """Return how a checkpoint's conversations are written; None where no template is used.

    Args:
        tokenizer: the checkpoint's.
        settings: which template, with what; `auto` is never.
        checkpoint: its folder, for messages.

    Raises:
        InputError: there is no such template, or its syntax is wrong.
    """
    name = settings.chat_template
    if not settings.templated:
        return None
    if name.endswith(_JINJA):
        path = Path(name)
        if not path.is_file():
            raise InputError(f"{quoted(name)}: there is no such file of a chat template.")
        return _checked(ChatForm(tokenizer, path.read_text(encoding="utf-8"), settings, name))
    own = tokenizer.chat_template
    if not own:
        raise InputError(
            f"{checkpoint} has no chat template, and one is asked for: name a jinja file (--chat-template "
            "FILE.jinja), or take --chat-template never."
        )
    named = own if isinstance(own, dict) else {"default": own}
    chosen = "default" if name == "always" else name
    if chosen not in named:
        raise InputError(
            f"{checkpoint} has no chat template called {quoted(chosen)}; it has {', '.join(sorted(named))}."
        )
    return _checked(ChatForm(tokenizer, named[chosen], settings, f"The chat template of {checkpoint}"))


def _checked(form: ChatForm) -> ChatForm:
    form.render([{"role": "user", "content": _WORD}])
    return form


def encode(tokenizer: Any, text: str) -> list[int]:
    """Return a text's token ids with the special tokens that its tokenizer adds, and BOS once.

    A template may write BOS itself; it is not added again then.
    """
    ids: list[int] = tokenizer.encode(text, add_special_tokens=adds_special_tokens(tokenizer, text))
    return ids


def adds_special_tokens(tokenizer: Any, text: str) -> bool:
    """Whether a tokenizer's special tokens are to be added to a text: not where it begins with BOS."""
    return not (tokenizer.bos_token and text.startswith(tokenizer.bos_token))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
