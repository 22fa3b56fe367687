"""Sending a checkpoint to the hub, by its own library."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from manyshot.console import logger, size
from manyshot.kept_in_repository import kept_in_repository
from manyshot.push_files import TEMPLATE_FILES, PushedFile
from merging.checkpoints.tokenizer_files import TOKENIZER_FILES
from results.errors import InputError
from results.validation import legible
from results.words import counted

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_LOADED = (
    r"(model|pytorch_model|adapter_model|consolidated)[^/]*\.(safetensors|bin|pth)",
    r"(model|pytorch_model)[^/]*\.(safetensors|bin)\.index(\.[^/.]+)?\.json",
    r"tf_model[^/]*\.h5(\.index\.json)?", r"flax_model[^/]*\.msgpack(\.index\.json)?",
    r"(adapter_|generation_)?config\.json",
)  # fmt: skip
"""Files that transformers and PEFT look for in a repository, besides those of a tokenizer."""
_TOKENIZER = (*map(re.escape, TOKENIZER_FILES), TEMPLATE_FILES)


def check_repository(name: str) -> None:
    """Refuse what is no `owner/name` on the hub.

    Raises:
        InputError: says what is expected.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
        if name.count("/") == 1:
            return
    except HFValidationError:
        pass
    raise InputError(
        f"'{legible(name)}' is no name of a repository on the hub: owner/name is expected, each of up to 96 "
        "letters, digits, '-', '_' and '.', as in my-org/merged-7B."
    )


def push(
    files: Sequence[PushedFile],
    repository: str,
    *,
    public: bool = False,
    revision: str | None = None,
    message: str | None = None,
) -> str:
    """Send files to a repository in one commit, and make it where it is not there.

    What a model of the repository was loaded by and is not among the files is removed in the same commit
    (`outdated`), so that the repository loads as what was sent; so are entries of ours in `.eval_results`,
    which are of what was there. Everything else of it stays, and of what is sent too the card that a user
    wrote there and entries of others (`manyshot.kept_in_repository`).

    Args:
        files: what to send.
        repository: `owner/name`.
        public: whether the repository is for all to see; it must be as it is said here where it is there.
        revision: a branch, which is made from `main` where it is not there; else `main`.
        message: of the commit.

    Returns:
        The address of the commit.

    Raises:
        InputError: there is no token, or the hub refuses it or cannot be reached.
    """
    import huggingface_hub
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    check_repository(repository)
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise InputError("HF_HUB_OFFLINE is set, so nothing is pushed: unset it to push.")
    token = None
    try:
        token = huggingface_hub.get_token()
        if not token:
            raise InputError(
                "There is no token for the hub: log in with `hf auth login`, or set HF_TOKEN to one that may "
                "write."
            )
        api = HfApi(token=token, library_name="manyshot")
        _make(api, repository, public)
        if revision is not None and revision != "main":
            api.create_branch(repository, branch=revision, exist_ok=True)
        total = sum(file.size for file in files)
        logger.info("sending %s, %s, to %s", counted(len(files), "file"), size(total), repository)
        sent = {file.name for file in files}
        there = api.list_repo_files(repository, revision=revision)
        kept = kept_in_repository(api, repository, revision, there, files)
        old = [*outdated(there, sent), *(name for name, content in kept.items() if content is None)]
        if old:
            logger.info("removing what %s had instead: %s", repository, ", ".join(old))
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(file.name, _payload(file)) for file in files if file.name not in kept),
            *(CommitOperationAdd(name, content) for name, content in kept.items() if content is not None),
            *(CommitOperationDelete(name) for name in old),
        ]
        commit = api.create_commit(
            repository, operations, commit_message=message or "Upload by manyshot", revision=revision
        )
    except InputError:
        raise
    except Exception as error:  # the library raises many kinds: its own, those of HTTP, those of sockets
        reason = _reason(error, repository)
        raise InputError(reason.replace(token, "…") if token else reason) from error
    return str(commit.commit_url)


def outdated(there: Iterable[str], sent: Collection[str]) -> list[str]:
    """Return the files of a repository that the model of other files would be loaded by, sorted.

    These are weights and their indices, the configurations of a model and of an adapter, and, where a
    tokenizer is sent, those of a tokenizer.

    Args:
        there: the files of the repository.
        sent: those that it will have.
    """
    patterns = [*_LOADED, *(_TOKENIZER if any(map(_is_tokenizer, sent)) else ())]
    return sorted(
        name
        for name in set(there) - set(sent)
        if any(re.fullmatch(pattern, name, re.ASCII) for pattern in patterns)
    )


def _is_tokenizer(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in _TOKENIZER)


def _make(api: "HfApi", repository: str, public: bool) -> None:
    """Make the repository where it is not there.

    Raises:
        InputError: it is there, and public though that was not asked for, or private though public was.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        found = api.model_info(repository)
    except RepositoryNotFoundError:
        api.create_repo(repository, private=not public)
        return
    if bool(found.private) == public:
        there, how = ("private", "without") if public else ("public", "with")
        raise InputError(
            f"{repository} is there and {there}: push {how} --public, or name another repository."
        )


def _payload(file: PushedFile) -> str | bytes:
    return file.content if isinstance(file.content, bytes) else str(file.content)


def _reason(error: Exception, repository: str) -> str:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status == 401:
        return "The hub does not know the token: log in anew with `hf auth login`, or set HF_TOKEN."
    if status == 403:
        return f"The token may not write to {repository}: take one that may, or another owner."
    said = " ".join(str(getattr(error, "server_message", None) or error).split()) or type(error).__name__
    answered = f"answered {status}" if status else "could not be reached or did not take it"
    return f"Nothing was pushed to {repository}: the hub {answered} ({said[:300]})."
