"""The key that a server asks for: from the environment only, never stored, never shown."""

import os
from dataclasses import dataclass, field

from results.errors import InputError

OWN, OPENAI = "MANYSHOT_API_KEY", "OPENAI_API_KEY"
"""Variables of the environment that may hold it: for any server, and for OpenAI's alone."""
_OPENAI_HOST = "openai.com"


def variables_for(host: str) -> tuple[str, ...]:
    """The variables whose key may be sent to a host; the first one that is set is taken."""
    is_openai = host == _OPENAI_HOST or host.endswith(f".{_OPENAI_HOST}")
    return (OWN, OPENAI) if is_openai else (OWN,)


@dataclass(frozen=True)
class ApiKey:
    """A key, and the variable that it is of."""

    variable: str
    value: str = field(repr=False)

    @classmethod
    def find(cls, host: str) -> "ApiKey | None":
        """The key of the environment for a host, where there is one.

        Raises:
            InputError: it cannot be part of a request; the message does not show it.
        """
        for variable in variables_for(host):
            value = os.environ.get(variable, "").strip()
            if value and not (value.isascii() and value.isprintable() and " " not in value):
                raise InputError(
                    f"{variable} holds no key: letters, digits and signs in one line are expected."
                )
            if value:
                return cls(variable, value)
        return None


def without_key(answer: bytes, key: ApiKey | None) -> bytes:
    """A server's answer without the key, should it repeat it: answers are shown and stored."""
    return answer.replace(key.value.encode(), b"...") if key else answer
