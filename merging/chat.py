"""Conversations as the text that a model reads: chat templates, for prompts and for training examples alike.

A form is a tokenizer's template, or another one, with its arguments. What it does with a conversation is
transformers' `apply_chat_template`, as in lm-eval.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import JsonValue, field_validator

from merging.chat_templates import CHAT_TEMPLATES
from results.errors import InputError
from results.reading import beside
from results.validation import Settings, quoted

Message = Mapping[str, str]
"""A turn: its `role` (system, user or assistant) and its `content`."""
THINK_END, _THINK_START = "</think>", "<think>"
_JINJA = (".jinja", ".jinja2", ".j2")
_WORD, _SYSTEM_WORD = "zqxjkvbw", "wbvkjxqz"
"""Stand for a turn's text and a system text where they are looked for in what a template writes."""
_OF_THE_CALL = {
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "max_length",
    "messages",
    "padding",
    "return_assistant_tokens_mask",
    "return_dict",
    "return_tensors",
    "tokenize",
    "tokenizer_kwargs",
    "truncation",
}
"""What a template's arguments may not be called."""
_OF_A_TEMPLATE = ("fewshot_as_multiturn", "chat_template_args", "enable_thinking", "think_end")
"""Settings that mean nothing without one."""


def template_beside(file: Path, template: str) -> str:
    """Return a template as a file names it; a jinja file's location is taken from that file's folder."""
    return beside(file, template) if template.endswith(_JINJA) else template


