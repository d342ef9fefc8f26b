"""Who looks at photos: EIAD from a run or an export, or a vision expert. One protocol for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from data.content import hash_files
from data.errors import UserError
from data.files import hash_value
from data.run import open_run
from data.sample import ImageArray, Sample
from data.training.descriptions import choose_manner
from data.training.grounding import DescriptionMode
from eval.segmentation.expert import identify_expert
from models.eddm.identity import identify_eddm
from models.eiad import EIAD, EIADConfig, Look, find_mdlm_folder, load_eiad
from models.experts.clip.backbone import ClipConfig
from models.experts.expert import Expert
from models.experts.load import ExpertName, load_expert, parse_expert

PROBABILITY = 0.5  # where the MDLM's own loss calls a pixel defect
WEIGHTS = (".safetensors", ".json")


@dataclass(kw_only=True, slots=True)
class SourceConfig(EIADConfig):
    """Who looks: exactly one of `run`, `export` and `expert`; fields that are not listed are those of `EIADConfig`.

    Attributes:
        expert: Name of the expert that looks, instead of EIAD; it needs no run.
        expert_dir: Where it was fitted to; a zero-shot expert needs none.
        clip: Which CLIP a zero-shot expert sees with.
        category: Which product of an expert that was fitted on several; of the class descriptions, likewise.
    """

    expert: str = ""
    expert_dir: str = ""
    clip: ClipConfig = field(default_factory=ClipConfig)
    category: str = ""

    def check_source(self) -> None:
        """Refuses what does not go together.

        Raises:
            UserError: Naming the values.
        """
        given = [name for name in ("run", "export", "expert") if getattr(self, name)]
        if len(given) != 1:
            raise UserError(
                f"Give one of run=RUN, export=DIR, or expert=NAME expert_dir=DIR, not {' and '.join(given) or 'none'}."
            )
        if self.expert and parse_expert(self.expert)[0] is ExpertName.oracle:
            raise UserError("The oracle reads the true mask, which a new photo does not have. Choose another expert.")

    def product(self, known: Sequence[str]) -> str:
        """The product that photos show: the named one, or the only one that the expert knows.

        Args:
            known: Those that the expert was fitted on.

        Raises:
            UserError: If there are several and none is named.
        """
        if self.category:
            return self.category
        if not known:
            raise UserError(f"expert={self.expert} judges a product by its name: give it by category=, as a noun.")
        if len(known) != 1:
            raise UserError(
                f"The expert in {self.expert_dir} was fitted on {len(known)} products: {', '.join(known)}. Name the "
                "one that the photos show by category=."
            )
        return known[0]


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded photo.

    Attributes:
        name: Its path below the folder that is inspected, in POSIX form.
        path: Its file.
        image: (H, W, 3) uint8 RGB.
        ready: What `Source.ready` made of it.
    """

    name: str
    path: Path
    image: ImageArray
    ready: Any


class Source(Protocol):
    """What looks at photos.

    Attributes:
        name: How results call it.
        key: Hash of everything that its maps and scores depend on, besides the photo: the identity that a calibration
            is of.
        folder: Its folder, in which a calibration lies.
        category: The product, of an expert; empty for EIAD, which knows none.
        threshold: A photo is flagged if its score is at or above it, unless it is calibrated.
        pixel: Map values at or above it are a defect region, unless it is calibrated.
        bounded: Whether maps and scores are probabilities, 0..1.
    """

    name: str
    key: str
    folder: Path
    category: str
    threshold: float
    pixel: float
    bounded: bool

    def ready(self, image: ImageArray) -> Any:
        """What a thread can do of an image, (H, W, 3) uint8 RGB, before it is looked at."""

    def look(self, pictures: Sequence[Picture]) -> list[Look]:
        """One look a picture, in order."""


def open_source(config: SourceConfig) -> Source:
    """Loads what looks.

    Raises:
        UserError: If it is not clear what, or a file of it is missing, damaged, or of another version.
    """
    config.check_source()
    return ExpertSource(config) if config.expert else EIADSource(config)


class EIADSource:
    """EDDM and MDLM of a run or an export; see `Source`."""

    def __init__(self, config: SourceConfig, eiad: EIAD | None = None) -> None:
        self.name = "EIAD"
        self.folder = open_run(config.run).path if config.run else Path(config.export)
        self.category = ""
        self.threshold = self.pixel = PROBABILITY
        self.bounded = True
        self.key = identify_eiad(config)
        self._eiad = eiad or load_eiad(config)
        self.ready = self._eiad.ready

    def look(self, pictures: Sequence[Picture]) -> list[Look]:
        """See `Source.look`."""
        return self._eiad.look([picture.path for picture in pictures], [picture.ready for picture in pictures])

    @property
    def eddm(self) -> Any:
        """The EDDM; None where the MDLM is given fixed words."""
        return self._eiad.eddm

    @property
    def chat(self) -> Any:
        """EDDM's chat model; None without EDDM."""
        return getattr(self.eddm, "chat", None)


def identify_eiad(config: EIADConfig) -> str:
    """Hash of the weights, the manner of the descriptions and the number format; loads nothing."""
    folder, mode = find_mdlm_folder(config)
    parts: list[Any] = [mode.value, choose_manner(folder, config.mode, config.length).facts(), _hash_weights(folder)]
    if mode is DescriptionMode.eddm:
        run = config.run and identify_eddm(open_run(config.run))
        parts.append(run or _hash_weights(Path(config.export) / "eddm"))
    number = config.place().number
    return hash_value(parts + ([] if number == "float32" else [number]))


def _hash_weights(folder: Path) -> str:
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in WEIGHTS and "checkpoints" not in path.relative_to(folder).parts
    )
    hashes = hash_files(files)
    return hash_value([(path.relative_to(folder).as_posix(), hashes[path]) for path in files])


class ExpertSource:
    """A fitted vision expert; see `Source`."""

    def __init__(self, config: SourceConfig) -> None:
        self.expert: Expert = load_expert(
            config.expert,
            config.expert_dir,
            trust_remote_code=config.trust_remote_code,
            where=config,
            clip=config.clip,
        )
        self.name, self.folder = config.expert, Path(config.expert_dir)
        self.category = config.product(sorted(self.expert.gates))
        self.expert.check([self.category])
        gate = self.expert.gates[self.category]
        self.threshold, self.pixel, self.bounded = gate.score, gate.pixel, False
        self.key = identify_expert(config.expert, config.expert_dir, self.category, self.expert)

    def ready(self, image: ImageArray) -> None:
        """Nothing: an expert takes images as they are."""

    def look(self, pictures: Sequence[Picture]) -> list[Look]:
        """See `Source.look`."""
        samples = [
            Sample(
                id=f"photos/{picture.name}",
                dataset="photos",
                category=self.category,
                split="test",
                image=picture.path,
            )
            for picture in pictures
        ]
        found = self.expert.detect(samples, [picture.image for picture in pictures])
        return [Look(anomaly_map=one.anomaly_map, score=one.score) for one in found]
