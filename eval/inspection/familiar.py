"""Whether a photo looks like anything that a model was trained on.

Each image is one vector: the features of one stage of the packaged backbone, averaged over the image and brought to
length 1. The distance of a photo is that to its nearest training image. The limit comes from the training images alone:
how far each is from the nearest image of the *other* products, at the 90 % quantile. So a product that the model has
never seen passes if it is no further from the training's products than nine in ten of their images are from the other
ones, which is what zero-shot use asks for. With a single product the limit is what its own images are apart, at the
99.5 % quantile.

The vectors of a run are computed once, from at most `MOST` of its training images, and kept in the run, or in the
user's cache where the run cannot be written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from data.content import cache_folder, hash_files
from data.errors import UserError
from data.files import hash_value, make_dir, read_json
from data.parallel import map_threads
from data.processes.aside import written_aside
from data.sample import ImageArray, Sample, load_image
from data.source import Source, load_samples
from models.device import DeviceConfig
from models.experts.backbone import Backbone, BackboneConfig

log = logging.getLogger(__name__)
FILE = "familiar.safetensors"
MOST = 480
QUANTILE, ALONE = 0.9, 0.995
STAGE = 3  # stride 16: of all stages and their unions it told generated products best from photos of real ones
BATCH = 16
Vectors = NDArray[np.float32]  # (N, C), each of length 1


@dataclass(frozen=True, slots=True)
class Training:
    """What the training images look like.

    Attributes:
        vectors: (N, C).
        limit: A photo whose nearest vector is further away looks like none of them.
    """

    vectors: Vectors
    limit: float


class Familiar:
    """Compares photos with training images.

    Args:
        training: What those look like.
        describer: Makes vectors of photos.

    Attributes:
        key: Changes with anything that its distances depend on.
    """

    def __init__(self, training: Training, describer: Describer) -> None:
        self.training, self._describer = training, describer
        self.key = hash_value([training.vectors.tobytes().hex(), training.limit, describer.weights_hash])

    def ready(self, image: ImageArray) -> torch.Tensor:
        """What a thread can do of an image beforehand."""
        return self._describer.ready(image)

    def distances(self, ready: Sequence[torch.Tensor]) -> list[float]:
        """Distance of each photo to its nearest training image, in multiples of the limit: above 1 it is unfamiliar."""
        nearest = _distances(self._describer.describe(ready), self.training.vectors).min(1)
        return [float(value) / self.training.limit for value in nearest]


class Describer:
    """One vector an image, from the packaged backbone.

    Args:
        where: Device.
    """

    def __init__(self, where: DeviceConfig) -> None:
        self._backbone = Backbone(BackboneConfig(layers=[STAGE], pool=1), where.place().device)

    @property
    def weights_hash(self) -> str:
        """Of the backbone."""
        return self._backbone.weights_hash

    def ready(self, image: ImageArray) -> torch.Tensor:
        """Resizes, (1, 3, S, S)."""
        return self._backbone.prepare([image])

    def describe(self, ready: Sequence[torch.Tensor]) -> Vectors:
        """(N, C)."""
        means = self._backbone.patches(torch.cat(list(ready))).mean((2, 3))
        return torch.nn.functional.normalize(means, dim=1).cpu().numpy()


def load_exported(folder: Path, where: DeviceConfig) -> Familiar | None:
    """What the training images of an export, or of a run that ships, look like; None where nobody knew then."""
    known = read_training(folder / FILE, "")
    return None if known is None else Familiar(known, Describer(where))


def load_familiar(run: Path, mdlm: Path, where: DeviceConfig) -> Familiar | None:
    """Reads, or makes and keeps, what a run's training images look like.

    Args:
        run: Run directory.
        mdlm: Folder of its MDLM, whose `config.json` names the training data.
        where: Device.

    Returns:
        The comparison; None, with a warning in the log, where the training images are not to be had.
    """
    path = mdlm / "config.json"
    sources = (read_json(path).get("data") or {}).get("train") if path.is_file() else None
    if not sources:
        log.warning("Whether photos look like the training's cannot be told: %s names no training data.", path)
        return None
    describer = Describer(where)
    places = [run / FILE, cache_folder() / "familiar" / f"{hash_value([str(run.resolve()), sources])[:32]}.safetensors"]
    try:
        samples = load_samples([Source(**source) for source in sources]).samples
        hashes = hash_files(sample.image for sample in thin(samples))
        key = hash_value([describer.weights_hash, sorted(set(hashes.values())), MOST, QUANTILE, ALONE, STAGE])
    except UserError as error:
        key, samples = "", []
        log.warning("The training images of %s cannot be looked at (%s).", run, error)
    for place in places:
        if (known := read_training(place, key)) is not None:
            return Familiar(known, describer)
    if not samples:
        log.warning("Whether photos look like the training's cannot be told.")
        return None
    log.info("Looking once at the images that %s was trained on, to know unfamiliar photos", run)
    training = learn_training(thin(samples), describer)
    for place in places:
        try:
            _write(place, training, key)
            break
        except (OSError, UserError, SafetensorError):
            continue  # a run that cannot be written: the cache
    return Familiar(training, describer)


def thin(samples: Sequence[Sample]) -> list[Sample]:
    """At most `MOST` samples, evenly spread."""
    count = min(MOST, len(samples))
    return [samples[index * len(samples) // count] for index in range(count)]


def learn_training(samples: Sequence[Sample], describer: Describer) -> Training:
    """Vectors of training images, and the limit."""
    seen = map_threads(lambda sample: describer.ready(load_image(sample.image)), samples, workers=2)
    shown = tqdm(seen, "training images", len(samples), unit="image")
    vectors = np.concatenate([describer.describe(batch) for batch in _batches(shown)])
    return Training(vectors, find_limit(vectors, [f"{sample.dataset}/{sample.category}" for sample in samples]))


def find_limit(vectors: Vectors, products: Sequence[str]) -> float:
    """How far an image may be from its nearest one: a quantile of the distances between products.

    Args:
        vectors: (N, C).
        products: Product of each. With a single one, the distances between its images.
    """
    names = np.array(products)
    distances = _distances(vectors, vectors)
    several = len(set(products)) > 1
    same = names[:, None] == names if several else np.eye(len(names), dtype=bool)
    distances[same] = np.inf
    nearest = distances.min(1)
    nearest = nearest[np.isfinite(nearest)]
    if not len(nearest):
        return 2.0  # no two vectors are further
    return max(float(np.quantile(nearest, QUANTILE if several else ALONE)), 1e-6)


def read_training(path: Path, key: str) -> Training | None:
    """What was kept; None where nothing was, or of other images. An empty key, of images that are gone, fits all."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            told = file.metadata() or {}
            if key and told.get("key") != key:
                return None
            return Training(file.get_tensor("vectors"), float(told["limit"]))
    except (SafetensorError, OSError, KeyError, ValueError):
        return None  # damaged: made anew


def _write(path: Path, training: Training, key: str) -> None:
    make_dir(path.parent)
    with written_aside(path) as temporary:
        save_file({"vectors": training.vectors}, temporary, {"key": key, "limit": repr(training.limit)})


def _distances(left: Vectors, right: Vectors) -> NDArray[np.float32]:
    return np.sqrt(np.maximum(2 - 2 * left @ right.T, 0))


def _batches(items: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    batch: list[torch.Tensor] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
