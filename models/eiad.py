"""EIAD as one object: an image in, its description, anomaly map, mask and outline out (EIAD, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT
from data.errors import UserError
from data.files import make_dir, write_json
from data.run import Run, open_run
from data.sample import ImageArray, MaskArray, load_image
from data.training.descriptions import DescribeMode, Manner, choose_manner
from data.training.grounding import DescriptionMode, build_prompt
from models.contour import ContourConfig, draw_contour, draw_heat, find_mask
from models.device import DeviceConfig
from models.eddm.eddm import load_eddm
from models.mdlm.files import load_mdlm
from models.predictor import Predictor
from models.velm.judge import Judge, Verdict, read_product


class Overlay(StrEnum):
    """What the overlay shows: the red outline, the anomaly map as heat, or both."""

    contour = "contour"
    heat = "heat"
    both = "both"


@dataclass(kw_only=True, slots=True)
class InspectConfig(DeviceConfig):
    """One inspection; where it runs as `DeviceConfig` says.

    Attributes:
        run: Run directory with a trained EDDM and MDLM.
        image: Path of the image.
        out: Folder for the mask, the overlay and the JSON file.
        description: `eddm`, or `fixed` to leave EDDM out.
        mode: How EDDM describes; None, like what the MDLM was trained with.
        length: Most tokens of a free description; None, likewise.
        overlay: What the overlay shows.
        contour: Threshold of the mask (0.5 of a probability unless changed) and width of the outline.
        classes: Class descriptions (`data/classes/template.yaml`); with them EDDM names the class of what is found.
        category: Which of their categories; may be left out where there is one.
        policy: What to do with each class (`data/classes/policies/template.yaml`); needs `classes`.
        trust_remote_code: Allows code that comes with the weights; it must be the code that was trained with.
    """

    run: str
    image: str
    out: str = "outputs/inspect"
    description: DescriptionMode = DescriptionMode.eddm
    mode: DescribeMode | None = None
    length: int | None = None
    overlay: Overlay = Overlay.contour
    contour: ContourConfig = field(default_factory=ContourConfig)
    classes: str = ""
    category: str = ""
    policy: str = ""
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What EIAD says about one image.

    Attributes:
        image: The image's path.
        description: EDDM's words; empty without EDDM.
        score: Image score, higher is worse.
        anomaly_map: (H, W) float32 in 0..1, higher is worse.
        mask: (H, W) bool, True where the map reaches the threshold.
        overlay: (H, W, 3) uint8 RGB, the image with its outline.
        verdict: Class and action; None without class descriptions.
    """

    image: Path
    description: str
    score: float
    anomaly_map: NDArray[np.float32]
    mask: MaskArray
    overlay: ImageArray
    verdict: Verdict | None = None


class Describer(Protocol):
    """Describes images; `models.eddm.eddm.EDDM` does."""

    def describe(self, images: Sequence[Path], manner: Manner) -> list[str]:
        """One description an image."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EIAD:
    """EDDM and MDLM in sequence.

    Attributes:
        eddm: Describes; None gives the MDLM the fixed prompt instead.
        mdlm: Localizes.
        manner: How EDDM describes.
        overlay: What the overlay shows.
        contour: Threshold and line width.
        judge: Names the class and what to do; None leaves both out.
    """

    eddm: Describer | None
    mdlm: Predictor
    manner: Manner = field(default_factory=Manner)
    overlay: Overlay = Overlay.contour
    contour: ContourConfig = field(default_factory=ContourConfig)
    judge: Judge | None = None

    def inspect(self, path: Path) -> Inspection:
        """Inspects one image.

        Raises:
            UserError: If the image is missing or does not decode.
        """
        image = load_image(path)
        description = self.eddm.describe([path], self.manner)[0] if self.eddm is not None else ""
        prompt = build_prompt(FREE_PROMPT, description) if self.eddm is not None else build_prompt(FIXED_PROMPT)
        prediction = self.mdlm.predict([image], [prompt])[0]
        mask = find_mask(prediction.anomaly_map, self.contour)
        overlay = image if self.overlay is Overlay.contour else draw_heat(image, prediction.anomaly_map)
        if self.overlay is not Overlay.heat:
            overlay = draw_contour(overlay, mask, self.contour)
        return Inspection(
            image=path,
            description=description,
            score=float(prediction.score),
            anomaly_map=prediction.anomaly_map,
            mask=mask,
            overlay=overlay,
            verdict=self.judge.judge(path, image, mask) if self.judge is not None else None,
        )


def load_eiad(run: Run, config: InspectConfig) -> EIAD:
    """Loads both modules of a run.

    Raises:
        UserError: If the run lacks one of them, or the description would come from an annotation.
    """
    if config.description is DescriptionMode.oracle:
        raise UserError(
            "description=oracle needs an annotation, which a new image does not have. Choose eddm or fixed."
        )
    if not (run.mdlm / config.description.value).is_dir():
        raise UserError(
            f"No MDLM at {run.mdlm / config.description.value}. Train it first: python -m scripts.train_mdlm "
            f"run_dir={run.path} description={config.description.value}"
        )
    if config.description is DescriptionMode.eddm and not run.eddm.is_dir():
        raise UserError(f"No EDDM at {run.eddm}. Train it first: python -m scripts.train_eddm run_dir={run.path}")
    product, policy = read_product(config.classes, config.category, config.policy)
    needs_eddm = config.description is DescriptionMode.eddm or product is not None
    eddm = load_eddm(run, trust_remote_code=config.trust_remote_code, where=config) if needs_eddm else None
    return EIAD(
        eddm=eddm if config.description is DescriptionMode.eddm else None,
        mdlm=load_mdlm(run, config.description.value, config.place()),
        manner=choose_manner(run.mdlm / config.description.value, config.mode, config.length),
        overlay=config.overlay,
        contour=config.contour,
        judge=Judge(eddm.chat, product, policy, config.contour) if eddm is not None and product is not None else None,
    )


def inspect_image(config: InspectConfig) -> dict[str, Any]:
    """Inspects one image and writes its mask, overlay and JSON file.

    Returns:
        `description`, `score`, and the paths `mask` and `overlay`; with class descriptions also `class`, with a policy
        also `action` and `reason`.

    Raises:
        UserError: If the image, the run or a module is missing, or the folder cannot be written.
    """
    run = open_run(config.run)
    load_image(Path(config.image))
    folder = make_dir(Path(config.out))
    return save_inspection(load_eiad(run, config).inspect(Path(config.image)), folder)


def save_inspection(inspection: Inspection, folder: Path) -> dict[str, Any]:
    """Writes `<image name>_mask.png`, `_overlay.png` and `.json`; returns what the JSON file holds.

    Raises:
        UserError: If the folder cannot be written.
    """
    stem = inspection.image.stem
    mask, overlay = folder / f"{stem}_mask.png", folder / f"{stem}_overlay.png"
    result = {
        "description": inspection.description,
        "score": inspection.score,
        "mask": str(mask),
        "overlay": str(overlay),
        "image": str(inspection.image),
        "defect_share": float(inspection.mask.mean()),
    }
    if inspection.verdict is not None:
        result |= inspection.verdict.as_json()
    try:
        _write_png(mask, inspection.mask.astype(np.uint8) * 255)
        _write_png(overlay, cv2.cvtColor(inspection.overlay, cv2.COLOR_RGB2BGR))
        write_json(folder / f"{stem}.json", result)
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise UserError(f"Cannot write to {folder}: {error}. Choose another out=.") from error
    return result


def _write_png(path: Path, pixels: NDArray[Any]) -> None:
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
