"""Which class of its product's defects an outlined place shows, by a language model: EDDM or another."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.classes.policy import UNKNOWN, Policy, load_policy
from data.classes.texts import GOOD, Product, check_descriptions, load_products, plain_name
from data.errors import UserError
from data.sample import ImageArray, MaskArray, load_image
from models.chat.protocol import Failure
from models.contour import ContourConfig, draw_contour
from models.velm.classify import Case, Classifier
from models.velm.draw import write_picture
from models.velm.prompt import Pictures


@dataclass(frozen=True, slots=True)
class Marked:
    """A place to name.

    Attributes:
        path: The image's file.
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, True on the place.
    """

    path: Path
    image: ImageArray
    mask: MaskArray


class Judge:
    """A language model with a product's classes.

    Args:
        classifier: The model and how it is asked.
        product: The product in words.
        contour: Line width of the outline that it is shown.
        reference: A sound image to compare with; None shows none.
    """

    def __init__(
        self, classifier: Classifier, product: Product, contour: ContourConfig, reference: Path | None = None
    ) -> None:
        self.classifier, self.product, self.contour, self.reference = classifier, product, contour, reference

    def name(self, places: Sequence[Marked]) -> list[str]:
        """Names the class of each place: its key in the class file, `good`, or `unknown` where no answer fits."""
        named = [UNKNOWN] * len(places)
        if not places:
            return named
        keys = {plain_name(entry.name): entry.key for entry in self.product.classes}
        if self.classifier.prompt.offer_good:
            keys |= {plain_name(GOOD): GOOD}
        with tempfile.TemporaryDirectory() as folder:
            reference, side = self.reference, self.classifier.prompt.side
            if reference is not None and side is not None:
                reference = write_picture(Path(folder) / "reference.png", load_image(reference), side)
            pictures = [self._draw(place, reference, Path(folder), index) for index, place in enumerate(places)]
            cases = [Case(self.product, shown) for shown in pictures]
            for index, answer in self.classifier.classify(cases):
                if not isinstance(answer, Failure):
                    named[index] = keys.get(plain_name(answer.name), UNKNOWN)
        return named

    def facts(self) -> list[Any]:
        """What the names depend on, besides image and mask."""
        prompt = asdict(self.classifier.prompt)
        return [self.classifier.chat.name, self.classifier.mode.value, prompt, asdict(self.product)]

    def _draw(self, place: Marked, reference: Path | None, folder: Path, index: int) -> Pictures:
        """The pictures of a question, at the size that the prompt asks for."""
        side = self.classifier.prompt.side
        drawn = draw_contour(place.image, place.mask, self.contour)
        visual = write_picture(folder / f"{index}_outlined.png", drawn, side)
        query = place.path if side is None else write_picture(folder / f"{index}.png", place.image, side)
        return Pictures(query, reference, visual)


def read_product(classes: str, category: str, policy: str) -> tuple[Product | None, Policy | None]:
    """The product and policy that the paths name; None for what is not given.

    Raises:
        UserError: If a file is missing or malformed, the category is not clear, or there is a policy without classes.
    """
    if not classes:
        if policy:
            raise UserError("policy= needs classes=FILE, which describes the classes that it names.")
        return None, None
    products = load_products(Path(classes))
    check_descriptions(products, Path(classes))
    known = ", ".join(products)
    if not category and len(products) > 1:
        raise UserError(f"{classes} has several categories: {known}. Name one by category=.")
    name = category or next(iter(products))
    if name not in products:
        raise UserError(f"No category '{name}' in {classes}. It has: {known}.")
    return products[name], load_policy(Path(policy), products[name]) if policy else None
