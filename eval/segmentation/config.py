"""What a segmentation evaluation is asked to do: which maps, on which images, at which resolution, by which engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import read_json
from data.source import DataConfig, Source
from data.training.descriptions import DescribeMode
from eval.conventions.figures import ExtraFigures
from eval.conventions.measure import MeasureConfig
from eval.conventions.named import AuproRule, ImageScore
from eval.metrics.pixels import AUPRO_LIMIT, Engine
from eval.segmentation.prompts import TextSource

_NAMES = {TextSource.eddm: "with_eddm", TextSource.fixed: "without_eddm"}


@dataclass(kw_only=True, slots=True)
class ScoringConfig(MeasureConfig):
    """How anomaly maps become figures: the same for the maps of a run, of files and of an expert.

    By which convention: `MeasureConfig`.

    Attributes:
        dataset: Name of the reader that knows the dataset's layout.
        data_root: Folder of the dataset.
        splits: Splits of `dataset` to keep; empty keeps all.
        categories: Categories of `dataset` to keep; empty keeps all.
        skip_empty_masks: Leave out (and list) anomalous images of `dataset` whose mask is empty.
        out: Folder of the results.
        batch_size: Images per forward pass.
        workers: Threads that decode and resize images, or read maps, ahead of the model.
        engine: `exact` or `streaming`.
        resize_maps: Bring maps of another size to the size of the evaluation, instead of refusing them.
        aupro_limit: Upper limit of the false-positive rate in AUPRO.
        spro_limit: Also MVTec LOCO's AU-sPRO, up to this false-positive rate (usually 0.05); None leaves it out.
        per_object: Also image metrics of objects: the views of one are one decision (Real-IAD).
        iou_threshold: Also the IoU of mask and map at or above this value; None leaves it out.
        tally_bins: Bins by score in which the pixels of each image are counted, for the intervals of a difference to
            another evaluation (12 bytes a bin and image); 0 counts none.
        flip: Average with the map of the mirrored image.
        scales: Sizes of the image, as factors, whose maps are averaged.
    """

    dataset: str = ""
    data_root: str = ""
    splits: list[str] = field(default_factory=lambda: ["test"])
    categories: list[str] = field(default_factory=list)
    skip_empty_masks: bool = False
    out: str = ""
    batch_size: int = 8
    workers: int = 2
    engine: Engine = Engine.exact
    resize_maps: bool = False
    aupro_limit: float = AUPRO_LIMIT
    spro_limit: float | None = None
    per_object: bool = False
    iou_threshold: float | None = None
    tally_bins: int = 256
    flip: bool = False
    scales: list[float] = field(default_factory=lambda: [1.0])

    def check_scoring(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: If a value is out of range.
        """
        if not 0 < self.aupro_limit <= 1:
            raise UserError(f"aupro_limit={self.aupro_limit} is out of range: choose a value in (0, 1], usually 0.3.")
        if self.tally_bins and not 2 <= self.tally_bins <= 65536:
            raise UserError(
                f"tally_bins={self.tally_bins} is out of range: choose 2 to 65536, usually 256, or 0 for none."
            )
        if self.spro_limit is not None and not 0 < self.spro_limit <= 1:
            raise UserError(f"spro_limit={self.spro_limit} is out of range: choose a value in (0, 1], usually 0.05.")
        if self.spro_limit is not None and (self.dataset != "mvtec_loco" or self.resolution != "native" or self.crop):
            raise UserError(
                "spro_limit= needs dataset=mvtec_loco, whose files give saturation areas, and resolution=native."
            )
        extra = self.extra()
        if self.engine is not Engine.exact and (extra.legacy or extra.ader or extra.spro_limit is not None):
            raise UserError(
                "aupro_rule=legacy, ader_figures= and spro_limit= see all scores at once: they need engine=exact."
            )
        if self.batch_size < 1 or self.workers < 1:
            raise UserError(f"batch_size={self.batch_size} and workers={self.workers} must be at least 1.")
        if not self.scales or not all(0 < scale <= 8 for scale in self.scales):
            raise UserError(f"scales={self.scales} must be factors in (0, 8], for example scales=[0.75,1,1.25].")
        self.check_measure()

    def extra(self) -> ExtraFigures:
        """The figures that a convention adds."""
        legacy = self.aupro_rule is AuproRule.legacy
        ader, spro = self.ader_figures, self.spro_limit
        return ExtraFigures(legacy=legacy, ader=ader, spro_limit=spro, per_object=self.per_object)

    @property
    def averages(self) -> bool:
        """Whether a map is the mean of several looks at its image."""
        return self.flip or self.scales != [1.0]

    def dataset_source(self) -> Source:
        """The part of a dataset that `dataset`, `data_root`, `splits` and `categories` name."""
        return Source(
            reader=self.dataset,
            root=self.data_root,
            splits=self.splits,
            categories=self.categories,
            skip_empty_masks=self.skip_empty_masks,
        )


