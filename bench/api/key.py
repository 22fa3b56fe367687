"""The key that a server asks for: from the environment only, never stored, never shown."""

import os
from dataclasses import dataclass, field

from results.errors import InputError

VARIABLES = ("MANYSHOT_API_KEY", "OPENAI_API_KEY")
"""Variables of the environment that may hold it; the first one that is set is taken."""


@dataclass(frozen=True)
class ApiKey:
    """A key, and the variable that it is of."""

    variable: str
    value: str = field(repr=False)

    @classmethod
    def find(cls) -> "ApiKey | None":
        """The key of the environment, where there is one.

        Raises:
            InputError: it cannot be part of a request; the message does not show it.
        """
        for variable in VARIABLES:
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
