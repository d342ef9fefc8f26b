"""Calibrates what looks at photos, a run, an export or an expert, on sound photos that it was not made from."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from data.content import hash_files
from data.errors import UserError
from data.files import read_json
from data.parallel import map_threads
from data.readers.photos import find_layout
from data.run import open_run
from data.sample import load_image
from data.source import Source as Dataset
from data.source import load_samples
from eval.calibration.conformal import check_supported
from eval.calibration.file import Calibration, calibration_path, write_calibration
from eval.calibration.judged import join_judged, tell_judged
from eval.calibration.make import FRESH, Scores, make_calibration
from eval.inspection.photos import Photo, find_photos
from eval.inspection.sources import Picture, Source, SourceConfig, open_source
from eval.judgements.truth import Truth, read_truth
from models.eiad import find_mdlm_folder
from models.experts.store import read_expert, read_fitted

log = logging.getLogger(__name__)
NAMED = 5  # photos that a warning names


@dataclass(kw_only=True, slots=True)
class CalibrateConfig(SourceConfig):
    """What is calibrated, and on what; fields that are not listed are those of `SourceConfig`.

    Attributes:
        normals: Sound photos: a folder, a file or a pattern; of a folder with sound and defective ones, both are taken.
            Not needed with `judgements`.
        judgements: Folder of a log of judgements, whose sound and defective photos are taken, too.
        defects: Defective ones, likewise; empty leaves probabilities and the share that is found open.
        false_alarms: Share of sound photos that may be flagged: 0.05 needs 19 sound photos, 0.02 needs 49.
        fresh: Number of fresh sound photos that the number of false alarms is told for.
        batch_size: Photos looked at together.
        workers: Threads that decode.
        seed: Of the cross-validation of the probabilities.
    """

    normals: str = ""
    judgements: str = ""
    defects: str = ""
    false_alarms: float = 0.05
    fresh: int = FRESH
    batch_size: int = 16
    workers: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What came of it.

    Attributes:
        calibration: The calibration, as written.
        path: Its file.
        source: What was calibrated.
        left_out: Why photos were left out → how many.
        judged: What the judgements gave, for a person.
    """

    calibration: Calibration
    path: Path
    source: str
    left_out: dict[str, int]
    judged: str = ""

    def describe(self) -> str:
        """What was found, for a person."""
        found = self.calibration
        lines = [f"{self.source}: {found.describe()}"]
        if found.scaling is not None:
            curve, error = found.scaling.method, 100 * found.scaling.error
            lines.append(f"Probabilities by {curve} scaling; expected calibration error {error:.1f} %.")
        elif found.defects:
            lines.append(f"{found.defects} defective photos are too few for probabilities.")
        if found.trained:
            lines.append("warning: the rate may be exceeded on products that the run has not seen.")
        lines += [self.judged] if self.judged else []
        lines += [f"Left out: {count} {why}." for why, count in self.left_out.items()]
        return "\n".join([*lines, f"wrote {self.path}"])


def calibrate(config: CalibrateConfig) -> Calibrated:
    """Scores the photos, takes the threshold, and writes `calibration.json` beside what was calibrated.

    Raises:
        UserError: If there is nothing to calibrate, the photos are too few for the rate, or too many cannot be read.
    """
    if config.fresh < 1 or config.batch_size < 1 or config.workers < 1:
        raise UserError(
            f"fresh={config.fresh}, batch_size={config.batch_size} and workers={config.workers}: each at least 1."
        )
    if config.run:
        open_run(config.run, writes=True)
    config = _with_expert(config)
    truth = read_judged(config)
    sound, defective = find_normals_and_defects(config)
    sound, defective = join_judged(sound, defective, truth)
    left_out = dict(Counter(why for _, why in truth.skipped))
    sound = _leave_out_fitted(sound, config, left_out)
    check_supported(len(sound), config.false_alarms)
    source = open_source(config)
    scores = _score(source, sound, config, left_out)
    found = _score(source, defective, config, left_out).images if defective else []
    made = make_calibration(
        scores,
        found,
        rate=config.false_alarms,
        model=source.key,
        category=source.category,
        fresh=config.fresh,
        seed=config.seed,
    )
    made = replace(made, trained=None if config.export else count_trained(sound, config))
    several = config.expert and len(read_expert(source.folder)["fitted"]) > 1
    path = calibration_path(source.folder, source.category if several else "")
    write_calibration(path, made)
    judged = tell_judged(config.judgements, truth, source.key) if truth.told else ""
    return Calibrated(made, path, f"{source.name} in {source.folder}", left_out, judged)


