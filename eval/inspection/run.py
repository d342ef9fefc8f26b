"""An inspection from beginning to end: which photos, what is there already, look, decide, write."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.content import hash_files
from data.errors import UserError
from data.files import write_json
from data.parallel import map_threads
from data.processes.lock import held
from data.ranks import Ranks, join_ranks
from eval.calibration.drift import drift_warning
from eval.inspection.annotations import write_coco, write_labelme
from eval.inspection.config import InspectConfig, Pictures
from eval.inspection.decision import Verdict
from eval.inspection.inspector import Inspected, Inspector, load_inspector, unreadable
from eval.inspection.page import write_page
from eval.inspection.photos import Photo, Photos, find_photos
from eval.inspection.results import Results, name_files, write_table
from eval.inspection.rows import Row

log = logging.getLogger(__name__)
SHOWN = 3  # unreadable photos that the summary names


@dataclass(frozen=True, slots=True)
class Inspection:
    """What came of it.

    Attributes:
        rows: One a photo, in order.
        summary: As `summary.json` holds it.
        out: Folder of the results.
    """

    rows: list[Row]
    summary: dict[str, Any]
    out: Path

    @property
    def unreadable(self) -> int:
        """Number of photos that could not be read."""
        return int(self.summary["verdicts"]["unreadable"])


def run_inspection(config: InspectConfig, load: Callable[[InspectConfig], Inspector] = load_inspector) -> Inspection:
    """Inspects photos and writes what `eval.inspection.results` lists.

    Args:
        config: What, by whom, and what is written.
        load: Loads what looks and decides; called once.

    Raises:
        UserError: If there is nothing to look at, none of it can be read, or what shall look cannot be loaded.
    """
    started = time.perf_counter()
    config.check()
    ranks, out = join_ranks(), Path(config.out)
    photos = ranks.once(lambda: find_photos(config.images, [out]))
    hashes = ranks.once(lambda: hash_photos(photos.photos))
    with held(out, by=ranks.once):
        inspector = load(config)
        keys = {photo.name: inspector.key(hashes[photo.name]) for photo in photos.photos if photo.name in hashes}
        results = Results(out, ranks.rank)
        known = ranks.once(lambda: _resume(results, keys, photos.photos, config))
        waiting = [photo for photo in photos.photos if photo.name not in known]
        if known and ranks.is_main:
            log.info("%d of %d photos are there from an earlier run.", len(known), len(photos.photos))
        mine = ranks.share(waiting)
        with results.log:
            for row in _inspect(inspector, mine, hashes, results, photos.photos, ranks):
                results.add(row)
        ranks.wait()
        rows = ranks.once(lambda: _collect(results, photos, inspector))
        summary = summarise(rows, photos, inspector, new=len(waiting))
        if ranks.is_main:
            _write(config, out, rows, summary)
        ranks.wait()
    if all(row.verdict is Verdict.unreadable for row in rows):
        others = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
        raise UserError(f"No photo can be read{others}: {rows[0].error}")
    summary["seconds"] = time.perf_counter() - started
    return Inspection(rows, summary, out)


def hash_photos(photos: Sequence[Photo]) -> dict[str, str]:
    """Name → hash of the file; those that cannot be read are left out."""
    try:
        hashes = hash_files(photo.path for photo in photos)
    except UserError:
        hashes = {}
        for photo in photos:
            try:
                hashes |= hash_files([photo.path])
            except UserError:
                continue  # decoding says what is wrong
    return {photo.name: hashes[photo.path] for photo in photos if photo.path in hashes}


def _resume(results: Results, keys: dict[str, str], photos: Sequence[Photo], config: InspectConfig) -> dict[str, Row]:
    """The rows of an earlier run that hold, with all the pictures that are wanted now."""
    if not config.resume:
        return {}
    pictures = wanted_pictures(config, photos)
    return {name: row for name, row in results.resume(keys).items() if row.mask or not has_pictures(row, pictures)}


def wanted_pictures(config: InspectConfig, photos: Sequence[Photo]) -> Pictures:
    """Of which photos masks and overlays are written: of a single one always."""
    return Pictures.all if len(photos) == 1 else config.pictures


def has_pictures(row: Row, pictures: Pictures) -> bool:
    """Whether a mask and an overlay belong to a row."""
    return pictures is Pictures.all or (pictures is Pictures.flagged and row.verdict is not Verdict.ok)


def _inspect(
    inspector: Inspector,
    photos: Sequence[Photo],
    hashes: dict[str, str],
    results: Results,
    listed: Sequence[Photo],
    ranks: Ranks,
) -> Iterator[Row]:
    """Rows with their files written, while threads draw and write those that were decided before."""
    if not photos:
        return
    stems, pictures = name_files(listed), wanted_pictures(inspector.config, listed)

    def finish(inspected: Inspected) -> Row:
        return write_pictures(inspected, inspector, results, stems[inspected.row.name], pictures)

    found = map_threads(finish, inspector.inspect(photos, hashes), workers=inspector.config.workers)
    yield from tqdm(found, "photos", len(photos), unit="photo", disable=not ranks.is_main)


def write_pictures(inspected: Inspected, inspector: Inspector, results: Results, stem: str, pictures: Pictures) -> Row:
    """Writes mask, overlay and thumbnail of a photo; returns its row with their names."""
    row = inspected.row
    if inspected.image is None or inspected.mask is None:
        return row
    wanted = has_pictures(row, pictures)
    overlay = inspector.draw(inspected) if wanted or row.verdict is not Verdict.ok else inspected.image
    row = replace(row, thumbnail=results.write_thumbnail(stem, overlay))
    if wanted:
        row = replace(row, mask=results.write_mask(stem, inspected.mask), overlay=results.write_overlay(stem, overlay))
    return row


def _collect(results: Results, photos: Photos, inspector: Inspector) -> list[Row]:
    """The rows of all photos that are listed now, and of what is there but broken, in the order of their names."""
    latest = {row.name: row for row in results.merge()}
    rows = [replace(latest[photo.name], image=str(photo.path)) for photo in photos.photos]
    rows += [unreadable(Photo(name, Path(name)), message, inspector.limits.score) for name, message in photos.broken]
    return sorted(rows, key=lambda row: row.name)


def summarise(rows: Sequence[Row], photos: Photos, inspector: Inspector, *, new: int) -> dict[str, Any]:
    """How many of what, by which threshold, and what casts doubt on it."""
    counts = Counter(row.verdict.value for row in rows)
    return {
        "photos": len(rows),
        "new": new,
        "verdicts": {verdict.value: counts.get(verdict.value, 0) for verdict in Verdict},
        "source": inspector.source.name,
        "category": inspector.source.category,
        "model": inspector.source.key,
        "threshold": inspector.limits.score,
        "threshold_stands_for": describe_threshold(inspector),
        "skipped": photos.skipped,
        "unreadable": {row.image: row.error for row in rows if row.verdict is Verdict.unreadable},
        "warnings": find_warnings(rows, inspector),
    }


def describe_threshold(inspector: Inspector) -> str:
    """Where the threshold comes from, and which rate it stands for, in a sentence."""
    at = f"Threshold {inspector.limits.score:.5g}"
    if inspector.config.threshold is not None:
        return f"{at}: given on the command line; which rate of false alarms it stands for is not known."
    if inspector.calibration is not None:
        return inspector.calibration.describe()
    own = "the middle of a probability" if inspector.source.bounded else "the gate that was set when it was fitted"
    return f"{at}: {own}; calibrate it to a rate of false alarms: python -m scripts.calibrate."


def find_warnings(rows: Sequence[Row], inspector: Inspector) -> list[str]:
    """What casts doubt on the rows as a whole."""
    scores = [row.score for row in rows if row.score is not None]
    found = []
    if inspector.calibration is not None and (drifted := drift_warning(inspector.calibration, scores)):
        found.append(drifted)
    given = inspector.config.threshold
    if given is not None and len(scores) > 1 and not min(scores) <= given <= max(scores):
        side = "above every score" if given > max(scores) else "below every score"
        found.append(f"threshold={given:g} is {side} of these photos ({min(scores):.3g} … {max(scores):.3g}).")
    if count := sum(bool(row.warnings) for row in rows):
        found.append(f"{count} of {len(rows)} photos look like none of the products that the model was trained on.")
    return found


def _write(config: InspectConfig, out: Path, rows: Sequence[Row], summary: dict[str, Any]) -> None:
    write_table(out / "results.csv", rows)
    write_json(out / "summary.json", {**summary, "config": asdict(config)})
    write_page(out, rows, summary)
    if config.coco:
        write_coco(out, rows)
    if config.labelme:
        write_labelme(out, rows)


def describe(inspection: Inspection) -> str:
    """A summary in a few lines, for a terminal."""
    told = inspection.summary
    counts = ", ".join(f"{count} {verdict}" for verdict, count in told["verdicts"].items() if count)
    lines = [f"{told['photos']} photos: {counts}", told["threshold_stands_for"]]
    lines += [f"passed over: {count} {why}" for why, count in told["skipped"].items()]
    broken = list(told["unreadable"].items())
    lines += [f"unreadable: {name}: {error}" for name, error in broken[:SHOWN]]
    lines += [f"unreadable: {len(broken) - SHOWN} more, see results.csv"] if len(broken) > SHOWN else []
    lines += [f"warning: {warning}" for warning in told["warnings"]]
    lines.append(f"{inspection.out / 'report.html'}, {inspection.out / 'results.csv'}")
    return "\n".join(lines)


def as_json(inspection: Inspection) -> dict[str, Any]:
    """The one row of a single photo, as the line on stdout holds it: its files with their whole paths."""
    (row,) = inspection.rows
    values = asdict(row)
    for name in ("mask", "overlay", "thumbnail"):
        values[name] = str(inspection.out / values[name]) if values[name] else ""
    del values["key"], values["name"]
    return values
