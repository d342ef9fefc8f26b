"""EIAD as one object: images in, EDDM's words, anomaly maps and scores out (EIAD, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT, read_presence
from data.errors import UserError
from data.files import read_json
from data.run import Run, open_run
from data.training.descriptions import DescribeMode, Manner, choose_manner
from data.training.grounding import DescriptionMode, build_prompt
from models.device import DeviceConfig
from models.eddm.eddm import EDDM, Description, load_eddm
from models.exported import load_exported_eddm, load_exported_mdlm
from models.mdlm.files import MANIFEST, load_mdlm
from models.predictor import Predictor


@dataclass(kw_only=True, slots=True)
class EIADConfig(DeviceConfig):
    """Which EDDM and MDLM, and how they work together; where they run as `DeviceConfig` says.

    Attributes:
        run: Run directory with a trained EDDM and MDLM.
        export: Folder that `scripts.export_adapter` wrote, of adapters or of merged models.
        eddm_base: Base of an exported EDDM adapter, a folder or hub id; empty takes the hub id that the export names.
        llava_base: Base of an exported MDLM adapter, likewise.
        sam_base: SAM's checkpoint of an exported MDLM adapter, likewise.
        description: `eddm`, or `fixed` to leave EDDM out; None is `eddm` where it can be, as the MDLM was trained.
        mode: How EDDM describes; None, like what the MDLM was trained with.
        length: Most tokens of a free description; None, likewise.
        trust_remote_code: Allows code that comes with the weights; it must be the code that was trained with.
    """

    run: str = ""
    export: str = ""
    eddm_base: str = ""
    llava_base: str = ""
    sam_base: str = ""
    description: DescriptionMode | None = None
    mode: DescribeMode | None = None
    length: int | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What EIAD, or a vision expert, sees in one image.

    Attributes:
        anomaly_map: (H, W) float32 at the image's own size, higher is worse.
        score: Image score, higher is worse.
        words: EDDM's own words; empty without EDDM.
        present: Whether EDDM says that there is a defect; None where it was not asked or cannot be understood.
        defect: EDDM's name of the defect; None where it names none.
    """

    anomaly_map: NDArray[np.float32]
    score: float
    words: str = ""
    present: bool | None = None
    defect: str | None = None


