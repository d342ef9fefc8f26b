"""python -m scripts.contact_sheet [out=sheet.png] [contours=false] [categories=[gear,screw]].

Draws every product of the generated factory with every defect on one PNG, to be looked at.
"""

from data.factory.sheet import SheetConfig, write_sheet
from scripts.command import command


@command("contact_sheet", SheetConfig)
def main(config: SheetConfig) -> None:
    """Draws the sheet and prints its path."""
    print(f"{write_sheet(config)} products in {config.out}")


if __name__ == "__main__":
    main()
