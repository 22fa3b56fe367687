"""Which documents of a benchmark are one item: the same question in several languages.

In a definition `items: id` names the column that holds the item's name in every language, so that it is found
again also where translations are missing. Where rows have no such column, but every language has all of them
in one order, `items: {rows_agree_in: [answer_number]}` makes an item of the rows of one number; rows that
then differ in one of these columns, or languages with more rows than others, are refused. `items: null`
says that no two documents are the same question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from results.errors import InputError
from results.validation import Settings, Several


@dataclass(frozen=True)
class ItemRule:
    """How a document's item is known.

    Attributes:
        of: the benchmark's name, whatever the language, which is the first part of every item's.
        column: column with the item's name; None where rows are counted.
        rows_agree_in: columns that rows of the same number must agree in, where rows are counted.
    """

    of: str
    column: str | None
    rows_agree_in: tuple[str, ...] = ()

    def name(self, doc: Mapping[str, Any], number: int) -> str:
        """The name of a document's item.

        Args:
            doc: the document.
            number: its number in the lm-eval task, from 0.
        """
        parts = (
            [doc[self.column]] if self.column else [number, *(doc[column] for column in self.rows_agree_in)]
        )
        return "/".join(map(str, [self.of, *parts]))

    def check(self, documents: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Refuse rows of which the rule cannot say which are one item.

        Args:
            documents: the scored rows by lm-eval task, in their order.

        Raises:
            InputError: rows are counted, and an lm-eval task has another number of them, or others.
        """
        if self.column is not None or not documents:
            return
        first, *others = documents
        for task in others:
            if len(documents[task]) != len(documents[first]):
                raise InputError(
                    f"{self.of}: {len(documents[task])} rows of {task} and {len(documents[first])} of "
                    f"{first}: rows of one number must be one question in all languages; give all of them"
                )
            for number, pair in enumerate(zip(documents[first], documents[task], strict=True)):
                for column in self.rows_agree_in:
                    first_value, value = (doc[column] for doc in pair)
                    if first_value != value:
                        raise InputError(
                            f"{self.of}: row {number} has the {column} {value} in {task} and {first_value} "
                            f"in {first}: rows of one number must be one question in all languages; order "
                            "them alike"
                        )


class RowsAgreeIn(Settings):
    """An item is what has one number in every language."""

    rows_agree_in: Several[str] = Field(min_length=1)
    """Columns in which rows of one number must agree."""


def item_rule(items: str | RowsAgreeIn | None, of: str) -> ItemRule | None:
    """The rule that a definition gives.

    Args:
        items: the column that names an item, or those in which rows of one number agree.
        of: the benchmark's name, without a language.
    """
    if isinstance(items, RowsAgreeIn):
        return ItemRule(of, None, items.rows_agree_in)
    return None if items is None else ItemRule(of, items)
