"""How good a vision expert is on its own: pixel and image metrics, and what its gate lets through."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.content import hash_files, hash_samples
from data.errors import UserError
from data.files import hash_value
from data.ranks import join_ranks
from data.sample import ImageArray, Sample
from data.source import Listing, Source, load_samples
from eval.segmentation.config import ScoringConfig
from eval.segmentation.driver import Job, as_it_is, evaluate
from eval.segmentation.map_store import MapRow
from models.experts.expert import Expert, Gate
from models.experts.load import ExpertName, load_expert, parse_expert
from models.experts.store import EXPERT, GATE, read_expert
from models.predictor import Predicted

log = logging.getLogger(__name__)
COLUMNS = ("image_auroc", "pixel_auroc", "pixel_f1_max", "pixel_ap", "pixel_aupro")
SEES_PIXELS = (ExpertName.patchcore, ExpertName.ddad, ExpertName.anomalib)  # alone: these can look at altered images


@dataclass(kw_only=True, slots=True)
class EvalExpertConfig(ScoringConfig):
    """Which expert on what; fields that are not listed are those of `ScoringConfig`.

    Attributes:
        expert: Which expert.
        expert_dir: Where it was fitted to, or where its maps are; empty for the oracle.
        splits: Splits to evaluate; images that the expert was fitted on or its gate set on are left out, and listed.
        out: Output directory: `expert.json`, `results.json`, the report, and the anomaly maps in `maps/`, which
            `expert=precomputed` reads.
        trust_remote_code: Allows code that comes with the weights of `mdlm`'s run; it must be the code trained with.
    """

    expert: str
    expert_dir: str = ""
    trust_remote_code: bool = False

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


def evaluate_expert(config: EvalExpertConfig) -> dict[str, Any]:
    """Evaluates an expert, writes `expert.json` and the report, and logs a table.

    Raises:
        UserError: If the expert is not fitted for a category, or a file is missing or corrupt.
    """
    config.check()
    ranks = join_ranks()
    listing = ranks.once(lambda: list_unfitted(config.dataset_source(), config.expert_dir))
    expert = load_expert(config.expert, config.expert_dir, trust_remote_code=config.trust_remote_code)
    expert.check(sorted({sample.category for sample in listing.samples}))
    out = Path(config.out)
    job = Job(
        name=expert.name,
        samples=listing.samples,
        skipped=listing.skipped,
        store=out,
        summary=out / "expert.json",
        report=out,
    )
    result = evaluate(ExpertMaps(expert, config, listing.samples), job, config, ranks)
    if ranks.is_main:
        _log_table(result)
        log.info("wrote %s", out / "expert.json")
    return result


class ExpertMaps:
    """The maps that a vision expert makes.

    Args:
        expert: Who looks.
        config: Its name and folder.
        samples: What is evaluated.
    """

    has_scores = True

    def __init__(self, expert: Expert, config: EvalExpertConfig, samples: Sequence[Sample]) -> None:
        self.files: dict[str, Path] = {}
        self._expert, self._config, self._samples = expert, config, samples

    def keys(self, samples: Sequence[Sample]) -> dict[str, str]:
        """See `MapSource.keys`: the expert and the image, for the oracle the mask as well."""
        digest = expert_digest(self._config.expert, self._config.expert_dir)
        if self._expert.sees_truth:
            contents = hash_samples(samples)
        else:
            hashes = hash_files(sample.image for sample in samples)
            contents = [hashes[sample.image] for sample in samples]
        return {s.id: hash_value([digest, content]) for s, content in zip(samples, contents, strict=True)}

    def prompt(self, sample: Sample) -> str:
        """See `MapSource.prompt`."""
        return ""

    def load(self) -> Callable[[ImageArray], Any]:
        """See `MapSource.load`: experts take images as they are."""
        return as_it_is

    def look(self, samples: Sequence[Sample], views: Sequence[Any], mirrored: bool) -> Sequence[Predicted]:
        """See `MapSource.look`."""
        return self._expert.detect(samples, views)

    def facts(self, rows: Mapping[str, MapRow]) -> dict[str, Any]:
        """See `MapSource.facts`."""
        members: dict[str, list[Sample]] = {}
        for sample in sorted(self._samples, key=lambda sample: sample.category):
            members.setdefault(sample.category, []).append(sample)
        gates = {name: _pass_rates(found, rows, self._expert.gates[name]) for name, found in members.items()}
        return {"expert": self._expert.name, "sees_truth": self._expert.sees_truth, "gate": gates}


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


def expert_digest(name: str, folder: str) -> str:
    """Changes with anything that an expert's maps depend on; the gate is not among it.

    Of the oracle, which has no folder, it is the same for all images: what it sees is the sample's own mask.
    """
    if not folder:
        return hash_value(name)
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != GATE)
    return hash_value([name, *hash_files(files).values()])


def _pass_rates(samples: Sequence[Sample], rows: Mapping[str, MapRow], gate: Gate) -> dict[str, float | None]:
    """Percent of normal and of anomalous images that the gate calls good, and its thresholds."""
    passed: dict[bool, list[bool]] = {True: [], False: []}
    for sample in samples:
        score = rows[sample.id].score
        assert score is not None
        passed[sample.is_normal].append(score < gate.score)
    rates = {normal: 100 * sum(found) / len(found) if found else None for normal, found in passed.items()}
    return {
        "normal_passed": rates[True],
        "anomalous_passed": rates[False],
        "score_threshold": gate.score,
        "pixel_threshold": gate.pixel,
    }


def _log_table(result: dict[str, Any]) -> None:
    log.info(
        "%-20s%s%16s%16s", "percent", "".join(f"{name:>14}" for name in COLUMNS), "normals passed", "anomal. passed"
    )
    for category, values in [*result["categories"].items(), ("mean", result["mean"])]:
        gate = result["gate"].get(category, {})
        cells = [values.get(name) for name in COLUMNS]
        rates = [gate.get(name) for name in ("normal_passed", "anomalous_passed")]
        shown = "".join(f"{_cell(cell):>14}" for cell in cells) + "".join(f"{_cell(rate):>16}" for rate in rates)
        log.info("%-20s%s", category, shown)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
