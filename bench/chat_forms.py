"""How each checkpoint's conversations are written, and whether they are written alike."""

from collections.abc import Sequence
from pathlib import Path

from bench.api.conversation import ServedChat, server_writes_chat
from bench.scored_checkpoint import ScoredCheckpoint
from merging.chat import ChatForm, ChatSettings, chat_form
from results.errors import InputError


class ChatForms:
    """The chat forms of checkpoints by the same settings, each made once."""

    def __init__(self, settings: ChatSettings) -> None:
        self._settings = settings
        self._forms: dict[Path, ChatForm | None] = {}

    def find(self, checkpoint: ScoredCheckpoint) -> ChatForm | None:
        """How conversations are written for a checkpoint; None where prompts are not conversations.

        Raises:
            InputError: it has no chat template, or none of the name that is asked for; or its template fails.
        """
        self._settings.check()
        if not self._settings.templated:
            return None
        if checkpoint.served and server_writes_chat(self._settings):
            return ServedChat(self._settings)
        if checkpoint.path not in self._forms:
            from merging.checkpoints.adapter import base_folder
            from merging.checkpoints.pretrained import load_tokenizer
            from merging.checkpoints.tokenizer_files import chat_template

            base = base_folder(checkpoint.path)
            tokenizer = checkpoint.served.server.tokenizer if checkpoint.served else None
            tokenizer = tokenizer or load_tokenizer(base or checkpoint.path)
            own = base and chat_template(checkpoint.path)  # an adapter may have one of its own
            self._forms[checkpoint.path] = chat_form(tokenizer, self._settings, checkpoint.name, own)
        return self._forms[checkpoint.path]

    def check(self, checkpoints: Sequence[ScoredCheckpoint]) -> None:
        """Refuse checkpoints that are to be compared and write conversations differently.

        Raises:
            InputError: they do, or one has no chat template where one is asked for.
        """
        forms = [self.find(checkpoint) for checkpoint in checkpoints]
        for checkpoint, form in zip(checkpoints, forms, strict=True):
            if form and forms[0] and form.key != forms[0].key:
                raise InputError(
                    f"{checkpoint.name} has another chat template than {checkpoints[0].name}, so that their "
                    "scores cannot be divided: give one for all (--chat-template FILE.jinja)."
                )
