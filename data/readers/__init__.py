"""One reader a dataset: a function from the root folder to its samples, without decoding a pixel."""

from collections.abc import Callable
from pathlib import Path

from data.readers.bsdata import read_bsdata
from data.readers.ds_mvtec import read_ds_mvtec
from data.readers.goods_ad import read_goods_ad
from data.readers.magnetic_tile import read_magnetic_tile
from data.readers.mvtec_3d import read_mvtec_3d
from data.readers.mvtec_ac import read_mvtec_ac
from data.readers.mvtec_ad import read_mvtec_ad
from data.readers.mvtec_loco import read_mvtec_loco
from data.readers.visa import read_visa
from data.readers.visa_ac import read_visa_ac
from data.sample import Sample

READERS: dict[str, Callable[[Path], list[Sample]]] = {
    "bsdata": read_bsdata,
    "ds_mvtec": read_ds_mvtec,
    "goods_ad": read_goods_ad,
    "magnetic_tile": read_magnetic_tile,
    "mvtec_3d": read_mvtec_3d,
    "mvtec_ac": read_mvtec_ac,
    "mvtec_ad": read_mvtec_ad,
    "mvtec_loco": read_mvtec_loco,
    "visa": read_visa,
    "visa_ac": read_visa_ac,
}
