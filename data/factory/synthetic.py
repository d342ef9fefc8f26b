"""The generated factory: procedural products on disk in the MVTec AD layout, for a demonstration and for tests.

`RUN/data/seen` and `RUN/data/unseen` hold disjoint categories; the reader `mvtec_ad` reads both. Beside the categories
of a root, its `factory.json` lists every anomalous image with its regions and decoys; `RUN/data/factory.json` says from
which config and code everything was drawn, so that a second run of the same config does nothing.

Each image has a random generator of its own, seeded by (seed, root, category, folder, number): the bytes on disk do not
depend on the number of workers or on the other images.
"""

from __future__ import annotations

import logging
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from omegaconf import MISSING
from tqdm import tqdm

from data.errors import UserError, writing
from data.factory.catalog import PRODUCTS, Group, categories_of
from data.factory.piece import Piece, make_anomalous, make_normal
from data.files import hash_file, hash_value, make_dir, read_json, write_json
from data.parallel import worker_pool
from data.processes.lock import held
from data.run import Run

log = logging.getLogger(__name__)
CODE = sorted(Path(__file__).resolve().parent.glob("*.py"))


@dataclass(kw_only=True, slots=True)
class RootConfig:
    """How much of which categories one dataset root holds.

    Attributes:
        categories: Keys of `PRODUCTS`; empty takes the catalogue's own group.
        train_normals: Images in `train/good` of each category.
        test_normals: Images in `test/good` of each category.
        anomalous: Anomalous test images of each category, spread evenly over its defect types.
    """

    categories: list[str]
    train_normals: int
    test_normals: int
    anomalous: int


@dataclass(kw_only=True, slots=True)
class SyntheticConfig:
    """Everything that decides what the factory makes.

    Attributes:
        run_dir: The run directory to write `data/` in.
        seed: Seed of the whole factory.
        size: Height and width of the images, pixels.
        workers: Processes that draw; 1 draws in this one. Changes no byte of the result.
        several_share: Share of the anomalous images with two or three defects.
        decoy_share: Share of the anomalous images with a harmless look-alike.
        seen: The training root.
        unseen: The zero-shot root.
    """

    run_dir: str = MISSING
    seed: int = 0
    size: int = 256
    workers: int = 2
    several_share: float = 0.12
    decoy_share: float = 0.12
    seen: RootConfig = MISSING
    unseen: RootConfig = MISSING


@dataclass(frozen=True, slots=True)
class _Job:
    """One image to draw."""

    root: Path
    category: str
    split: str
    defect: str | None
    number: int
    size: int
    extras: int
    decoy: bool
    seed: tuple[int, ...]


def make_factory(config: SyntheticConfig) -> None:
    """Draws both roots into `RUN/data`, unless they are there already.

    Raises:
        UserError: If a category is unknown or in both roots, a number is out of range, the run directory cannot be
            written, another process draws there, or it holds data that this command did not make.
    """
    folder = Run(Path(config.run_dir)).data
    roots = {"seen": _root_config(config.seen, Group.SEEN), "unseen": _root_config(config.unseen, Group.UNSEEN)}
    _check(config, roots)
    with held(folder):
        _make(config, folder, roots)


def _make(config: SyntheticConfig, folder: Path, roots: dict[str, RootConfig]) -> None:
    fingerprint = _fingerprint(config, roots)
    jobs = [job for name, root in roots.items() for job in _jobs(config, name, root)]
    if _is_complete(folder, fingerprint, jobs):
        log.info(f"factory: {len(jobs)} images in {folder} are up to date")
        return
    _clear(folder, roots)
    make_dir(folder)
    write_json(folder / "factory.json", {"fingerprint": fingerprint, "complete": False})
    records = list(tqdm(_draw_all(jobs, config.workers), total=len(jobs), desc="factory", unit="image", mininterval=1))
    for name in roots:
        rows = [row for job, row in zip(jobs, records, strict=True) if job.root == folder / name and row is not None]
        write_json(folder / name / "factory.json", rows)
    summary = {"fingerprint": fingerprint, "complete": True, "images": len(jobs), "config": _settings(config, roots)}
    write_json(folder / "factory.json", summary)
    log.info(
        f"factory: wrote {len(jobs)} images of {sum(len(r.categories) for r in roots.values())} products to {folder}"
    )


def _root_config(root: RootConfig, group: Group) -> RootConfig:
    return RootConfig(**{**asdict(root), "categories": list(root.categories) or categories_of(group)})


def _check(config: SyntheticConfig, roots: dict[str, RootConfig]) -> None:
    for name, root in roots.items():
        if unknown := set(root.categories) - set(PRODUCTS):
            raise UserError(f"Unknown categories {sorted(unknown)} in {name}.categories. Known: {', '.join(PRODUCTS)}.")
        if min(root.train_normals, root.test_normals, root.anomalous) < 0:
            raise UserError(f"A negative number of images in {name}: {root}. Use 0 or more.")
    if both := set(roots["seen"].categories) & set(roots["unseen"].categories):
        raise UserError(f"Categories {sorted(both)} are in both seen and unseen: zero-shot needs disjoint categories.")
    if not 0 <= config.several_share <= 1 - config.decoy_share <= 1:
        raise UserError(
            f"several_share={config.several_share} and decoy_share={config.decoy_share}: use shares in 0..1."
        )
    if config.size < 64 or config.workers < 1:
        raise UserError(f"size={config.size}, workers={config.workers}: size is at least 64, workers at least 1.")


