"""One reader a dataset: a function from the root folder to its samples, without decoding a pixel."""

from collections.abc import Callable
from pathlib import Path

from data.readers.bsdata import read_bsdata
from data.readers.magnetic_tile import read_magnetic_tile
from data.readers.mvtec_ad import read_mvtec_ad
from data.sample import Sample

READERS: dict[str, Callable[[Path], list[Sample]]] = {
    "bsdata": read_bsdata,
    "magnetic_tile": read_magnetic_tile,
    "mvtec_ad": read_mvtec_ad,
}
