"""A server as it is found: which model it has, whether its tokenizer is the one given, what it can do."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.api.choices import choices_body, read_choices
from bench.api.client import BROKEN, Client, RefusedError, UnreachableError
from bench.api.conversation import GOES_ON, ConversationRequest, chat_body, read_chat
from bench.api.requests import (
    Dialect,
    completion_body,
    echo_body,
    prompt_tokens,
    read_completion,
    read_echo,
)
from bench.engine import GenerationRequest, TokenIds
from bench.server_settings import ServerSettings
from results.errors import InputError, nearest
from results.validation import legible

logger = logging.getLogger("manyshot.bench")
PROBE = "The answer is 42:\n  naïve words, 3.14 and 東京"
"""A text that tokenizers cut differently."""
_SHORTEST = 16
_FIXED_ANSWER = 64
"""Tokens of the answer to a fixed question that are compared."""
_ROUNDING = 0.1
"""Between log-probabilities that one model gives of one token in two ways, in bfloat16."""
_ROOM_UNTOLD = 2048
_ROOM_BESIDE = 2
"""Tokens of a server's longest sequence that a prompt with its continuation leaves free: the one that is
generated, and the last of the continuation, which is read here too."""
_OF_CARD = ("id", "root", "parent", "owned_by", "meta")
_OF_META = ("vocab_type", "n_vocab", "n_ctx_train", "n_embd", "n_params", "size")


class Server:
    """A server, asked once what it is.

    Args:
        settings: where it is.
        tokenizer: of its model; None where the server writes and reads text by itself.
        max_length: longest sequence in tokens; else the server's.
        made_for: longest sequence of the model's configuration, where a server tells none.

    Attributes:
        client: asks it.
        card: what it says of its model: id, root, parent, owned_by, meta, as far as it has them.
        version: its name and version, where it has them.
        max_length: most tokens that the model reads here.
        failed: paths beside OpenAI's protocol, as /tokenize, at which it gave no answer.
        tokenizer_checked: whether it has a tokenizer to ask, which agrees.

    Raises:
        InputError: it is not there, has no such model, or another tokenizer.
    """

    def __init__(
        self,
        settings: ServerSettings,
        tokenizer: Any,
        max_length: int | None = None,
        made_for: int | None = None,
    ) -> None:
        self.settings, self.tokenizer = settings, tokenizer
        self.client = Client(settings)
        self.failed: set[str] = set()
        card = self._find_model()
        self.card = {name: card[name] for name in _OF_CARD if card.get(name) is not None}
        if isinstance(meta := self.card.get("meta"), dict):
            self.card["meta"] = {name: meta[name] for name in _OF_META if name in meta}
        self.version = self._version()
        self.max_length = self._room(card, max_length, made_for)
        self.tokenizer_checked = tokenizer is not None and self._tokenizer_agrees()

    @property
    def model(self) -> str:
        """The model's name on the server."""
        return str(self.card["id"])

    def prompt(self, ids: TokenIds, dialect: Dialect) -> TokenIds | str:
        """A prompt as the server takes it: token ids, or the text that its tokenizer makes them of.

        Raises:
            InputError: no text has these tokens.
        """
        if dialect.ids:
            return ids
        bos = self.tokenizer.bos_token_id
        adds = self.tokenizer.encode("a")[:1] == [bos]
        kept = ids[1:] if adds and ids and ids[0] == bos else ids
        text: str = self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if self.tokenizer.encode(text) != list(ids):
            raise InputError(
                f"{self.client.url} takes no token ids, and a prompt of {len(ids)} tokens is not what its "
                f"text becomes ({text[:40]!r}…): score this model with --engine hf."
            )
        return text

    @cached_property
    def dialect(self) -> Dialect:
        """How completions are asked for, as a prompt of a few tokens shows.

        Raises:
            InputError: it completes no prompts.
        """
        ids = self.tokenizer.encode(PROBE)

        def asked(dialect: Dialect) -> dict[str, Any]:
            prompt = self.prompt(ids, dialect)
            return completion_body(self.model, prompt, GenerationRequest(ids, 1), frozenset(), dialect)

        dialects = (Dialect(), Dialect(extras=False), Dialect(ids=False), Dialect(False, False))
        return self._first_taken(
            "/completions",
            dialects,
            asked,
            lambda answer: read_completion(answer, len(ids))["ids"],
            "completes no prompts",
        )

    @cached_property
    def chat_dialect(self) -> Dialect:
        """How answers in a conversation are asked for.

        Raises:
            InputError: it has no conversations.
        """
        turns = json.dumps([{"role": "user", "content": "Hello"}])
        request = ConversationRequest((), 1, messages=turns)
        return self._first_taken(
            "/chat/completions",
            (Dialect(False), Dialect(False, extras=False)),
            lambda dialect: chat_body(self.model, request, dialect),
            lambda answer: answer["choices"][0].get("token_ids"),
            "answers no conversations",
        )

    def _first_taken(
        self,
        path: str,
        dialects: Sequence[Dialect],
        asked: Callable[[Dialect], dict[str, Any]],
        ids_of: Callable[[Any], Any],
        lacks: str,
    ) -> Dialect:
        """The first dialect that the server does not refuse, proved where its answer has the ids asked for.

        Raises:
            InputError: it refuses all, for the reason that it gives of the first.
        """
        refusal: InputError | None = None
        for dialect in dialects:
            try:
                ids = self.client.post(path, asked(dialect), ids_of)
            except RefusedError as error:
                refusal = refusal or error
            else:
                return dialect.but(proved=dialect.extras and ids is not None)
        raise InputError(f"The server {lacks}: {refusal}")

    @cached_property
    def continues(self) -> bool | None:
        """Whether the server lets the model go on in a turn, since its prompt is another then.

        None where it does not say how many tokens its prompts have.
        """
        turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "The answer is"}]
        request = ConversationRequest((), 1, messages=json.dumps(turns))
        body = chat_body(self.model, request, self.chat_dialect)
        plain = {name: value for name, value in body.items() if name not in GOES_ON}
        on, over = (
            self.client.post("/chat/completions", one, lambda answer: prompt_tokens(answer, None))
            for one in (body, plain)
        )
        return None if on is None or over is None else on != over

    @cached_property
    def echo_logprobs(self) -> tuple[float, ...]:
        """Log-probabilities of the tokens of `PROBE` but the first; empty where the server gives none."""
        ids = self.tokenizer.encode(PROBE)
        body = echo_body(self.model, self.prompt(ids, self.dialect), self.dialect)
        try:
            answer = self.client.post("/completions", body, lambda answer: answer)
            return tuple(read_echo(answer, ids, len(ids) - 1)["logprobs"])
        except (RefusedError, *BROKEN) as error:
            logger.debug("no log-probabilities of prompts: %s", error)
            return ()

    @property
    def echoes(self) -> bool:
        """Whether the server gives log-probabilities of prompts."""
        return bool(self.echo_logprobs)

    @cached_property
    def joins_choices(self) -> bool:
        """Whether one request scores all choices of one token: as it does where it says what echoing says."""
        if not self.echoes or not (self.dialect.ids and self.dialect.extras):
            return False
        *context, last = self.tokenizer.encode(PROBE)
        tokens = [last, context[-1]]
        try:
            answer = self.client.post(
                "/completions", choices_body(self.model, context, tokens), lambda answer: answer
            )
            [told, _] = read_choices(answer, tokens, len(context))["logprobs"]
            return abs(told - self.echo_logprobs[-1]) < _ROUNDING
        except (RefusedError, *BROKEN) as error:
            logger.debug("choices of one token are asked one by one: %s", error)
            return False

    def fingerprint(self, *, converses: bool) -> str | tuple[float, ...]:
        """What the model says to a fixed question, which tells whether it is still the same.

        Log-probabilities where the server gives them, which tell merges apart whose texts are the same; else
        an answer with its thoughts. Empty where it says nothing.

        Args:
            converses: whether messages are sent.
        """
        if not converses and self.echoes:
            return self.echo_logprobs
        length = max(1, min(_FIXED_ANSWER, self.max_length // 4))
        if converses:
            turns = json.dumps([{"role": "user", "content": PROBE}])
            body = chat_body(self.model, ConversationRequest((), length, messages=turns), self.chat_dialect)
            said = self.client.post("/chat/completions", body, read_chat)
            return f"{said['thoughts']}\n{said['text']}".strip()
        ids, dialect = self.tokenizer.encode(PROBE), self.dialect
        request = GenerationRequest(ids, length)
        body = completion_body(self.model, self.prompt(ids, dialect), request, frozenset(), dialect)
        return str(self.client.post("/completions", body, read_completion)["text"])

    def beside(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the server has beside OpenAI's protocol; None where nothing, or where it fails."""
        try:
            return self.client.beside(path, body)
        except InputError as error:
            if path not in self.failed:
                logger.warning("what the server has at %s is left out: %s", path, error)
            self.failed.add(path)
            return None

    def _find_model(self) -> dict[str, Any]:
        try:
            listed = self.client.get("/models")
        except RefusedError as error:
            raise InputError(f"The server does not say which models it has: {error}") from None
        except UnreachableError as error:
            raise InputError(f"{error} Is the server started, and the address right (--url)?") from None
        try:
            cards = {str(card["id"]): dict(card) for card in listed["data"]}
        except BROKEN:
            raise InputError(
                f"{self.client.url}/models is no list of models in OpenAI's form: give the address of a "
                "server as http://HOST:PORT/v1."
            ) from None
        wanted = self.settings.model
        if wanted is None and len(cards) == 1:
            return next(iter(cards.values()))
        if wanted in cards:
            return cards[str(wanted)]
        names = ", ".join(legible(name) for name in list(cards)[:10]) or "none"
        names += f" and {len(cards) - 10} more" if len(cards) > 10 else ""
        if wanted is None:
            raise InputError(f"{self.client.url} has these models: {names}; name one (--model).")
        raise InputError(
            f"{self.client.url} has no model {wanted!r}; it has {names}.{nearest(wanted, cards)}"
        )

    def _version(self) -> str:
        said = self.beside("/version")
        number = said.get("version") if isinstance(said, dict) else None
        return " ".join(
            str(part)[:60] for part in (self.card.get("owned_by"), number) if isinstance(part, str)
        )

    def _room(self, card: dict[str, Any], wanted: int | None, made_for: int | None) -> int:
        """The longest sequence.

        Raises:
            InputError: the server has less room than is wanted.
        """
        told = card.get("max_model_len")
        if told is None and self.card.get("owned_by") == "llamacpp":
            said = self.beside("/props")
            told = (
                said.get("default_generation_settings", {}).get("n_ctx") if isinstance(said, dict) else None
            )
        if not isinstance(told, int) or told < _SHORTEST:
            return wanted or made_for or _ROOM_UNTOLD
        room = told - _ROOM_BESIDE
        if wanted and wanted > room:
            raise InputError(
                f"{self.client.url} serves {told} tokens, of which {room} are for prompts and answers: lower "
                f"the maximum length of {wanted} (--max-length), or start the server with more."
            )
        return wanted or room

    def _tokenizer_agrees(self) -> bool:
        """Whether the server has a tokenizer that can be asked.

        Raises:
            InputError: it cuts a text into other tokens.
        """
        body = {
            "model": self.model,
            "prompt": PROBE,
            "add_special_tokens": False,
            "content": PROBE,  # as llama.cpp has it
            "add_special": False,
        }
        said = self.beside("/tokenize", body)
        theirs = said.get("tokens") if isinstance(said, dict) else None
        if not isinstance(theirs, list):
            return False
        ours = self.tokenizer.encode(PROBE, add_special_tokens=False)
        if theirs != ours:
            raise InputError(
                f"{self.client.url} cuts {PROBE!r} into {len(theirs)} tokens that are not the {len(ours)} of "
                f"{self.tokenizer.name_or_path}: give the served model's (--tokenizer)."
            )
        return True


def load_served_tokenizer(settings: ServerSettings, checkpoint: Path | None) -> Any:
    """The tokenizer that is named, else a checkpoint's; None where there is neither.

    Raises:
        InputError: it is not there, or cannot be loaded.
    """
    from merging.checkpoints.adapter import base_folder
    from merging.checkpoints.pretrained import load_tokenizer

    if settings.tokenizer is None:
        return None if checkpoint is None else load_tokenizer(base_folder(checkpoint) or checkpoint)
    folder = Path(settings.tokenizer)
    if not folder.is_dir():
        raise InputError(f"{legible(folder)}: no such folder of a tokenizer (--tokenizer).")
    return load_tokenizer(folder)