def _settings(config: SyntheticConfig, roots: dict[str, RootConfig]) -> dict[str, Any]:
    """What decides the bytes: neither where they go nor how many processes draw them."""
    settings = {key: value for key, value in asdict(config).items() if key not in ("run_dir", "workers")}
    return {**settings, **{name: asdict(root) for name, root in roots.items()}}


def _fingerprint(config: SyntheticConfig, roots: dict[str, RootConfig]) -> str:
    return hash_value([_settings(config, roots), [hash_file(path) for path in CODE]])


def _is_complete(folder: Path, fingerprint: str, jobs: list[_Job]) -> bool:
    stamp = folder / "factory.json"
    if not stamp.is_file():
        return False
    found = read_json(stamp)
    return (
        found.get("complete") is True
        and found.get("fingerprint") == fingerprint
        and all(path.is_file() for job in jobs for path in _paths(job))
    )


def _clear(folder: Path, roots: Iterable[str]) -> None:
    """Removes what an earlier, different run of this command left; never somebody else's files."""
    present = [folder / name for name in roots if (folder / name).exists()]
    if present and not (folder / "factory.json").is_file():
        raise UserError(f"{present[0]} exists, but was not made by this command. Choose another run_dir=.")
    for path in present:
        shutil.rmtree(path)


def _jobs(config: SyntheticConfig, name: str, root: RootConfig) -> Iterator[_Job]:
    folder = Run(Path(config.run_dir)).data / name
    for category in root.categories:
        defects = PRODUCTS[category].defects
        plan: list[tuple[str, str | None, int]] = [("train", None, k) for k in range(root.train_normals)]
        plan += [("test", None, k) for k in range(root.test_normals)]
        plan += [("test", defects[k % len(defects)], k // len(defects)) for k in range(root.anomalous)]
        for split, defect, number in plan:
            seed = (config.seed, *(zlib.crc32(word.encode()) for word in (name, category, split, defect or "")), number)
            draw = np.random.default_rng([*seed, 1])
            chance = draw.random()
            decoy = defect is not None and chance < config.decoy_share
            several = defect is not None and not decoy and chance < config.decoy_share + config.several_share
            extras = int(draw.integers(1, 3)) if several else 0
            yield _Job(folder, category, split, defect, number, config.size, extras, decoy, seed)


def _draw_all(jobs: list[_Job], workers: int) -> Iterator[dict[str, Any] | None]:
    """Draws and writes every job, in order."""
    if workers == 1:
        yield from map(_draw, jobs)
        return
    with worker_pool(workers, "spawn") as pool:
        yield from pool.map(_draw, jobs, chunksize=16)


def _draw(job: _Job) -> dict[str, Any] | None:
    """Draws and writes one image and its mask; returns its row of `factory.json`, None when it is normal."""
    rng, product = np.random.default_rng(job.seed), PRODUCTS[job.category]
    image_path, *mask_path = _paths(job)
    if job.defect is None:
        _write_png(image_path, cv2.cvtColor(make_normal(rng, product, job.size).image, cv2.COLOR_RGB2BGR))
        return None
    piece = make_anomalous(rng, product, job.defect, job.size, extras=job.extras, decoy=job.decoy)
    _write_png(image_path, cv2.cvtColor(piece.image, cv2.COLOR_RGB2BGR))
    _write_png(mask_path[0], piece.mask.astype(np.uint8) * 255)
    return _record(job, image_path, piece)


def _record(job: _Job, path: Path, piece: Piece) -> dict[str, Any]:
    regions = [{"defect": mark.defect, "box": list(mark.box), "cell": mark.region} for mark in piece.marks]
    return {
        "image": path.relative_to(job.root).as_posix(),
        "category": job.category,
        "defect": job.defect,
        "regions": regions,
        "decoys": [list(box) for box in piece.decoys],
    }


def _paths(job: _Job) -> list[Path]:
    """The image, and the mask when it is anomalous. Folder names use `_` for spaces, as MVTec AD does."""
    category, folder = job.root / job.category, (job.defect or "good").replace(" ", "_")
    image = category / job.split / folder / f"{job.number:03d}.png"
    return [image] if job.defect is None else [image, category / "ground_truth" / folder / f"{job.number:03d}_mask.png"]


def _write_png(path: Path, pixels: np.ndarray) -> None:
    make_dir(path.parent)
    fast = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB]
    _, encoded = cv2.imencode(".png", pixels, fast)
    with writing(path):
        path.write_bytes(encoded.tobytes())