class ChatSettings(Settings):
    """How questions are put to a model that was tuned for conversations."""

    chat_template: str = "auto"
    """Chat template: `always` the model's own, `never`, the name of one of its own or of a common one
    (`alpaca`, `chatml`, `exaone`, `llama3`, `mistral`), or a jinja file; `auto`: as the suite says, else
    never; `server`, of the engine api: the server's own."""
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
        both = others.but(**said)
        if both.templated:
            return both
        kept = both.model_dump(exclude_unset=True)
        return ChatSettings(
            **{name: kept[name] for name in kept if name in said or name not in _OF_A_TEMPLATE}
        )

    def beside(self, file: Path) -> "ChatSettings":
        """Return these settings as a file gives them, whose template may lie beside it."""
        return self.model_copy(update={"chat_template": template_beside(file, self.chat_template)})

    @property
    def templated(self) -> bool:
        """Whether a template is used; `auto` is never."""
        return self.chat_template not in ("auto", "never")

    @field_validator("system_instruction")
    @classmethod
    def _empty_is_none(cls, text: str | None) -> str | None:
        return text or None

    @field_validator("chat_template_args")
    @classmethod
    def _are_a_templates(cls, given: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        for name in given:
            if name in _OF_THE_CALL:
                raise ValueError(f"'{name}' is said to the template by the harness itself")
        return given

    @property
    def arguments(self) -> dict[str, JsonValue]:
        """What the template is given by name."""
        given = dict(self.chat_template_args)
        return given if self.enable_thinking is None else {**given, "enable_thinking": self.enable_thinking}

    def check(self) -> None:
        """Refuse settings of a template without one, and a file that is not there.

        Raises:
            InputError: says which.
        """
        said = [name for name in _OF_A_TEMPLATE if name in self.model_fields_set]
        if said and not self.templated:
            name = said[0]
            raise InputError(
                f"'{name}' is about a chat template, and none is used: give --chat-template always, or leave "
                "it out."
            )
        if self.chat_template.endswith(_JINJA) and not Path(self.chat_template).is_file():
            raise InputError(f"{quoted(self.chat_template)}: there is no such file of a chat template.")

    @property
    def key(self) -> JsonValue:
        """All that decides what a template writes, as a JSON value; None without a template."""
        if not self.templated:
            return None
        settings = self.model_dump(mode="json")
        content = b""
        if self.chat_template.endswith(_JINJA):  # whose text counts, not its place
            del settings["chat_template"]
            content = Path(self.chat_template).read_bytes()
        return {**settings, "file": hashlib.sha256(content).hexdigest()}


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
            "arguments": settings.arguments,
            "think_end": self.think_end,
        }

    @property
    def think_end(self) -> str | None:
        """What ends the part of an answer that is thought; None where nothing is."""
        mentioned = THINK_END in self.template or _THINK_START in self.template
        return self.settings.think_end or (THINK_END if mentioned else None)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader of the scores should know."""
        if "strftime_now" in self.template and "date_string" not in self.settings.arguments:
            return ("the chat template writes today's date, so that prompts differ from day to day",)
        return ()

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

        Spaces around the completion, which separate it from a prompt in plain text, are no part of a turn.

        Raises:
            InputError: the template fails, or writes more before an answer than an example has.
        """
        asked = self.question(prompt)
        before, after = self._around_turn(self._asking(prompt))
        if not before.startswith(asked):
            same = (letter == other for letter, other in zip(asked, before, strict=False))
            begun = asked[sum(takewhile(bool, same)) :]
            raise InputError(
                f"{self.source} begins an answer with {begun!r}, which an example's "
                "answer does not have: train with a template without it (--chat-template FILE.jinja)."
            )
        return asked, before[len(asked) :] + completion.strip() + after

    def _around_turn(self, asking: Sequence[Message]) -> tuple[str, str]:
        """What a template writes before a turn of the model and, spaces left out, after it."""
        try:
            whole = self._render([*asking, {"role": "assistant", "content": _WORD}])
        except Exception as error:
            raise self._failure(error) from error
        before, found, after = whole.rpartition(_WORD)
        if not found:
            raise InputError(f"{self.source} does not write the text of a model's turn.")
        return before, after.rstrip()

    @cached_property
    def end_token(self) -> int | None:
        """The token that ends a turn of the model, where the template has one."""
        _, after = self._around_turn([{"role": "user", "content": _WORD}])
        ids = self.tokenizer.encode(after, add_special_tokens=False) if after else []
        return next((token for token in ids if token in self._special), None)

    @cached_property
    def _special(self) -> set[int]:
        added = self.tokenizer.added_tokens_decoder.items()
        return {*self.tokenizer.all_special_ids, *(token for token, about in added if about.special)}

    def thinks_after(self, prompt: str) -> bool:
        """Whether an answer to a prompt may begin with thoughts: not where the prompt has ended them."""
        return self.think_end is not None and not prompt.rstrip().endswith(self.think_end)

    def said(self, prompt: str, text: str, ids: Sequence[int]) -> str:
        """Return what an answer says: what follows its thoughts, nothing where it never ends them.

        Args:
            prompt: what was answered.
            text: the answer as it was generated.
            ids: its tokens.
        """
        if self.think_end is None or not self.thinks_after(prompt):
            return text
        marks = self.tokenizer.encode(self.think_end, add_special_tokens=False)
        if len(marks) == 1 and marks[0] in self._special:  # which a decoded text does not show
            places = [place for place, token in enumerate(ids) if token == marks[0]]
            if places:
                return str(self.tokenizer.decode(ids[places[-1] + 1 :], skip_special_tokens=True)).lstrip()
        return without_thoughts(text, self.think_end, prompt)

    def _render(self, messages: Sequence[Message], **options: bool) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            chat_template=self.template,
            tokenize=False,
            **options,
            **self.settings.arguments,
        )
        return rendered

    def _failure(self, error: Exception) -> InputError:
        return InputError(f"{self.source} fails ({_reason(error)}).")


def without_thoughts(text: str, think_end: str, prompt: str = "") -> str:
    """Return what follows the last mark that ends thoughts; nothing where thoughts are begun and never end.

    Args:
        text: an answer.
        think_end: the mark, as `</think>`; without its slash it begins thoughts.
        prompt: what was answered, which may have begun them.
    """
    _, ended, said = text.rpartition(think_end)
    if ended:
        return said.lstrip()
    start = think_end.replace("/", "", 1)
    begun = prompt.rstrip().endswith(start) or text.lstrip().startswith(start)
    return "" if begun else text


