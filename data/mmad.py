"""MMAD: multiple-choice questions about four inspection datasets, read from `mmad.json`.

Entries that cannot be asked or scored are skipped by the rules of `_check`, each with its reason; nothing is repaired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from data.errors import UserError
from data.files import in_any_case, read_json
from data.readers.annotations import check_inside, find_inside
from data.readers.downloads import how_to_get

LETTERS = "ABCDE"
NORMAL_FLAG = "good"  # case-sensitive: the name GoodsAD is no flag
DATASETS = {  # prefix of an image → dataset in the tables
    "DS-MVTec": "DS-MVTec",
    "MVTec-AD": "DS-MVTec",
    "MVTec-LOCO": "MVTec-LOCO",
    "VisA": "VisA",
    "GoodsAD": "GoodsAD",
}
ANOMALY_DETECTION = "Anomaly Detection"
TYPES = {  # type in the file → column of the table
    ANOMALY_DETECTION: "anomaly_discrimination",
    "Defect Classification": "defect_classification",
    "Defect Localization": "defect_localization",
    "Defect Description": "defect_description",
    "Defect Analysis": "defect_analysis",
    "Object Classification": "object_classification",
    "Object Analysis": "object_analysis",
    "Object Structure": "object_analysis",
    "Object Details": "object_analysis",
}
COLUMNS = tuple(dict.fromkeys(TYPES.values()))
OUTSIDE = "path outside the root"
KNOWLEDGE = {"DS-MVTec": "MVTec", "MVTec-LOCO": "MVTec-LOCO", "VisA": "VisA", "GoodsAD": "GoodsAD"}


class ImageLayout(StrEnum):
    """Where the images are: `mmad`, under the keys of `mmad.json`; `raw`, EIAD's remapping to raw MVTec AD and VisA."""

    mmad = "mmad"
    raw = "raw"


class TemplateKind(StrEnum):
    """Which of an image's template lists k-shot takes from."""

    random = "random"
    similar = "similar"


@dataclass(kw_only=True, slots=True)
class MMADConfig:
    """Where MMAD is.

    Attributes:
        data_root: Folder with `mmad.json` (and `domain_knowledge.json`).
        layout: Where the images are.
        mvtec_root: Raw MVTec AD, for `layout=raw`.
        visa_root: Raw VisA, for `layout=raw`.
    """

    data_root: str
    layout: ImageLayout = ImageLayout.mmad
    mvtec_root: str = ""
    visa_root: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question.

    Attributes:
        text: The question alone.
        options: Option texts in the order of their letters, A first; 2 to 5.
        answer: Letter of the true option.
        type: Type as the file gives it.
    """

    text: str
    options: tuple[str, ...]
    answer: str
    type: str

    @property
    def column(self) -> str:
        """Column of the table that the question counts in."""
        return TYPES[self.type]


@dataclass(frozen=True, slots=True, kw_only=True)
class MMADImage:
    """One image with its questions.

    Attributes:
        key: Its key in `mmad.json`.
        dataset: Dataset in the tables: `MVTec-AD` is pooled with `DS-MVTec`.
        category: Object type.
        path: The file.
        questions: Its valid questions.
        templates: Files of normal images to compare with, by kind.
    """

    key: str
    dataset: str
    category: str
    path: Path
    questions: tuple[Question, ...]
    templates: Mapping[TemplateKind, tuple[Path, ...]]

    @property
    def is_normal(self) -> bool:
        """Whether the image shows no defect, by MMAD's rule."""
        return NORMAL_FLAG in self.key


@dataclass(frozen=True, slots=True)
class Skipped:
    """A question (or a whole image: `question` is empty) that is left out, and why."""

    image: str
    question: str
    reason: str


@dataclass(frozen=True, slots=True)
class MMAD:
    """The benchmark as far as it can be used."""

    images: tuple[MMADImage, ...]
    skipped: tuple[Skipped, ...]

    @property
    def count(self) -> int:
        """Number of questions."""
        return sum(len(image.questions) for image in self.images)


def read_mmad(config: MMADConfig, *, check_images: bool) -> MMAD:
    """Reads `mmad.json`, in the order of the file.

    Args:
        config: Where it is.
        check_images: Leave out images whose file is missing; a log can be scored without the images.

    Raises:
        UserError: If the file is missing, is no JSON object, or holds no valid question; or `layout=raw` lacks a root.
    """
    root = in_any_case(Path(config.data_root))
    if not root.is_dir():
        raise UserError(f"No folder of MMAD at {root}. {how_to_get('mmad', root)}; or give data_root=DIR.")
    config, path = replace(config, data_root=str(root)), root / "mmad.json"
    entries = read_json(path)
    if not isinstance(entries, dict):
        raise UserError(f"Not MMAD: {path} holds a {type(entries).__name__}, not an object. Download it again.")
    if config.layout is ImageLayout.raw and not (config.mvtec_root and config.visa_root):
        raise UserError("layout=raw needs mvtec_root= and visa_root=, the raw MVTec AD and VisA.")
    images, skipped = [], []
    for key, entry in entries.items():
        read = _read_image(key, entry, config, path, check_images)
        if isinstance(read, Skipped):
            skipped.append(read)
            continue
        image, dropped = read
        skipped += dropped
        if image.questions:
            images.append(image)
    if not images:
        reasons = Counter(one.reason for one in skipped).most_common(3)
        raise UserError(f"No usable question in {path}; left out: {dict(reasons) or 'nothing'}. Check data_root=.")
    return MMAD(tuple(images), tuple(skipped))


