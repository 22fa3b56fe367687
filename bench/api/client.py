"""Asking a server: JSON over HTTP, with patience for what passes and one sentence for what does not."""

import email.utils
import ipaddress
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from bench.api.key import OPENAI, ApiKey, variables_for, without_key
from bench.server_settings import ServerSettings
from results.errors import InputError

logger = logging.getLogger("manyshot.bench")
_CONNECT_SECONDS = 10.0
_BESIDE_SECONDS = 10.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
_LONGEST_ASKED_WAIT = 600.0
"""Seconds; a server that asks for more has no more to give today."""
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""States of a server that may be over soon."""
_LONGEST_QUOTE = 300
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
"""Codes of errors with which OpenAI's and Azure's servers turn away a prompt for what it says."""

BROKEN = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What reading raises over an answer of another form than is expected."""

_Read = TypeVar("_Read")


class RefusedError(InputError):
    """A server does not do what it is asked, and would not the next time."""


class FilteredError(RefusedError):
    """A server's filter of contents lets a prompt not pass."""


class BrokenAnswerError(ValueError):
    """An answer that is none by its own account, which the message repeats in words, as `it ...`."""


class UnreachableError(InputError):
    """There is no connection to a server."""


class _PassingError(Exception):
    """What may be over soon.

    Args:
        reason: in words.
        wait: seconds until then, where the server says so.
        refusal: in a sentence, what it is where it is not over after all attempts.
        unreachable: whether there is no connection.
    """

    def __init__(
        self, reason: str, wait: float | None = None, refusal: str = "", *, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.refusal, self.unreachable = reason, wait, refusal, unreachable


class _Key(requests.auth.AuthBase):
    """Puts the key into a request; without one nothing else, such as what ~/.netrc has, is put there."""

    def __init__(self, key: ApiKey | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key.value}"
        return request


class Client:
    """Asks one server, from any number of threads.

    Args:
        settings: its address, and how patient to be.

    Attributes:
        url: its address.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.url = settings.url
        parts = urlsplit(self.url)
        self._host = parts.hostname or ""
        self._settings, self._key = settings, ApiKey.find(self._host)
        self._local = threading.local()
        # What an address of this machine is sent goes through no proxy.
        self._proxies = {"no_proxy": self._host} if is_loopback(self._host) else None
        if self._key and parts.scheme == "http" and not self._proxies:
            proxy = requests.utils.select_proxy(self.url, requests.utils.get_environ_proxies(self.url))
            through = f" through the proxy {urlsplit(proxy).hostname}" if proxy else ""
            logger.warning("%s goes to %s%s unencrypted, by http", self._key.variable, self._host, through)

    @property
    def root(self) -> str:
        """The address without its /v1, where servers have what is not OpenAI's."""
        return self.url.removesuffix("/v1")

    def get(self, path: str) -> Any:
        """What the server has at a path, which begins with `/`. That there is a server is not waited for.

        Raises:
            UnreachableError: there is none.
            InputError: it has nothing there, or gives no answer.
        """
        return self._ask("GET", f"{self.url}{path}", None, lambda answer: answer, waits_for_it=False)

    def beside(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the server has at a path beside /v1, by POST where there is a body; None where nothing.

        It is not waited for long, and asked once.

        Raises:
            InputError: it fails.
        """
        method = "GET" if body is None else "POST"
        timeout = min(_BESIDE_SECONDS, self._settings.timeout)
        try:
            return self._once(method, f"{self.root}{path}", body, lambda answer: answer, timeout)
        except RefusedError:
            return None
        except _PassingError as failure:
            raise InputError(self._given_up(f"{self.root}{path}", 1, failure.reason)) from None

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[Any], _Read]) -> _Read:
        """What the server answers to a request.

        Args:
            path: begins with `/`; below the address.
            body: JSON.
            read: makes of an answer what is wanted; where it raises what `BROKEN` lists, the answer is
                broken, and the server is asked again.

        Raises:
            FilteredError: the server turns the prompt away for what it says.
            RefusedError: the server does not do this.
            InputError: it gives no answer, redirects, or does not accept the key.
        """
        return self._ask("POST", f"{self.url}{path}", body, read)

    def _ask(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        read: Callable[[Any], _Read],
        *,
        waits_for_it: bool = True,
    ) -> _Read:
        attempts = self._settings.attempts
        for attempt in range(attempts):
            try:
                return self._once(method, url, body, read)
            except _PassingError as failure:
                last = attempt + 1 == attempts
                wait = failure.wait if failure.wait is not None else backoff(attempt)
                if failure.unreachable and not waits_for_it:
                    raise UnreachableError(self._given_up(url, 1, failure.reason)) from None
                if last and failure.refusal:
                    raise RefusedError(failure.refusal) from None
                if last or wait > _LONGEST_ASKED_WAIT:
                    raise InputError(self._given_up(url, attempt + 1, failure.reason)) from None
                time.sleep(wait)
        raise AssertionError("there is at least one attempt")

    def _given_up(self, url: str, attempts: int, reason: str) -> str:
        if attempts == 1:
            return f"No answer from {url}: {reason}."
        return (
            f"No answer from {url} in {attempts} attempts, at the last of which {reason}: start again later, "
            "to go on from the answers that are kept, or with a lower --concurrency."
        )

    def _once(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        read: Callable[[Any], _Read],
        timeout: float | None = None,
    ) -> _Read:
        timeout = timeout or self._settings.timeout
        try:
            response = self._session().request(
                method,
                url,
                json=body,
                timeout=(min(_CONNECT_SECONDS, timeout), timeout),
                allow_redirects=False,
                proxies=self._proxies,
            )
        except requests.ConnectTimeout:
            raise _PassingError("there was no connection in time", unreachable=True) from None
        except requests.Timeout:
            raise _PassingError(f"it took longer than {timeout:g} seconds") from None
        except requests.RequestException as error:
            raise _PassingError(
                _why(error), unreachable=isinstance(error, requests.ConnectionError)
            ) from None
        if not response.ok or response.is_redirect:
            self._raise(response, url)
        content = without_key(response.content, self._key)
        try:
            return read(json.loads(content))
        except BrokenAnswerError as error:
            raise _PassingError(str(error), refusal=f"{url} does not answer in full: {error}.") from None
        except BROKEN:
            shown = " ".join(content[:200].decode(errors="replace").split())[:60]
            raise _PassingError(
                f"it gave an answer of another form ({shown!r})",
                refusal=f"{url} gives answers of another form than OpenAI's ({shown!r}).",
            ) from None

    def _raise(self, response: requests.Response, url: str) -> None:
        """Say what a status means.

        Raises:
            _PassingError: it may be over soon.
            InputError: it is not.
        """
        status = response.status_code
        if response.is_redirect or 300 <= status < 400:
            host = urlsplit(response.headers.get("Location", "")).hostname
            raise InputError(
                f"{url} redirects{f' to {host[:200]}' if host else ''}, which is not followed, since a key "
                "would go there too: give the address itself (--url)."
            )
        is_filtered = _is_filtered(response.content)
        if status in (401, 403) and not is_filtered:  # what it says may hold a part of the key
            if self._key is None:
                names = variables_for(self._host)
                other = "" if OPENAI in names else f" ({OPENAI} is sent to OpenAI's hosts alone)"
                raise InputError(f"{url} asks for a key (status {status}): set {' or '.join(names)}{other}.")
            raise InputError(f"{url} does not accept the key in {self._key.variable} (status {status}).")
        said = _message(without_key(response.content, self._key))
        if status in _PASSING:
            refusal = f"{url} answers with status {status}{said}." if status == 500 else ""
            raise _PassingError(
                f"it answered with status {status}{said}", _asked_wait(response.headers), refusal
            )
        hint = ""
        if status == 404 and not urlsplit(self.url).path:
            hint = f" Most servers have it below /v1: --url {self.url}/v1."
        refused = FilteredError if is_filtered else RefusedError
        raise refused(f"{url} answers with status {status}{said}.{hint}")

    def _session(self) -> requests.Session:
        """This thread's connections."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.auth = _Key(self._key)
        session: requests.Session = self._local.session
        return session


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def backoff(attempt: int) -> float:
    """Seconds to wait after an attempt, counted from 0: twice as long each time, and a random bit longer."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt) * random.uniform(1, 1.25)


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds that a Retry-After asks for, by their number or by a date."""
    asked = headers.get("Retry-After", "").strip()
    with suppress(ValueError):
        return max(0.0, float(asked))
    with suppress(TypeError, ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
    return None


def _message(answer: bytes) -> str:
    """What a server says of its refusal, in brackets; nothing where that is no text."""
    try:
        content = json.loads(answer)
    except BROKEN:
        return ""
    for name in ("error", "message", "detail"):
        if isinstance(content, Mapping):
            content = content.get(name, content)
    if not isinstance(content, str):
        return ""
    text = " ".join(content.split()).rstrip(".")
    return f" ({text[:_LONGEST_QUOTE]})" if text else ""


def _is_filtered(answer: bytes) -> bool:
    """Whether a server turns a prompt away for what it says, and nothing else is wrong with it."""
    with suppress(*BROKEN):
        error = json.loads(answer)["error"]
        if "flagged_input" in (error.get("metadata") or {}):  # as OpenRouter says it, with status 403
            return True
        return not _FILTER_CODES.isdisjoint((error.get("code"), (error.get("innererror") or {}).get("code")))
    return False


def _why(error: requests.RequestException) -> str:
    """Why there was no connection, in few words."""
    said = str(error)
    for sign, reason in (
        ("Connection refused", "nothing listens there (connection refused)"),
        ("NameResolutionError", "the host has no address"),
        ("getaddrinfo", "the host has no address"),
        ("SSL", "no secure connection is possible; is it http?"),
    ):
        if sign in said:
            return reason
    return f"the connection broke ({type(error).__name__})"