def find_normals_and_defects(config: CalibrateConfig) -> tuple[list[Photo], list[Photo]]:
    """The sound and the defective photos.

    Raises:
        UserError: If there are none, or the same file is in both.
    """
    if not config.normals:
        return [], find_photos(config.defects).photos if config.defects else []
    root = Path(config.normals)
    layout = find_layout(root) if root.is_dir() else None
    if layout is None:
        sound = find_photos(config.normals).photos
        defective = find_photos(config.defects).photos if config.defects else []
    else:
        log.info("%s holds sound photos in %s", root, ", ".join(folder.name for folder in layout.sound))
        sound = [photo for folder in layout.sound for photo in find_photos(str(folder)).photos]
        folders = [config.defects] if config.defects else [str(path) for path in (*layout.defective, *layout.kinds)]
        masks = [layout.masks] if layout.masks else []
        defective = [photo for folder in folders for photo in find_photos(folder, masks).photos]
        defective = [photo for photo in defective if not photo.path.stem.endswith("_mask")]
    hashes = hash_files(photo.path for photo in (*sound, *defective))
    known = {hashes[photo.path]: photo for photo in defective}
    for photo in sound:
        if twin := known.get(hashes[photo.path]):
            raise UserError(f"One photo is sound and defective: {photo.path} and {twin.path}. Remove one of them.")
    unique = {hashes[photo.path]: photo for photo in reversed(sound)}
    if len(unique) < len(sound):
        log.warning("%d copies of sound photos count once.", len(sound) - len(unique))
    return [photo for photo in sound if unique[hashes[photo.path]] is photo], defective


def read_judged(config: CalibrateConfig) -> Truth:
    """What the judgements tell; nothing without any.

    Raises:
        UserError: If neither photos nor judgements are given, or the log cannot be read.
    """
    if not config.judgements:
        if not config.normals:
            raise UserError("Nothing to calibrate on. Give normals=DIR of sound photos, judgements=DIR, or both.")
        return Truth([], [])
    truth = read_truth(Path(config.judgements))
    if config.expert:
        truth = truth.of_product(config.product(sorted(read_expert(Path(config.expert_dir))["fitted"])))
    for photo, why in truth.skipped:
        log.info("left out: %s (%s)", photo, why)
    return truth


def _with_expert(config: CalibrateConfig) -> CalibrateConfig:
    """With the name of the expert that its folder holds, where only the folder is given."""
    if config.expert_dir and not config.expert:
        return replace(config, expert=str(read_expert(Path(config.expert_dir))["expert"]))
    return config


def _leave_out_fitted(sound: list[Photo], config: CalibrateConfig, left_out: dict[str, int]) -> list[Photo]:
    """Without photos that the expert was fitted on: it scores them lower than fresh ones."""
    fitted = read_fitted(Path(config.expert_dir)) if config.expert else set()
    if not fitted:
        return sound
    hashes = hash_files(photo.path for photo in sound)
    fresh = [photo for photo in sound if hashes[photo.path] not in fitted]
    if not fresh:
        raise UserError(
            f"All {len(sound)} sound photos in {config.normals or config.judgements} are among those that the expert "
            "was fitted on. Give others; scripts.fit_expert images=FOLDER has calibrated on those by itself."
        )
    if len(fresh) < len(sound):
        left_out["sound photos that the expert was fitted on"] = len(sound) - len(fresh)
    return fresh


def count_trained(sound: list[Photo], config: CalibrateConfig) -> int:
    """How many sound photos lie in the datasets that a run was trained on; 0 where that is not known."""
    if not config.run:
        return 0
    path = find_mdlm_folder(config)[0] / "config.json"
    sources = (read_json(path).get("data") or {}).get("train") if path.is_file() else None
    try:
        trained = load_samples([Dataset(**source) for source in sources or []]).samples
    except UserError as error:
        log.warning("Whether the run was trained on these photos cannot be told: %s", error)
        return 0
    hashes = hash_files([*(sample.image for sample in trained), *(photo.path for photo in sound)])
    known = {hashes[sample.image] for sample in trained}
    return sum(hashes[photo.path] in known for photo in sound)


def _score(source: Source, photos: list[Photo], config: CalibrateConfig, left_out: dict[str, int]) -> Scores:
    """Looks at photos, while threads decode the next ones; those that cannot be read are named and left out."""
    scores, broken = Scores(), []

    def see(photo: Photo) -> Picture | str:
        try:
            image = load_image(photo.path)
        except UserError as error:
            return str(error)
        return Picture(photo.name, photo.path, image, source.ready(image))

    def readable() -> Iterator[Picture]:
        seen = map_threads(see, photos, workers=config.workers)
        for one in tqdm(seen, "photos", len(photos), unit="photo"):
            if isinstance(one, str):
                broken.append(one)
            else:
                yield one

    pictures = readable()
    while batch := list(islice(pictures, config.batch_size)):
        for look in source.look(batch):
            scores.add(float(look.score), float(look.anomaly_map.max()))
    if broken:
        log.warning("%d photos cannot be read: %s", len(broken), " ".join(broken[:NAMED]))
        left_out["photos that cannot be read"] = left_out.get("photos that cannot be read", 0) + len(broken)
    return scores