def chat_form(
    tokenizer: Any, settings: ChatSettings, checkpoint: Path | str, own: Any = None
) -> ChatForm | None:
    """Return how a checkpoint's conversations are written; None where no template is used.

    Args:
        tokenizer: the checkpoint's.
        settings: which template, with what; `auto` is never.
        checkpoint: its folder, for messages.
        own: its own template, where that is not its tokenizer's: text, or several by name.

    Raises:
        InputError: there is no such template, or its syntax is wrong.
    """
    name = settings.chat_template
    settings.check()
    if not settings.templated:
        return None
    if name.endswith(_JINJA):
        try:
            template = Path(name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{name} holds no text; a chat template is expected there.") from None
        return _checked(ChatForm(tokenizer, template, settings, name))
    own = own or tokenizer.chat_template or {}
    named = {**CHAT_TEMPLATES, **(own if isinstance(own, dict) else {"default": own})}
    if name == "always" and not own:
        raise InputError(
            f"{checkpoint} has no chat template, and one is asked for: name a jinja file (--chat-template "
            f"FILE.jinja) or a common form ({', '.join(CHAT_TEMPLATES)}), or take --chat-template never."
        )
    chosen = "default" if name == "always" else name
    if chosen not in named:
        raise InputError(_unknown(name, checkpoint, sorted(named), own))
    return _checked(ChatForm(tokenizer, named[chosen], settings, f"The chat template of {checkpoint}"))


def _unknown(name: str, checkpoint: Path | str, known: Sequence[str], own: Any) -> str:
    """Why there is no template of a name."""
    if name == "always":
        return (
            f"{checkpoint} has several chat templates and none that is its usual one: take {', '.join(own)}."
        )
    if name == "server":
        return "The chat template 'server' is for the engine that asks servers: --engine api."
    if Path(name).is_file():
        return f"{name} is a file whose name does not end in {', '.join(_JINJA)}, as a chat template's does."
    return f"{checkpoint} has no chat template called {quoted(name)}; take {', '.join(known)}."


def _checked(form: ChatForm) -> ChatForm:
    """A form whose template writes the texts of turns.

    Raises:
        InputError: it fails, or leaves out a question or the system text.
    """
    system = form.settings.system_instruction
    before = [{"role": "system", "content": _SYSTEM_WORD}] if system else []
    written = form.render([*before, {"role": "user", "content": _WORD}])
    if _WORD not in written.lower():
        raise InputError(f"{form.source} does not write the text of a question.")
    if system and _SYSTEM_WORD not in written.lower():
        raise InputError(f"{form.source} does not write a system text: leave out --system-instruction.")
    return form


def check_template(template: str, source: str) -> None:
    """Refuse a template that is none, whatever the tokenizer.

    Args:
        template: jinja text.
        source: what it is of, for messages.

    Raises:
        InputError: its syntax is wrong, or it does not write the text of a question.
    """
    _checked(ChatForm(_WithoutTokens(), template, ChatSettings(), source))


class _WithoutTokens:
    """Stands for a tokenizer that has no special tokens."""

    def apply_chat_template(
        self, messages: Sequence[Message], *, chat_template: str, tokenize: bool, **options: Any
    ) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        tokens = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "")
        (text,), _ = render_jinja_template([messages], chat_template=chat_template, **options, **tokens)
        return str(text)


def encode(tokenizer: Any, text: str) -> list[int]:
    """Return a text's token ids with the special tokens that its tokenizer adds, and BOS once.

    A template may write BOS itself; it is not added again then.
    """
    ids: list[int] = tokenizer.encode(text, add_special_tokens=adds_special_tokens(tokenizer, text))
    return ids


def adds_special_tokens(tokenizer: Any, text: str) -> bool:
    """Whether special tokens are to be added to a text: not where BOS begins it, be it behind spaces."""
    return not (tokenizer.bos_token and text.lstrip().startswith(tokenizer.bos_token))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
