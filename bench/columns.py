"""What the rows of a benchmark must hold, column by column, and saying where one does not.

In a definition a column is named with its kind: `question: text`, `options: texts`, `label: [0, 1]` (one of
these values), `year: integer`, `choices: {text: texts, label: texts}` (a mapping). A question mark behind
the name of the column, as in `option_e?: text`, lets it be missing or null.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from results.errors import InputError
from tasks.errors import WrongColumnError

_KINDS: Mapping[str, str] = {
    "text": "a text",
    "texts": "a list of texts, at least one",
    "integer": "a whole number",
    "list": "a list",
    "mapping": "a mapping",
}
_LONGEST = 60  # characters of a wrong value that are shown


@dataclass(frozen=True)
class ColumnRule:
    """What one column must hold.

    Attributes:
        name: the column.
        kind: a kind by name, the values that are allowed, or rules of a mapping's own keys.
        required: whether it may not be missing or null.
    """

    name: str
    kind: "str | tuple[object, ...] | Mapping[str, ColumnRule]"
    required: bool = True

    def check(self, row: Mapping[str, Any], prefix: str = "") -> None:
        """Refuse a row that breaks the rule.

        Raises:
            WrongColumnError: names the column and what is wrong.
        """
        column = prefix + self.name
        value = row.get(self.name)
        if value is None:
            if self.required:
                raise WrongColumnError(column, "is missing" if self.name not in row else "is null")
            return
        if isinstance(self.kind, Mapping):
            if not isinstance(value, Mapping):
                raise WrongColumnError(column, f"must be a mapping, not {_shown(value)}")
            for rule in self.kind.values():
                rule.check(value, f"{column}.")
        elif isinstance(self.kind, tuple):
            if not any(type(value) is type(choice) and value == choice for choice in self.kind):
                allowed = ", ".join(map(repr, self.kind))
                raise WrongColumnError(column, f"must be one of {allowed}, not {_shown(value)}")
        elif not _is(value, self.kind):
            raise WrongColumnError(column, f"must be {_KINDS[self.kind]}, not {_shown(value)}")


def column_rules(content: Mapping[str, Any], where: str) -> tuple[ColumnRule, ...]:
    """The rules that a definition gives.

    Raises:
        InputError: a kind is unknown.
    """
    rules = []
    for name, kind in content.items():
        if isinstance(kind, Mapping):
            inner = column_rules(kind, where)
            kind = {rule.name: rule for rule in inner}  # noqa: PLW2901
        elif isinstance(kind, list):
            kind = tuple(kind)  # noqa: PLW2901
        elif kind not in _KINDS:
            raise InputError(f"{where}: the column '{name}' is of the unknown kind '{kind}'.")
        rules.append(ColumnRule(name.removesuffix("?"), kind, required=not name.endswith("?")))
    return tuple(rules)


def _is(value: object, kind: str) -> bool:
    if kind == "texts":
        return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
    expected = {"text": str, "integer": int, "list": list, "mapping": Mapping}[kind]
    return isinstance(value, expected) and not isinstance(value, bool)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
