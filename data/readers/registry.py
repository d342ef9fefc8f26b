"""Which readers there are, by name.

A reader that leaves something out by rule returns `Listed`, with what it left out; its keyword-only arguments are the
options that `Source.options` may set.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from data.readers.bsdata import read_bsdata
from data.readers.dagm2007 import read_dagm2007
from data.readers.ds_mvtec import read_ds_mvtec
from data.readers.eyecandies import read_eyecandies
from data.readers.folder import read_folder
from data.readers.listing import Reader
from data.readers.magnetic_tile import read_magnetic_tile
from data.readers.mvtec_3d import read_mvtec_3d
from data.readers.mvtec_layout import read_mvtec_layout
from data.readers.mvtec_loco import read_mvtec_loco
from data.readers.own import load_reader
from data.readers.pd_real import read_pd_real
from data.readers.photos import read_photos
from data.readers.real_iad import read_real_iad
from data.readers.rsdd import read_rsdd
from data.readers.visa import read_visa
from data.readers.vision import read_vision
from data.sample import Sample


def _in_mvtec_layout(dataset: str, hyphen: str = "-") -> Reader:
    def read(root: Path) -> list[Sample]:
        samples = read_mvtec_layout(root, dataset)
        return [replace(sample, defect=sample.defect and sample.defect.replace("-", hyphen)) for sample in samples]

    return read


READERS: dict[str, Reader] = {
    "bsdata": read_bsdata,
    "dagm2007": read_dagm2007,
    "ds_mvtec": read_ds_mvtec,
    "eyecandies": read_eyecandies,
    "folder": read_folder,
    "goods_ad": _in_mvtec_layout("goods_ad"),  # Zhang et al., 2024
    "magnetic_tile": read_magnetic_tile,
    "mvtec_3d": read_mvtec_3d,
    # The AC sets (VELM, Sec. 3.3): class names keep the release's spelling (`melded`, `particals`), because VELM's
    # class descriptions are keyed by them. A release may hold `test` alone: its training images are the original's.
    "mvtec_ac": _in_mvtec_layout("mvtec_ac"),
    "mvtec_ad": _in_mvtec_layout("mvtec_ad"),  # Bergmann et al., 2019
    "mvtec_loco": read_mvtec_loco,
    "pd_real": read_pd_real,
    "photos": read_photos,
    "real_iad": read_real_iad,
    "rsdd": read_rsdd,
    "visa": read_visa,
    "visa_ac": _in_mvtec_layout("visa_ac", hyphen=" "),
    "vision": read_vision,
}


def find_reader(name: str) -> Reader:
    """The reader of a name: one of `READERS`, or the user's own, `package.module:function`.

    Raises:
        UserError: If there is none, or it cannot be used; see `load_reader`.
    """
    return READERS[name] if name in READERS else load_reader(name, sorted(READERS))