class Describer(Protocol):
    """Describes images; `models.eddm.eddm.EDDM` does."""

    def describe_fully(self, images: Sequence[Path], manner: Manner) -> list[Description]:
        """One description an image."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EIAD:
    """EDDM and MDLM in sequence.

    Attributes:
        eddm: Describes; None gives the MDLM the fixed prompt instead.
        mdlm: Localizes.
        manner: How EDDM describes.
    """

    eddm: Describer | None
    mdlm: Predictor
    manner: Manner = field(default_factory=Manner)

    def ready(self, image: Any) -> Any:
        """What a thread can do of an image, (H, W, 3) uint8 RGB, before the MDLM sees it."""
        return getattr(self.mdlm, "ready", lambda image: image)(image)

    def look(self, paths: Sequence[Path], ready: Sequence[Any]) -> list[Look]:
        """Looks at a batch of images.

        Args:
            paths: Their files, which EDDM reads.
            ready: Their pixels, (H, W, 3) uint8 RGB, or what `ready` made of them.
        """
        described = self.eddm.describe_fully(paths, self.manner) if self.eddm is not None else None
        prompts = [build_prompt(FIXED_PROMPT)] * len(paths)
        if described is not None:
            prompts = [build_prompt(FREE_PROMPT, description.text) for description in described]
        said = described or [Description("")] * len(paths)
        return [
            Look(
                anomaly_map=prediction.anomaly_map,
                score=float(prediction.score),
                words=description.text,
                present=_presence(description),
                defect=description.answers.get("DC"),
            )
            for prediction, description in zip(self.mdlm.predict(ready, prompts), said, strict=True)
        ]


def _presence(description: Description) -> bool | None:
    """Its own answer where it was asked for one, else what its words say."""
    return description.answers["AD"] if "AD" in description.answers else read_presence(description.text)


def load_eiad(config: EIADConfig) -> EIAD:
    """Loads both modules of a run or of an export.

    Raises:
        UserError: If one of them is missing or damaged, or the description would come from an annotation.
    """
    folder, mode = find_mdlm_folder(config)
    where, trusted = config, config.trust_remote_code
    eddm: EDDM | None = None
    if config.run:
        run = open_run(config.run)
        if mode is DescriptionMode.eddm:
            eddm = load_eddm(run, trust_remote_code=trusted, where=where)
        mdlm = load_mdlm(run, mode, config.place())
    else:
        _check_bases(config, mode)
        if mode is DescriptionMode.eddm:
            part = Path(config.export) / "eddm"
            eddm = load_exported_eddm(part, base=config.eddm_base or None, trust_remote_code=trusted, where=where)
        mdlm = load_exported_mdlm(folder, llava=config.llava_base or None, sam=config.sam_base or None, where=where)
    return EIAD(eddm=eddm, mdlm=mdlm, manner=choose_manner(folder, config.mode, config.length))


def _check_bases(config: EIADConfig, mode: DescriptionMode) -> None:
    """Names all bases at once that exported adapters need and that are no hub ids."""
    parts = {"mdlm": {"llava": "llava_base", "sam": "sam_base"}}
    parts |= {"eddm": {"base": "eddm_base"}} if mode is DescriptionMode.eddm else {}
    missing = []
    for part, options in parts.items():
        export = read_json(Path(config.export) / part / MANIFEST).get("export") or {}
        for name, base in ({} if export.get("merged") else export.get("bases") or {}).items():
            if not base.get("hub") and not getattr(config, options[name]):
                missing.append(f"{options[name]}=PATH ({base.get('name')})")
    if missing:
        raise UserError(
            f"{config.export} holds adapters of checkpoints that are no hub ids. Say where those are: "
            f"{', '.join(missing)}. An export with merge=true needs none."
        )


def find_mdlm_folder(config: EIADConfig) -> tuple[Path, DescriptionMode]:
    """Folder of the MDLM, and what it is told about an image; loads nothing.

    Raises:
        UserError: If a module that is needed is not there, or the description would come from an annotation.
    """
    if config.description is DescriptionMode.oracle:
        raise UserError(
            "description=oracle needs an annotation, which a new image does not have. Choose eddm or fixed."
        )
    return _find_in_run(open_run(config.run), config) if config.run else _find_in_export(config)


def _find_in_run(run: Run, config: EIADConfig) -> tuple[Path, DescriptionMode]:
    mode = config.description or DescriptionMode.eddm
    if config.description is None and not (run.mdlm / mode.value).is_dir() and (run.mdlm / "fixed").is_dir():
        mode = DescriptionMode.fixed
    folder = run.mdlm / mode.value
    if not folder.is_dir():
        raise UserError(
            f"No MDLM at {folder}. Train it first: python -m scripts.train_mdlm run_dir={run.path} "
            f"description={mode.value}"
        )
    if mode is DescriptionMode.eddm and not run.eddm.is_dir():
        raise UserError(f"No EDDM at {run.eddm}. Train it first: python -m scripts.train_eddm run_dir={run.path}")
    return folder, mode


def _find_in_export(config: EIADConfig) -> tuple[Path, DescriptionMode]:
    export = Path(config.export)
    folder, eddm = export / "mdlm", export / "eddm"
    if not (folder / MANIFEST).is_file():
        raise UserError(
            f"No exported MDLM at {folder}. Give export= the out= of scripts.export_adapter, with the MDLM in it."
        )
    trained = (read_json(folder / MANIFEST).get("export") or {}).get("description")
    mode = config.description or (DescriptionMode.fixed if trained == "fixed" else DescriptionMode.eddm)
    if mode is DescriptionMode.eddm and not (eddm / MANIFEST).is_file():
        raise UserError(
            f"No exported EDDM at {eddm}, whose words this MDLM was trained with. Export both modules, or set "
            "description=fixed."
        )
    return folder, mode
