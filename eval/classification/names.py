"""From the words of files and replies to the classes of a category."""

from __future__ import annotations

from enum import StrEnum

from data.classes.texts import GOOD, Product, plain_name
from data.errors import UserError
from eval.metrics.classes import UNKNOWN


class Names(StrEnum):
    """How strictly names are compared.

    `normalised` ignores case, hyphens, underscores, punctuation at the ends and a plural `s`. `published` is as strict
    as the scorer behind VELM's tables: a reply must be the name but for case, and a true class whose spelling differs
    from the description file (`small-holes` and `small-hole`) is a class of its own, which no reply can name.
    """

    normalised = "normalised"
    published = "published"


class ClassNames:
    """The classes of one category, by their names.

    Args:
        product: The category's descriptions.
        names: How strictly names are compared.
        source: File of the descriptions; named in errors.
    """

    def __init__(self, product: Product, names: Names, source: str) -> None:
        self._names = names
        self._product = product
        self._source = source
        self._fold = plain_name if names is Names.normalised else str.lower
        self._by_name = {self._fold(entry.name): entry.key for entry in product.classes} | {GOOD: GOOD}
        self._by_plain_key = {plain_name(entry.key): entry.key for entry in product.classes} | {GOOD: GOOD}

    def read_reply(self, reply: str) -> str:
        """The class that a reply names by the first text of its entry, or `unknown`."""
        return self._by_name.get(self._fold(reply), UNKNOWN)

    def read_truth(self, name: str) -> str:
        """The class by which a true class is scored.

        Raises:
            UserError: If the description file has no such class, in whatever spelling.
        """
        key = self._by_plain_key.get(plain_name(name))
        if key is None:
            known = ", ".join([GOOD, *(entry.key for entry in self._product.classes)])
            raise UserError(
                f"Class without a description: '{name}' of category '{self._product.category}' is not in "
                f"{self._source}, which has: {known}. Add it there, or correct the name."
            )
        return key if self._names is Names.normalised else name
