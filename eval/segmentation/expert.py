"""How good a vision expert is on its own: pixel and image metrics, and what its gate lets through."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data.content import hash_files, hash_samples
from data.errors import UserError
from data.files import hash_value
from data.ranks import join_ranks
from data.sample import Sample
from data.source import Listing, Source, check_source, load_samples
from eval.calibration.file import CALIBRATION, read_calibration
from eval.metrics.figures import format_figure, mean_known
from eval.segmentation.config import ScoringConfig
from eval.segmentation.driver import Eye, Job, evaluate
from eval.segmentation.map_store import MapRow
from models.experts.clip.backbone import Clip, ClipConfig, at_size
from models.experts.expert import Expert, Gate
from models.experts.frame import Framed
from models.experts.load import ON_CLIP, ExpertName, load_expert, parse_expert
from models.experts.saa.expert import SAAConfig
from models.experts.store import EXPERT, GATE, IMAGES, read_expert

NO_PART = (GATE, CALIBRATION, IMAGES)  # files in an expert's folder that its maps do not depend on
log = logging.getLogger(__name__)
COLUMNS = ("image_auroc", "pixel_auroc", "pixel_f1_max", "pixel_ap", "pixel_aupro")
CLIP_SIDES = {"winclip": 240, "april_gan": 518}  # convention → side of the square that its own method's CLIP takes
SEES_PIXELS = (*ON_CLIP, ExpertName.patchcore, ExpertName.ddad, ExpertName.anomalib, ExpertName.own)  # or altered ones


@dataclass(kw_only=True, slots=True)
class EvalExpertConfig(ScoringConfig):
    """Which expert on what; fields that are not listed are those of `ScoringConfig`.

    Attributes:
        expert: Name of the expert; `anomalib` is followed by that of its model, `anomalib:Padim`. One of your own is
            `package.module:Class`.
        expert_dir: Where it was fitted to, or where its maps are; the oracle needs none,
            nor do SAA+ and the experts on CLIP.
        splits: Splits to evaluate; images that the expert was fitted on or its gate set on are left out, and listed.
        out: Output directory: `expert.json`, `results.json`, the report, and the anomaly maps in `maps/`, which
            `expert=precomputed` reads.
        saa: Checkpoints of SAA+, and what it is told about classes, where there is no `expert_dir`.
        clip: Which CLIP `winclip`, `anoclip` and `clip_surgery` see with. Without `clip.image_size` it sees at the size
            that the convention shows, or else at what the convention's own method takes: 240 px with `winclip`, 518
            with `april_gan`.
        trust_remote_code: Allows code that comes with the weights of `mdlm`'s run; it must be the code trained with.
    """

    expert: str
    expert_dir: str = ""
    saa: SAAConfig = field(default_factory=SAAConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    trust_remote_code: bool = False

    def clip_side(self) -> int | None:
        """Side of the square at which an expert on CLIP sees images; None where the convention leaves it open."""
        return self.crop or self.input_size or CLIP_SIDES.get(self.convention)

    def seen_clip(self) -> ClipConfig:
        """`clip` at the size at which it sees."""
        return at_size(self.clip, self.clip_side()) if parse_expert(self.expert)[0] in ON_CLIP else self.clip

    def check(self) -> None:
        """Checks what can be checked without reading a file.

        Raises:
            UserError: If values are out of range, or do not go together.
        """
        self.check_scoring()
        if self.averages and parse_expert(self.expert)[0] not in SEES_PIXELS:
            raise UserError(
                f"flip= and scales= change what an expert sees; '{self.expert}' does not go by pixels alone."
            )
        if self.input_size is not None and parse_expert(self.expert)[0] not in SEES_PIXELS:
            raise UserError(
                f"input_size= changes what an expert sees; '{self.expert}' does not go by pixels alone. With the other "
                f"settings of convention={self.convention}: input_size=null crop=null."
            )


def evaluate_expert(config: EvalExpertConfig, draw: str = "") -> dict[str, Any]:
    """Evaluates an expert, writes `expert.json` and the report, and logs a table.

    Args:
        config: Which expert on what.
        draw: For the results: which images it was fitted on, where they are few and drawn.

    Raises:
        UserError: If the expert is not fitted for a category, or a file is missing or corrupt.
    """
    config.check()
    ranks = join_ranks()
    ranks.once(lambda: check_source(config.dataset_source()))  # before weights are looked for
    trusted = config.trust_remote_code
    expert = load_expert(
        config.expert,
        config.expert_dir,
        trust_remote_code=trusted,
        where=config,
        saa=config.saa,
        clip=config.seen_clip(),
    )

    def prepare() -> Job:
        listing = list_unfitted(config.dataset_source(), config.expert_dir)
        expert.check(sorted({sample.category for sample in listing.samples}))
        digest, out = expert_digest(config.expert, config.expert_dir, expert), Path(config.out)
        return Job(
            name=expert.name,
            samples=listing.samples,
            keys={name: hash_value([digest, seen]) for name, seen in hash_seen(expert, listing.samples).items()},
            skipped=listing.skipped,
            facts={"expert": expert.name, "sees_truth": expert.sees_truth}
            | tell_setting(expert, config.clip_side())
            | ({"draw": draw} if draw else {}),
            store=out,
            summary=out / "expert.json",
            report=out,
        )

    job = ranks.once(prepare)
    categories = sorted({sample.category for sample in job.samples})
    thresholds = use_calibrations(expert, config.expert, config.expert_dir, categories)
    result = evaluate(
        job,
        config,
        ranks,
        lambda: Eye(lambda samples, images, texts: expert.detect(samples, images)),
        lambda rows: {"gate": pass_rates(job.samples, rows, expert.gates), "thresholds": thresholds},
        expert.frame.inside if isinstance(expert, Framed) else lambda size: None,
    )
    if ranks.is_main:
        _log_table(result)
        log.info("wrote %s", job.summary)
    return result


def list_unfitted(source: Source, folder: str) -> Listing:
    """The samples of a source without those that an expert was fitted on, which are listed as skipped.

    Args:
        source: What to list.
        folder: Of the expert; empty for the oracle.

    Raises:
        UserError: If nothing is left.
    """
    listing, seen = load_samples([source]), fitted_ids(folder)
    samples = [sample for sample in listing.samples if sample.id not in seen]
    if not samples:
        raise UserError(f"The expert in {folder} was fitted on all {len(listing.samples)} images. Give other splits.")
    return Listing(samples, [*listing.skipped, *((s.id, "fitted on") for s in listing.samples if s.id in seen)])


def fitted_ids(folder: str) -> set[str]:
    """Ids of the images that an expert was fitted on; empty without a fit (oracle, maps whose gate came along)."""
    if not folder or not (Path(folder) / EXPERT).is_file():
        return set()
    return {sample_id for ids in read_expert(Path(folder))["fitted"].values() for sample_id in ids}


def expert_digest(name: str, folder: str, expert: Expert | None = None) -> str:
    """Changes with anything that an expert's maps depend on; gate, calibration and list of images are not among it.

    Without a folder it is the expert's own `identity`; of the oracle it is the same for all images: what it sees is the
    sample's own mask.
    """
    if not folder:
        return str(getattr(expert, "identity", hash_value(name)))
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name not in NO_PART)
    return hash_value([name, *hash_files(files).values()])


def tell_setting(expert: Expert, side: int | None = None) -> dict[str, str]:
    """For results: what an expert was told, how it saw, and how its score is made, where it says so.

    Args:
        expert: The expert.
        side: The input that the convention names for an expert on CLIP.
    """
    setting = getattr(expert, "setting", "")
    clip = getattr(expert, "clip", None)
    if isinstance(clip, Clip) and side not in (None, clip.side):
        setting += f" The convention names {side} pixels."
    return {"setting": setting} if setting else {}


def identify_expert(name: str, folder: str, category: str, expert: Expert | None = None) -> str:
    """Identity of what an expert knows about one category, which a calibration is of."""
    return hash_value([expert_digest(name, folder, expert), category])


def use_calibrations(expert: Expert, name: str, folder: str, categories: Sequence[str]) -> dict[str, str]:
    """Gives an expert the thresholds of its `calibration.json`, where there is one, for those of its gate.

    Args:
        expert: The expert; its gates change.
        name: Its name.
        folder: Its folder; empty for the oracle.
        categories: Categories that are looked at.

    Returns:
        Category → which threshold it is and what it stands for.

    Raises:
        UserError: If a calibration is malformed, or another model's.
    """
    told = dict.fromkeys(categories, "Threshold of the gate; no rate of false alarms is promised.")
    if not folder or not isinstance(expert.gates, dict):
        return told
    for category in categories:
        calibration = read_calibration(Path(folder), identify_expert(name, folder, category), category)
        if calibration is not None:
            expert.gates[category] = replace(expert.gates[category], score=calibration.threshold)
            told[category] = calibration.describe()
    return told


def hash_seen(expert: Expert, samples: Sequence[Sample]) -> dict[str, str]:
    """Sample id → hash of what an expert sees: the image, for the oracle its mask as well."""
    hashes = hash_files(sample.image for sample in samples)
    seen = hash_samples(samples) if expert.sees_truth else [hashes[sample.image] for sample in samples]
    return {sample.id: one for sample, one in zip(samples, seen, strict=True)}


def pass_rates(
    samples: Sequence[Sample], rows: Mapping[str, MapRow], gates: Mapping[str, Gate]
) -> dict[str, dict[str, float | None]]:
    """Percent of normal and of anomalous images that the gate calls good, and its thresholds, by category."""
    passed: dict[str, dict[bool, list[float]]] = {}
    for sample in sorted(samples, key=lambda sample: sample.category):
        score, gate = rows[sample.id].score, gates[sample.category]
        assert score is not None
        passed.setdefault(sample.category, {True: [], False: []})[sample.is_normal].append(100 * (score < gate.score))
    return {
        name: {
            "normal_passed": mean_known(found[True]),
            "anomalous_passed": mean_known(found[False]),
            "score_threshold": gates[name].score,
            "pixel_threshold": gates[name].pixel,
        }
        for name, found in passed.items()
    }


def _log_table(result: dict[str, Any]) -> None:
    log.info(
        "%-20s%s%16s%16s  convention",
        "percent",
        "".join(f"{name:>14}" for name in COLUMNS),
        "normals passed",
        "anomal. passed",
    )
    for category, values in [*result["categories"].items(), ("mean", result["mean"])]:
        gate = result["gate"].get(category, {})
        cells = [values.get(name) for name in COLUMNS]
        rates = [gate.get(name) for name in ("normal_passed", "anomalous_passed")]
        shown = "".join(f"{format_figure(cell, 2):>14}" for cell in cells) + "".join(
            f"{format_figure(rate, 2):>16}" for rate in rates
        )
        log.info("%-20s%s  %s", category, shown, result["convention"])
