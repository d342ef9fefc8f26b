"""The catalogue: every product of the factory, which defects it can have, and on which side of the split it is.

A new product is one drawing function and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from data.factory import objects, textures
from data.factory.canvas import Generator, Surface
from data.factory.defects import PAINTERS


class Group(Enum):
    """Which dataset root a product belongs to by default."""

    SEEN = "seen"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Product:
    """One category of the factory.

    Attributes:
        draw: Draws one randomly posed, lit and coloured piece, (size, size).
        group: Training or zero-shot.
        impossible: Defect types that make no sense, or could not be told from the surface.
    """

    draw: Callable[[Generator, int], Surface]
    group: Group
    impossible: tuple[str, ...] = ()

    @property
    def defects(self) -> list[str]:
        """Defect types that this product can have, in the painters' order."""
        return [defect for defect in PAINTERS if defect not in self.impossible]


PRODUCTS: dict[str, Product] = {
    "brushed_metal": Product(textures.draw_brushed_metal, Group.SEEN),
    "leather": Product(textures.draw_leather, Group.SEEN),
    "wood": Product(textures.draw_wood, Group.SEEN, ("bend",)),
    "weave": Product(textures.draw_weave, Group.SEEN, ("crack", "dent")),
    "granite": Product(textures.draw_granite, Group.SEEN, ("bend", "dent", "contamination")),
    "corrugated_sheet": Product(textures.draw_corrugated_sheet, Group.SEEN, ("bend",)),
    "perforated_sheet": Product(textures.draw_perforated_sheet, Group.SEEN, ("hole", "crack")),
    "washer": Product(objects.draw_washer, Group.SEEN),
    "gear": Product(objects.draw_gear, Group.SEEN),
    "bearing": Product(objects.draw_bearing, Group.SEEN, ("bend", "dent")),
    "capsule": Product(objects.draw_capsule, Group.SEEN),
    "button": Product(objects.draw_button, Group.SEEN),
    "circuit_board": Product(objects.draw_circuit_board, Group.SEEN, ("dent",)),
    "plug": Product(objects.draw_plug, Group.SEEN),
    "cable": Product(objects.draw_cable, Group.SEEN, ("bend",)),
    "tile": Product(textures.draw_tile, Group.UNSEEN, ("bend", "dent")),
    "carpet": Product(textures.draw_carpet, Group.UNSEEN, ("crack", "dent")),
    "wire_grid": Product(textures.draw_wire_grid, Group.UNSEEN, ("hole", "crack", "dent", "scratch")),
    "hex_nut": Product(objects.draw_hex_nut, Group.UNSEEN),
    "bottle": Product(objects.draw_bottle, Group.UNSEEN, ("bend",)),
    "screw": Product(objects.draw_screw, Group.UNSEEN, ("contamination",)),
    "pill": Product(objects.draw_pill, Group.UNSEEN, ("bend",)),
}


def categories_of(group: Group) -> list[str]:
    """Names of a group's categories, in catalogue order."""
    return [name for name, product in PRODUCTS.items() if product.group is group]
