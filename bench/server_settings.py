"""Where a server is that answers in a checkpoint's place, and how it is asked."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from results.errors import InputError
from results.validation import Settings


def _address(url: str) -> str:
    """An address with nothing secret in it, which records may show.

    Raises:
        InputError: it is no address of a server, or holds credentials, which are not repeated.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if "@" in url or parts.query or parts.fragment or "?" in url:
        raise InputError(
            "the url holds credentials or a query (before an @, or after a ?), which records would show: "
            "give the address alone, and the key in MANYSHOT_API_KEY"
        )
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable():
        raise InputError(f"the url {url!r:.200} is no address such as http://localhost:8000/v1")
    return url.rstrip("/")


class ServerSettings(Settings):
    """A server with OpenAI's protocol, and how it is asked."""

    url: Annotated[str, AfterValidator(_address)]
    """Address of the server, as http://localhost:8000/v1."""
    model: str | None = Field(None, min_length=1)
    """Name of the model on the server; else the only one that it has."""
    tokenizer: str | None = Field(None, min_length=1)
    """Folder of the model's tokenizer, where no checkpoint is given and prompts are written here."""
    model_digest: str | None = Field(None, min_length=1, max_length=200)
    """What identifies the weights, in records, where no checkpoint is given: a commit or a digest."""
    concurrency: int = Field(8, gt=0, le=1024)
    """Most requests at a time."""
    attempts: int = Field(6, gt=0, le=100)
    """Attempts at a request that the server is too busy for or fails over."""
    timeout: float = Field(600.0, gt=0)
    """Seconds to wait for an answer, per attempt."""
