"""Anomaly maps of a vision expert, or of any model of anomalib, an optional requirement.

Of anomalib (`scripts/requirements/anomalib.txt`): one model a category, as anomalib trains them: fitted on the
category's normal training images, or not at all where it is zero-shot. anomalib's own scaling of scores is left out:
metrics need the ranking alone. Maps come out at the size of their image, float32, bilinear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data.errors import UserError
from data.files import make_dir, read_json, write_json
from data.processes.lock import held
from data.sample import ImageArray, Sample, load_image
from data.source import Source, load_samples
from models.device import DeviceConfig, choose
from models.experts.clip.backbone import ClipConfig
from models.experts.load import load_expert
from models.experts.map_file import write_map
from models.experts.saa.expert import SAAConfig
from models.weights.wanted import tell_weights

SETTINGS = "maps.json"
TOLD = ("setting", "shots", "weights")  # what that file says beside what the maps depend on
MapMaker = Callable[[ImageArray], NDArray[np.float32]]


@dataclass(kw_only=True, slots=True)
class ExportConfig:
    """Which model writes maps of which images.

    Attributes:
        model: Class in `anomalib.models`, for example `WinClip`, `Padim`, `Patchcore`; leave it out with `expert`.
        expert: Name of the expert, instead of a model of anomalib.
        expert_dir: Where it was fitted to; SAA+ and the experts on CLIP need none.
        saa: Checkpoints of SAA+, and what it is told about classes.
        clip: Which CLIP `winclip`, `anoclip` and `clip_surgery` see with.
        options: Arguments of its constructor.
        dataset: Name of the reader that knows the dataset's layout.
        data_root: Folder of the dataset.
        out: Folder for the maps, at the path of their image below `data_root`.
        split: Split whose images get maps.
        train_split: Split whose normal images a model is fitted on.
        categories: Categories to keep; empty keeps all.
        batch_size: Images a training step.
        device: Where it runs, see `models.device`; in which number format is anomalib's affair.
        seed: Of everything that is random.
    """

    model: str = ""
    expert: str = ""
    expert_dir: str = ""
    saa: SAAConfig = field(default_factory=SAAConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    options: dict[str, Any] = field(default_factory=dict)
    dataset: str
    data_root: str
    out: str
    split: str = "test"
    train_split: str = "train"
    categories: list[str] = field(default_factory=list)
    batch_size: int = 8
    device: str = "auto"
    seed: int = 0

    def facts(self) -> dict[str, Any]:
        """What the maps depend on, beside the images."""
        return {"model": self.model, "options": self.options, "train_split": self.train_split, "seed": self.seed}


def export_maps(config: ExportConfig) -> Path:
    """Writes one `.npy` an image; categories and images that are there already are kept. Returns the folder.

    Raises:
        UserError: If not exactly one of expert and model is named, anomalib or the model is missing, `out` holds maps
            of other settings, another process writes there, or there are no images.
    """
    if bool(config.model) == bool(config.expert):
        raise UserError("Give expert=NAME, or model=MODEL of anomalib: one of the two.")
    with held(Path(config.out)):
        return _export(config, Path(config.data_root), Path(config.out))


def _export(config: ExportConfig, root: Path, out: Path) -> Path:
    source = Source(reader=config.dataset, root=config.data_root, splits=[config.split], categories=config.categories)
    samples = load_samples([source]).samples
    settings, facts, expert = out / SETTINGS, config.facts(), None
    told: dict[str, Any] = {}
    if config.expert:
        where = DeviceConfig(device=config.device)
        expert = load_expert(config.expert, config.expert_dir, where=where, saa=config.saa, clip=config.clip)
        expert.check(sorted({sample.category for sample in samples}))
        facts = {"expert": config.expert, "folder": config.expert_dir, "identity": getattr(expert, "identity", "")}
        told = {"setting": getattr(expert, "setting", ""), "shots": getattr(expert, "shots", 0)}
        told["weights"] = [used.to_json() for used in tell_weights(expert)]
    if settings.is_file() and {k: v for k, v in read_json(settings).items() if k not in TOLD} != facts:
        raise UserError(f"{out} holds maps of other settings ({settings}). Choose another out=, or delete it.")
    make_dir(out)
    write_json(settings, facts | told)
    for category in sorted({sample.category for sample in samples}):
        pending = [
            sample for sample in samples if sample.category == category and not _path(out, root, sample).is_file()
        ]
        if not pending:
            continue
        make_map = None if expert else load_map_maker(config, category)
        for sample in tqdm(pending, desc=category, unit="map"):
            image = load_image(sample.image)
            found = make_map(image) if make_map else expert.detect([sample], [image])[0].anomaly_map  # type: ignore[union-attr]
            write_map(_path(out, root, sample), found)
    return out


def load_map_maker(config: ExportConfig, category: str) -> MapMaker:
    """A fitted model as a function from an RGB uint8 image (H, W, 3) to its map (H, W) float32, higher is worse.

    Raises:
        UserError: If anomalib or the model is missing, or there is nothing to fit it on.
    """
    try:
        import anomalib.models
        import torch
        from anomalib import LearningType
        from lightning.pytorch import seed_everything
    except ImportError as error:
        raise UserError(
            f"anomalib is not installed ({error}): pip install -r scripts/requirements/anomalib.txt"
        ) from error
    kind = getattr(anomalib.models, config.model, None)
    if not isinstance(kind, type):
        raise UserError(f"anomalib has no model '{config.model}'. Its models are classes such as WinClip or Padim.")
    seed_everything(config.seed, verbose=False)
    try:
        model = kind(**config.options, post_processor=False, evaluator=False, visualizer=False)
    except TypeError as error:
        raise UserError(f"options={config.options} do not suit {config.model}: {error}.") from error
    if model.learning_type is LearningType.ZERO_SHOT:
        if hasattr(model, "class_name") and model.class_name is None:
            model.class_name = category.replace("_", " ")
        model.setup("predict")
    else:
        _fit(model, config, category)
    device = choose(config.device).device
    model = model.to(device).eval()

    def make_map(image: ImageArray) -> NDArray[np.float32]:
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].float().div(255).to(device)
        with torch.inference_mode():
            found = model(batch).anomaly_map
        if found is None:
            raise UserError(f"{config.model} gives no anomaly map: it only scores whole images.")
        values = np.ascontiguousarray(found.reshape(found.shape[-2:]).float().cpu().numpy())
        height, width = image.shape[:2]
        return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

    return make_map


def _fit(model: Any, config: ExportConfig, category: str) -> None:
    """Fits a model on the normal training images of a category, with the trainer settings that it asks for."""
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader

    source = Source(reader=config.dataset, root=config.data_root, splits=[config.train_split], categories=[category])
    normal = [sample for sample in load_samples([source]).samples if sample.is_normal]
    if not normal:
        raise UserError(f"{config.model} needs normal images: {category} has none in split '{config.train_split}'.")
    loader: Any = DataLoader(normal, config.batch_size, shuffle=True, collate_fn=_collate)  # type: ignore[arg-type]
    device = choose(config.device).device
    place: dict[str, Any] = {"accelerator": "cpu", "devices": 1}
    if device.type == "cuda":
        place = {"accelerator": "gpu", "devices": [device.index]}
    trainer = Trainer(**{**place, "barebones": True, **model.trainer_arguments})
    trainer.fit(model, train_dataloaders=loader)


def _collate(samples: Sequence[Sample]) -> Any:
    """A training batch of anomalib; images of several sizes are brought to that of the first."""
    import torch
    from anomalib.data import ImageBatch

    images = list(_one_size([load_image(sample.image) for sample in samples]))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div(255)
    return ImageBatch(image=pixels, gt_label=torch.zeros(len(samples), dtype=torch.bool))


def _one_size(images: Sequence[ImageArray]) -> Iterator[ImageArray]:
    height, width = images[0].shape[:2]
    for image in images:
        yield image if image.shape[:2] == (height, width) else np.asarray(cv2.resize(image, (width, height)), np.uint8)


def _path(out: Path, root: Path, sample: Sample) -> Path:
    return out / sample.image.relative_to(root).with_suffix(".npy")
