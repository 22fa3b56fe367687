"""A server's model as something that is scored: what identifies it, and what its records must say."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from bench.api.conversation import server_writes_chat
from bench.api.journal import Journal
from bench.api.requests import Dialect
from bench.api.server import Server
from bench.suite import benchmark_names, load_benchmark
from merging.chat import ChatSettings
from results.errors import InputError
from results.json_values import digest_of
from results.record import CheckpointIdentity

if TYPE_CHECKING:
    from bench.benchmark import Benchmark

logger = logging.getLogger("manyshot.bench")
_NAMED = 8
"""Benchmarks that a message names, of many."""


class Served:
    """An engine that asks a server, with what is known of the weights there.

    Args:
        engine: the engine `api`, opened.
        checkpoint: name of the checkpoint that the server is said to run, where one is given.
    """

    def __init__(self, engine: Any, checkpoint: str | None) -> None:
        self.engine = engine
        self._checkpoint = checkpoint

    @property
    def server(self) -> Server:
        """The server."""
        server: Server = self.engine.server
        return server

    @property
    def model(self) -> str:
        """The model's name on the server."""
        return self.server.model

    def key(self, chat: ChatSettings) -> dict[str, JsonValue]:
        """What answers depend on besides the weights, as part of a record's key."""
        converses = server_writes_chat(chat)
        dialect = self.server.chat_dialect if converses else self.server.dialect
        server = self.server
        return {
            "server": {"url": server.client.url, "model": server.model, "card": dict(server.card)},
            "max_length": None if converses else self.engine.max_length,
            "prompts": "messages" if converses else "token ids" if dialect.ids else "text",
            "penalties": _penalties(dialect),
        }

    def notices(self, chat: ChatSettings) -> tuple[str, ...]:
        """What the reader of a score should know: above all what could not be verified."""
        server, converses = self.server, server_writes_chat(chat)
        dialect = server.chat_dialect if converses else server.dialect
        calls = f"the server at {server.client.url} calls its model {server.model}"
        if self._checkpoint is not None:
            weights = f"{calls}; that it has the weights of {self._checkpoint} could not be verified"
        elif server.settings.model_digest is not None:
            weights = f"{calls}; its weights' digest {server.settings.model_digest} was given, not verified"
        else:
            weights = f"{calls}; its weights are known by no more than this, and may change under that name"
        notices = [weights, "the dtype that the server computes in is not known"]
        if server.tokenizer is not None and not converses and not server.tokenizer_checked:
            lack = "did not answer /tokenize" if "/tokenize" in server.failed else "has no /tokenize"
            notices.append(f"the server {lack}, so that its tokenizer could not be compared")
        if not dialect.extras:
            notices.append("the server takes no repetition_penalty: where it has one of its own, that holds")
        elif not dialect.proved:
            notices.append(
                "the server does not show that it heeds repetition_penalty and stop_token_ids, since it "
                "gives no token ids, which were asked for: where it has a penalty of its own, that may hold"
            )
        if not converses and not dialect.ids:
            notices.append("the server takes no token ids: prompts were sent as text")
        return (*notices, *sorted(self.engine.noticed))

    def check(self, benchmarks: "Sequence[Benchmark]", chat: ChatSettings, gen_kwargs: str) -> None:
        """Refuse benchmarks that the server cannot be asked, and settings of a checkpoint that is not there.

        Raises:
            InputError: names them, and such as can be asked.
        """
        converses = server_writes_chat(chat)
        if gen_kwargs == "model" and self._checkpoint is None:
            raise InputError(
                "--gen-kwargs model takes a checkpoint's own settings, and none is named: name the folder of "
                "what the server runs, or leave it out."
            )
        if not converses and self.server.tokenizer is None:
            raise InputError(
                "Prompts are sent as token ids, and no tokenizer is given: name its folder "
                "(--tokenizer), or the checkpoint, or let the server write conversations "
                "(--chat-template server)."
            )
        choices = [benchmark.name for benchmark in benchmarks if not benchmark.is_generated]
        if not choices or (not converses and self.server.echoes):
            return
        generated = [benchmark.name for benchmark in benchmarks if benchmark.is_generated]
        generated = generated or [name for name in benchmark_names() if load_benchmark(name).is_generated]
        why = (
            "A server's conversations give no log-likelihoods of choices"
            if converses
            else f"{self.server.client.url} gives no log-probabilities of prompts (echo with logprobs)"
        )
        instead = ", without --chat-template server, those too" if converses else ""
        raise InputError(
            f"{why}, which these benchmarks need: {_listed(choices)}. These can be run: {_listed(generated)}"
            f"{instead}."
        )

    @property
    def versions(self) -> dict[str, str]:
        """The server's name and version, where it tells them."""
        return {"server": self.server.version} if self.server.version else {}

    def begin(self, root: Path, digest: str, chat: ChatSettings) -> None:
        """Keep the answers for a record from now on, and take those that an earlier start has kept.

        Args:
            root: folder of the store.
            digest: of the record's key.
            chat: whether the server writes conversations.
        """
        self.engine.noticed.clear()
        says = self.server.fingerprint(converses=server_writes_chat(chat))
        if not says:
            logger.warning(
                "the server says nothing to a fixed question: its answers are kept for no second start"
            )
        self.engine.journal = Journal(root / "answers" / f"{digest}.jsonl" if says else None, says)

    def finish(self) -> None:
        """Forget the answers, whose record is written."""
        self.engine.journal.remove()


def served_identity(server: Server) -> CheckpointIdentity:
    """What identifies a server's model where no checkpoint is given: never what identifies a checkpoint.

    The digest that the user gives; else a digest of the server's address and its model's card.
    """
    from merging.checkpoints.digests import tokenizer_digest

    digest, tokenizer = server.settings.model_digest, server.settings.tokenizer
    said = digest_of({"url": server.client.url, "card": server.card})
    return CheckpointIdentity(
        weights=f"given: {digest}" if digest is not None else f"served: {said}",
        config="served",
        tokenizer=tokenizer_digest(Path(tokenizer)) if tokenizer is not None else "the server's",
    )


def _penalties(dialect: Dialect) -> str:
    """Whose penalties answers have, as far as the server shows it."""
    if not dialect.extras:
        return "the server's"
    return "neutral" if dialect.proved else "asked to be neutral"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
