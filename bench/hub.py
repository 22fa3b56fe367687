"""Rows from the hub, or from what `datasets` keeps of it; a network that is not there is not waited for."""

import functools
import os
import socket
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from results.errors import InputError

_PATIENCE = 3.0  # seconds to find out whether the hub answers at all


class NoDataError(InputError):
    """A benchmark has no rows where they were looked for."""


def hub_rows(
    path: str, name: str | None, split: str, *, local: bool = False, **options: Any
) -> list[dict[str, Any]]:
    """Rows of a data set on the hub, of its copy in the cache of `datasets`, or of files that it reads.

    Args:
        path: the data set, or a format of files.
        name: of the data set's configuration.
        split: which rows.
        local: whether they are on this machine, so that the hub need not answer.
        **options: what else `datasets.load_dataset` is given.

    Raises:
        NoDataError: they cannot be had.
    """
    import datasets

    options.pop("trust_remote_code", None)  # which the library no longer takes
    if not local and not _reachable():
        _stay_offline()
    try:
        return datasets.load_dataset(path, name, split=split, **options).to_list()
    except Exception as error:  # the library raises many kinds; each means that the rows cannot be had
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NoDataError(f"{path} cannot be loaded{'' if local else ' from the hub'}: {reason}") from error


@functools.cache
def _reachable() -> bool:
    """Whether the hub answers. Behind a proxy it is believed to."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return False
    endpoint = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    if urllib.request.getproxies().get(endpoint.scheme):
        return True
    port = endpoint.port or (80 if endpoint.scheme == "http" else 443)
    try:
        with socket.create_connection((endpoint.hostname or "", port), timeout=_PATIENCE):
            return True
    except OSError:
        return False


def _stay_offline() -> None:
    """Keep the libraries, which read their setting when they are imported, from trying again and again."""
    import datasets
    import huggingface_hub

    datasets.config.HF_HUB_OFFLINE = True
    huggingface_hub.constants.HF_HUB_OFFLINE = True
