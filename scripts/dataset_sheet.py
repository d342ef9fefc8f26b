"""python -m scripts.dataset_sheet dataset=magnetic_tile data_root=DIR [out=sheet.png] [columns=6].

Draws samples of every category and defect of a dataset with their masks on one PNG, to be looked at.
"""

import logging

from data.contact_sheet import DatasetSheetConfig, write_dataset_sheet
from scripts.command import command


@command("dataset_sheet", DatasetSheetConfig)
def main(config: DatasetSheetConfig) -> None:
    """Draws the sheet."""
    rows = write_dataset_sheet(config)
    logging.getLogger(__name__).info("%d rows in %s", rows, config.out)


if __name__ == "__main__":
    main()