def count_reasons(skipped: Sequence[Skipped]) -> dict[str, int]:
    """How often each reason occurs, most frequent first."""
    return dict(Counter(one.reason for one in skipped).most_common())


def read_knowledge(root: Path) -> dict[tuple[str, str], str]:
    """Reads `domain_knowledge.json`: (dataset, category) → its texts, a line each.

    Raises:
        UserError: If the file is missing or has another shape.
    """
    path = root / "domain_knowledge.json"
    tables = read_json(path)
    known = {}
    try:
        for dataset, name in KNOWLEDGE.items():
            for category, texts in tables.get(name, {}).items():
                known[dataset, category] = "\n".join(str(text) for text in texts.values())
    except AttributeError as error:
        raise UserError(f"Not {{dataset: {{category: {{defect: text}}}}}}: {path}. Download it again.") from error
    return known


def locate(key: str, config: MMADConfig, table: Path) -> Path:
    """The file behind a path of `mmad.json`.

    Raises:
        UserError: If the path climbs out of the root, or a link leads out of it.
    """
    root, parts = config.data_root, PurePosixPath(check_inside(key, table)).parts
    if config.layout is ImageLayout.raw and DATASETS.get(parts[0]) == "DS-MVTec":
        _, category, *middle, name = parts
        root, parts = config.mvtec_root, (category, *("test" if part == "image" else part for part in middle), name)
    elif config.layout is ImageLayout.raw and parts[0] == "VisA":
        _, category, *middle, name = parts
        folder = "Normal" if NORMAL_FLAG in middle else "Anomaly"
        root, parts = config.visa_root, (category, "Data", "Images", folder, name)
    return find_inside(Path(root), "/".join(parts), table)


def _read_image(
    key: str, entry: Any, config: MMADConfig, table: Path, check_images: bool
) -> Skipped | tuple[MMADImage, list[Skipped]]:
    try:
        if isinstance(entry, dict) and "image_path" in entry:
            check_inside(str(entry["image_path"]), table)
        check_inside(key, table)
    except UserError:
        return Skipped(key, "", OUTSIDE)
    parts = PurePosixPath(key).parts
    if not isinstance(entry, dict) or not isinstance(entry.get("conversation"), list):
        return Skipped(key, "", "no conversation")
    if parts[0] not in DATASETS or len(parts) < 3:
        return Skipped(key, "", "unknown dataset")
    try:
        path = locate(key, config, table)
    except UserError:
        return Skipped(key, "", OUTSIDE)
    if check_images and not path.is_file():
        return Skipped(key, "", "missing image")
    questions: dict[str, Question] = {}
    dropped = []
    for number, row in enumerate(entry["conversation"], 1):
        found = _check(row)
        name = str(row.get("Question") or f"#{number}") if isinstance(row, dict) else f"#{number}"
        if isinstance(found, Question) and found.text in questions:
            found = "duplicate question"
        if isinstance(found, str):
            dropped.append(Skipped(key, name, found))
        else:
            questions[found.text] = found
    image = MMADImage(
        key=key,
        dataset=DATASETS[parts[0]],
        category=parts[1],
        path=path,
        questions=tuple(questions.values()),
        templates={kind: tuple(_templates(entry, kind, config, table)) for kind in TemplateKind},
    )
    return image, dropped


def _check(row: Any) -> Question | str:
    """The question of a row, or why it cannot be used."""
    if not isinstance(row, dict) or not isinstance(row.get("Question"), str) or not row["Question"].strip():
        return "no question"
    options = row.get("Options")
    if not isinstance(options, dict) or not all(isinstance(text, str) for text in options.values()):
        return "no options"
    letters = sorted(options)
    if len(letters) < 2:
        return "one option" if letters else "no options"
    if letters != list(LETTERS[: len(letters)]):
        return "option letters are not A, B, …"
    if row.get("Answer") not in letters:
        return "answer outside the options"
    if row.get("type") not in list(TYPES):  # it may be no string
        return "unknown type"
    return Question(
        text=row["Question"],
        options=tuple(options[letter] for letter in letters),
        answer=row["Answer"],
        type=row["type"],
    )


def _templates(entry: Mapping[str, Any], kind: TemplateKind, config: MMADConfig, table: Path) -> Iterator[Path]:
    """Template files; one whose path climbs out counts as missing."""
    for key in entry.get(f"{kind.value}_templates") or []:
        try:
            yield locate(str(key), config, table)
        except (UserError, ValueError):
            continue