@dataclass(kw_only=True, slots=True)
class SegmentationConfig(ScoringConfig):
    """One evaluation: of a run's MDLM (`run`), or of maps that any other method wrote (`maps`).

    Fields that are not listed are those of `ScoringConfig`.

    Attributes:
        preset: Name of the preset; it decides which data are read. The results keep the one that the model was trained
            with, and none of maps.
        run: Run directory with a trained MDLM.
        maps: Folder of anomaly maps, one per image at the image's path below `data_root`, with its suffix replaced.
        data: Training and zero-shot sources; evaluated unless `dataset` and `data_root` are given.
        out: Folder for the report, `results.json` and the log; empty writes to `RUN/eval`.
        part: `zero_shot`, or `train` to look at the training side.
        description: Where the text of each image comes from.
        model: Which of `RUN/mdlm/<model>` to evaluate; empty takes `fixed` for the fixed prompt, else `eddm`.
        descriptions: Name of the log `RUN/descriptions/<name>.jsonl`; empty takes the name of the part.
        mode: How the descriptions must have come about; None, like those that the MDLM was trained with.
        length: Most tokens of free ones; None, likewise.
        subset: Empty for all images, `decoys` for images with decoys, or a file with one sample id a line.
        name: Name of the result, `RUN/eval/segmentation_<name>.json`; empty composes it from the choices above and the
            dataset, where that is not the run's own.
        zero_shot: Refuse to evaluate categories or images that the model was trained on.
        allow_extra_maps: Count files in `maps` that belong to no image, instead of refusing them.
        seed: Seed of `description=shuffled`.
    """

    preset: str = ""
    run: str = ""
    maps: str = ""
    data: DataConfig
    part: str = "zero_shot"
    description: TextSource = TextSource.eddm
    model: str = ""
    descriptions: str = ""
    mode: DescribeMode | None = None
    length: int | None = None
    subset: str = ""
    name: str = ""
    zero_shot: bool = True
    allow_extra_maps: bool = False
    seed: int = 0

    def check(self) -> None:
        """Checks what can be checked without reading a file.

        Raises:
            UserError: If values are out of range, or do not go together.
        """
        if bool(self.run) == bool(self.maps):
            raise UserError("Give either run=RUN_DIR (evaluates its MDLM) or maps=DIR (scores anomaly maps).")
        if bool(self.dataset) != bool(self.data_root):
            raise UserError("dataset= (a reader) and data_root= (its folder) belong together: give both or neither.")
        if self.maps and not (self.dataset and self.out):
            raise UserError("maps= needs dataset=<reader>, data_root=DIR and out=DIR.")
        if self.maps and self.averages:
            raise UserError("flip= and scales= change what a model sees: they go with run=, not with maps=.")
        if self.maps and self.image_score in (ImageScore.model, ImageScore.half):
            raise UserError(
                f"image_score={self.image_score.value} needs a model (run=). Choose maximum or top_mean for maps=."
            )
        self.check_scoring()

    def sources(self) -> list[Source]:
        """What is evaluated."""
        return [self.dataset_source()] if self.dataset else self.data.part(self.part)

    def result_name(self, own_data: str) -> str:
        """`name`, or one that tells the text source, subset, part and dataset apart.

        Args:
            own_data: Name of the data that the run was trained on; empty if unknown. See `other_data`.
        """
        parts = [_NAMES.get(self.description, self.description.value)]
        parts += [Path(self.subset).stem] if self.subset else []
        parts += [self.part] if self.part != "zero_shot" else []
        return self.name or "_".join([*parts, *other_data(self.dataset, self.data.name, own_data)])

    def model_name(self) -> str:
        """`model`, or the one trained for the text source."""
        return self.model or (TextSource.fixed if self.description is TextSource.fixed else TextSource.eddm).value


def other_data(dataset: str, data: str, own_data: str) -> list[str]:
    """The data that the name of a result must tell: none where it is the run's own.

    Args:
        dataset: What was given as `dataset=`, or empty.
        data: Name of the `data=` config.
        own_data: Name of the data that the run was trained on; empty if unknown.
    """
    if dataset:
        return [dataset.replace(":", ".")]  # of a reader of the user's own; a part of file names
    return [data] if own_data and data and data != own_data else []


def trained_data(folder: Path) -> str:
    """Name of the data that an MDLM was trained on; empty if it is not known."""
    data = read_json(folder / "config.json").get("data") or {}
    return str(data.get("name") or "")


def trained_preset(folder: Path) -> str:
    """Name of the preset that an MDLM was trained with; empty if it is not known."""
    return str(read_json(folder / "config.json").get("preset") or "")


def evaluated_sources(told: Mapping[str, Any]) -> list[Source]:
    """What an evaluation was about, from the config in its summary."""
    if not told["dataset"]:
        return [Source(**source) for source in told["data"][told["part"]]]
    names = ("splits", "categories", "skip_empty_masks")
    return [Source(reader=told["dataset"], root=told["data_root"], **{name: told[name] for name in names})]


def config_facts(config: ScoringConfig) -> dict[str, Any]:
    """A config as JSON can hold it."""
    return {**asdict(config), "engine": config.engine.value}
