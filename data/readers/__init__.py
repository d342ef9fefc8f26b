"""One reader a dataset: a function from the root folder to its samples, without decoding a pixel.

A reader that leaves something out by rule returns `Listed`, with what it left out; its keyword-only arguments are the
options that `Source.options` may set.
"""

from collections.abc import Callable

from data.readers.bsdata import read_bsdata
from data.readers.dagm2007 import read_dagm2007
from data.readers.ds_mvtec import read_ds_mvtec
from data.readers.eyecandies import read_eyecandies
from data.readers.folder import read_folder
from data.readers.goods_ad import read_goods_ad
from data.readers.listing import Listed
from data.readers.magnetic_tile import read_magnetic_tile
from data.readers.mvtec_3d import read_mvtec_3d
from data.readers.mvtec_ac import read_mvtec_ac
from data.readers.mvtec_ad import read_mvtec_ad
from data.readers.mvtec_loco import read_mvtec_loco
from data.readers.pd_real import read_pd_real
from data.readers.real_iad import read_real_iad
from data.readers.rsdd import read_rsdd
from data.readers.visa import read_visa
from data.readers.visa_ac import read_visa_ac
from data.readers.vision import read_vision
from data.sample import Sample

Reader = Callable[..., list[Sample] | Listed]

READERS: dict[str, Reader] = {
    "bsdata": read_bsdata,
    "dagm2007": read_dagm2007,
    "ds_mvtec": read_ds_mvtec,
    "eyecandies": read_eyecandies,
    "folder": read_folder,
    "goods_ad": read_goods_ad,
    "magnetic_tile": read_magnetic_tile,
    "mvtec_3d": read_mvtec_3d,
    "mvtec_ac": read_mvtec_ac,
    "mvtec_ad": read_mvtec_ad,
    "mvtec_loco": read_mvtec_loco,
    "pd_real": read_pd_real,
    "real_iad": read_real_iad,
    "rsdd": read_rsdd,
    "visa": read_visa,
    "visa_ac": read_visa_ac,
    "vision": read_vision,
}
