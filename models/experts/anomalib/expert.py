"""Any image model of anomalib as an expert: `anomalib:Padim`, `anomalib:EfficientAd`, … (an optional requirement).

Fitted by anomalib's own engine; its post-processing is left out, because the gate is set here. A fitted expert is a
folder: `expert.json`, `gate.json` and `<category>/anomalib.safetensors`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from data.errors import UserError
from data.files import make_dir
from data.sample import ImageArray, Sample
from models.device import choose
from models.experts.expert import Detection, Gate, MapArray, detect_by_category
from models.experts.store import (
    read_expert,
    read_gates,
    read_tensors,
    write_expert,
    write_gates,
    write_tensors,
)

WEIGHTS = "anomalib.safetensors"


@dataclass(kw_only=True, slots=True)
class AnomalibConfig:
    """How a model of anomalib is built and fitted.

    Attributes:
        arguments: What its constructor is given, as anomalib names it; weights of a hub come by anomalib's own ways.
        epochs: Epochs of the fit; models that only fill a memory need one.
        batch_size: Images a batch.
        device: `auto`, `cpu`, `cuda` …, see `models.device`.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    epochs: int = 1
    batch_size: int = 16
    device: str = "auto"


class AnomalibExpert:
    """A model of anomalib with one fit a category.

    Args:
        model: Name of its class.
        config: Its arguments.

    Raises:
        UserError: If anomalib is not installed, or has no such model.
    """

    sees_truth = False

    def __init__(self, model: str, config: AnomalibConfig) -> None:
        self.name = f"anomalib:{model}"
        self.model, self.config, self.device = model, config, choose(config.device).device
        self.gates: dict[str, Gate] = {}
        self.models: dict[str, Any] = {}

    def fit(self, category: str, samples: Sequence[Sample]) -> None:
        """Fits a category on its normal samples, by anomalib's engine."""
        _import_anomalib()
        from anomalib.data import Folder
        from anomalib.engine import Engine

        model = self._create()
        with tempfile.TemporaryDirectory() as folder:
            normal = make_dir(Path(folder) / "normal")
            for index, sample in enumerate(samples):
                (normal / f"{index:06d}{sample.image.suffix}").symlink_to(sample.image.resolve())
            data = Folder(
                name="eiad",
                root=folder,
                normal_dir="normal",
                train_batch_size=self.config.batch_size,
                eval_batch_size=self.config.batch_size,
                num_workers=0,
                test_split_mode="none",
                val_split_mode="none",
            )
            engine = Engine(
                default_root_dir=folder,
                max_epochs=self.config.epochs,
                accelerator="cpu" if self.device.type == "cpu" else "gpu",
                devices=1,
                logger=False,
                limit_val_batches=0,
            )
            engine.fit(model, datamodule=data)
        self.models[category] = model.eval()

    def check(self, categories: Sequence[str]) -> None:
        """Refuses categories without a model or a gate; see `Expert.check`."""
        if missing := sorted(set(categories) - (self.gates.keys() & self.models.keys())):
            raise UserError(
                f"{self.name} is not fitted for {', '.join(missing)}, only for {', '.join(self.models) or 'none'}. "
                f"Fit it: python -m scripts.fit_expert expert={self.name}."
            )

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """Scores images; see `Expert.detect`."""
        return detect_by_category(self, samples, images)

    @torch.inference_mode()
    def score(self, category: str, images: Sequence[ImageArray]) -> list[tuple[MapArray, float]]:
        """Map at the image's own size, and score, of images of one category, without a gate.

        Raises:
            UserError: If the model makes no anomaly maps.
        """
        model = self.models[category].to(self.device)
        scored = []
        for image in images:  # one by one: they may differ in size
            pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
            output = model(pixels.to(self.device))
            if output.anomaly_map is None or output.pred_score is None:
                raise UserError(f"{self.name} makes no anomaly maps, so it cannot localise. Choose another model.")
            grid = output.anomaly_map.float().squeeze().cpu().numpy()
            grown = cv2.resize(grid, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            scored.append((np.asarray(grown, np.float32), float(output.pred_score.reshape(-1)[0])))
        return scored

    def save(self, folder: Path, fitted: Mapping[str, list[str]]) -> None:
        """Writes the fitted expert; `fitted` holds the ids of the images that each category has seen."""
        for category, model in self.models.items():
            write_tensors(folder, category, WEIGHTS, model.state_dict())
        write_gates(folder, self.gates)
        write_expert(folder, self.name, asdict(self.config), fitted)

    @classmethod
    def load(cls, folder: Path, model: str, device: str = "auto") -> AnomalibExpert:
        """Loads a fitted expert.

        Args:
            folder: Where `save` wrote it.
            model: Name of its model.
            device: Where it runs here, see `models.device`.

        Raises:
            UserError: If the folder holds none or another, it is incomplete, or anomalib is not installed.
        """
        saved = read_expert(folder, f"anomalib:{model}")
        expert = cls(model, AnomalibConfig(**saved["config"] | {"device": device}))
        expert.gates = read_gates(folder)
        for category in expert.gates:
            state = read_tensors(folder, category, WEIGHTS, "fitted model")
            expert.models[category] = expert._create()
            expert.models[category].load_state_dict(state)
            expert.models[category].eval()
        return expert

    def _create(self) -> Any:
        get_model = _import_anomalib()
        plain = {"post_processor": False, "evaluator": False, "visualizer": False}
        try:
            return get_model(self.model, **(plain | self.config.arguments))
        except (ValueError, TypeError, AttributeError, ImportError) as error:
            raise UserError(f"anomalib cannot make '{self.model}': {error}") from error


def _import_anomalib() -> Any:
    try:
        from anomalib.models import get_model  # slow to import
    except ImportError as error:
        raise UserError(
            f"anomalib is not installed, which this expert needs: python -m pip install 'anomalib==2.7.0' ({error})"
        ) from error
    return get_model
