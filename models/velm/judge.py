"""The verdict on one inspected image: which class of defect EDDM sees, and what the product's policy says to do."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from data.classes.policy import UNKNOWN, Decision, Policy, load_policy
from data.classes.texts import GOOD, Product, check_descriptions, load_products, plain_name
from data.errors import UserError
from data.sample import ImageArray, MaskArray
from models.chat.protocol import ChatModel, Failure
from models.contour import ContourConfig, draw_contour
from models.velm.classify import Case, ChoiceMode, Classifier
from models.velm.draw import VisualPromptKind
from models.velm.prompt import Pictures, PromptConfig, PromptStyle


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an image shows, and what to do.

    Attributes:
        name: Key of the class, `good` or `unknown`.
        decision: What the policy says; None without a policy.
    """

    name: str
    decision: Decision | None = None

    def as_json(self) -> dict[str, Any]:
        """What the JSON line of an inspection gets."""
        if self.decision is None:
            return {"class": self.name}
        return {"class": self.name, "action": self.decision.action.value, "reason": self.decision.reason}


class Judge:
    """EDDM with a product's classes and policy.

    Args:
        chat: EDDM's model.
        product: The product in words.
        policy: What to do; None leaves it open.
        contour: Line width of the outline that EDDM is shown.
    """

    def __init__(self, chat: ChatModel, product: Product, policy: Policy | None, contour: ContourConfig) -> None:
        prompt = PromptConfig(style=PromptStyle.ddqa)
        self.classifier = Classifier(chat, prompt, VisualPromptKind.contour, ChoiceMode.auto)
        self.product, self.policy, self.contour = product, policy, contour

    def judge(self, path: Path, image: ImageArray, mask: MaskArray) -> Verdict:
        """Names the class of what the mask marks; an empty mask is `good`, and EDDM is not asked.

        Args:
            path: The image's file.
            image: (H, W, 3) uint8 RGB.
            mask: (H, W) bool.
        """
        name = self._name(path, image, mask) if mask.any() else GOOD
        return Verdict(name, self.policy.decide(name) if self.policy is not None else None)

    def _name(self, path: Path, image: ImageArray, mask: MaskArray) -> str:
        drawn = draw_contour(image, mask, self.contour)
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "outlined.png"
            picture.write_bytes(cv2.imencode(".png", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))[1].tobytes())
            _, answer = next(iter(self.classifier.classify([Case(self.product, Pictures(path, None, picture))])))
        if isinstance(answer, Failure):
            return UNKNOWN
        keys = {plain_name(entry.name): entry.key for entry in self.product.classes}
        return keys.get(plain_name(answer.name), UNKNOWN)


def read_product(classes: str, category: str, policy: str) -> tuple[Product | None, Policy | None]:
    """The product and policy that the paths name; None for what is not given.

    Raises:
        UserError: If a file is missing or malformed, the category is not clear, or there is a policy without classes.
    """
    if not classes:
        if policy or category:
            raise UserError("policy= and category= need classes=FILE, which describes the classes they name.")
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
