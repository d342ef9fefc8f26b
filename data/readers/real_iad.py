"""Real-IAD: 30 objects from five views each (Wang et al., 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.faults import report, reporting
from data.files import read_json
from data.masks import MaskFile
from data.readers.annotations import check_inside, find_inside, take
from data.readers.defect_names import readable
from data.readers.listing import Listed, Skipped, list_files, list_folders, list_names
from data.readers.pairing import report_orphan
from data.sample import Sample

RESOLUTIONS = ("256", "512", "1024", "raw")
SPLITS = ("train", "test")
NO_MASK = "NG view without a mask: no defect is visible in it"


def read_real_iad(root: Path, *, resolution: str | int = "", annotations: str = "realiad_jsons") -> Listed:
    """Lists Real-IAD from its JSON files: `realiad_<resolution>/<category>/{OK,NG/<code>}/S0001/<name>.jpg`.

    Normal are the images of `OK/`. A view in `NG/` without a visible defect has no mask: it is no anomalous sample,
    and is left out and listed (that is DDQA's rule). So is, once, a category that has a JSON file but no images.

    The group, `real_iad/<category>/<OK or NG>/S0001`, is the physical object: its views share the folder `S0001`. An
    object number that occurs below several codes counts as one object.

    Args:
        root: Folder that holds `realiad_<resolution>` and the folder of JSON files.
        resolution: `256`, `512`, `1024` or `raw`; may stay empty when only one is there.
        annotations: Folder of the JSON files. It may lie in the root, in a folder of the same name, or in
            `realiad_jsons`.

    Raises:
        UserError: If the resolution or the JSON files cannot be told, a JSON file is malformed or names an unknown
            code, a missing file or a path outside its category, or a mask belongs to no image.
    """
    images, listed = _find_images(root, str(resolution)), Listed([], [])
    files = {path.stem: path for path in _find_jsons(root, annotations)}
    folders = {folder.name for folder in list_folders(images)}
    for name in sorted(folders - files.keys()):
        message = f"Images without annotations: no {name}.json for {images / name}. Add the file."
        report("bad-annotation", images / name, message)
    for category, path in files.items():
        if category in folders:
            with reporting("unreadable-annotation", path):
                _read_category(root, images / category, path, listed)
        else:
            skipped = Skipped(f"real_iad/{images.name}/{category}", "the category has no images", category, "")
            listed.skipped.append(skipped)
    return listed


def _find_images(root: Path, resolution: str) -> Path:
    if resolution and resolution not in RESOLUTIONS:
        raise UserError(f"Unknown resolution '{resolution}' of Real-IAD. Choose {', '.join(RESOLUTIONS)}.")
    names = [f"realiad_{name}" for name in ([resolution] if resolution else RESOLUTIONS)]
    found = [root / name for name in names if (root / name).is_dir()]
    if not found:
        raise UserError(f"No images of Real-IAD in {root}. Expected {' or '.join(names)} there.")
    if len(found) > 1:
        raise UserError(
            f"Several resolutions of Real-IAD in {root}: {', '.join(folder.name for folder in found)}. "
            "Name one with the reader's option resolution, for example 1024."
        )
    return found[0]


def _find_jsons(root: Path, name: str) -> list[Path]:
    check_inside(name, root)
    folders = dict.fromkeys([root / name, root / name / name, root / "realiad_jsons" / name])
    found = {folder: jsons for folder in folders if (jsons := list_files(folder, ".json"))}
    if not found:
        raise UserError(f"No JSON files of Real-IAD. Expected them in {' or '.join(map(str, folders))}.")
    if len(found) > 1:
        raise UserError(f"JSON files of Real-IAD in two places: {' and '.join(map(str, found))}. Remove one of them.")
    return next(iter(found.values()))


def _read_category(root: Path, folder: Path, path: Path, listed: Listed) -> None:
    content = read_json(path)
    normal = take(take(content, "meta", dict, path), "normal_class", str, path)
    names = cache(lambda code: readable("real_iad", code, source=path))
    prefix = f"real_iad/{folder.relative_to(root).as_posix()}"
    files = _Files(folder, path)
    for split, record in _records(content, path):
        with reporting("bad-annotation", path):
            image = take(record, "image_path", str, path)
            code, mask = take(record, "anomaly_class", str, path), record.get("mask_path")
            defect = None if code == normal else names(code)
            if defect and mask is None:
                files.find(image)
                listed.skipped.append(Skipped(f"{prefix}/{image}", NO_MASK, folder.name, split))
                continue
            if defect is None and mask is not None:
                raise UserError(f"Mask of a normal image in {path}: {image} has {mask}. Download the file again.")
            sample = Sample(
                id=f"{prefix}/{image}",
                dataset="real_iad",
                category=folder.name,
                split=split,
                image=files.find(image),
                defect=defect,
                mask=MaskFile(files.find(take(record, "mask_path", str, path))) if defect else None,
                group=_group(folder.name, image, path),
            )
            listed.samples.append(sample)
    files.check_masks()


def _records(content: Any, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for split in SPLITS:
        for record in take(content, split, list, path):
            yield split, record


def _group(category: str, image: str, path: Path) -> str:
    parts = image.split("/")  # OK/S0001/<name> or NG/<code>/S0001/<name>
    if len(parts) < 3:
        raise UserError(
            f"Unexpected path in {path}: '{image}' has no folder of its object, like S0001. Download again."
        )
    return f"real_iad/{category}/{parts[0]}/{parts[-2]}"


class _Files:
    """The files of one category, from one scan of each folder: far cheaper than a stat of each file."""

    def __init__(self, category: Path, source: Path) -> None:
        self._category, self._source = category, source
        self._found: dict[str, tuple[Path, set[str]]] = {}  # by folder, relative to the category

    def find(self, relative: str) -> Path:
        """The path of a file that the annotations name; fails when it is not there."""
        below, _, name = relative.rpartition("/")
        if below not in self._found:
            check_inside(relative, self._source)
            self._found[below] = (self._category / below, set(list_names(self._category / below)))
        _, names = self._found[below]
        if name in names:
            return find_inside(self._category, relative, self._source)
        raise UserError(
            f"Missing file: {self._category / relative}, named in {self._source}. Download the category again."
        )

    def check_masks(self) -> None:
        """Reports the masks beside no image."""
        for folder, names in self._found.values():
            stems = {name.rpartition(".")[0] for name in names if not name.endswith(".png")}
            for name in sorted(names):
                if name.endswith(".png") and name.removesuffix(".png") not in stems:
                    report_orphan(folder / name)
