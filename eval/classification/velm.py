"""VELM's pipeline over a dataset: expert → gate → visual prompt → prompt → MLLM → class (VELM, Fig. 3).

Every image gets one row in `OUT/replies.jsonl`, an append-only log: whoever runs the same command again goes on behind
the last row. A row has two keys. `key` changes with whatever the row depends on: image, expert, prompt, model. `asked`
names the question itself, with the bytes of the pictures that were sent: the same question is never asked twice, even
where the expert was fitted again. Paths and true classes are in neither, so a dataset may be moved or relabelled; an
expert that sees the truth brings the mask into `key`, and into `asked` as far as it is drawn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data.classes.texts import GOOD, Product
from data.content import hash_files, hash_samples
from data.errors import UserError
from data.files import hash_file, hash_value, make_dir, read_jsonl
from data.row_log import RowLog
from data.sample import ImageArray, Sample, load_image
from models.chat.protocol import Failure
from models.experts.expert import Detection, Expert
from models.velm.classify import Answer, Case, Classifier
from models.velm.draw import VisualPromptConfig, VisualPromptKind, draw_visual_prompt, fit_square, write_picture
from models.velm.prompt import Pictures, PromptConfig, PromptStyle

log = logging.getLogger(__name__)
LOG = "replies.jsonl"
BATCH = 16  # images that an expert sees at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the pipeline says about one image.

    Attributes:
        id: The sample's.
        key: Changes with everything that the row depends on, but the truth.
        category: The sample's.
        truth: Its true class as the dataset calls it; `good` when normal.
        score: The expert's anomaly score.
        threshold: The gate's.
        passed: Whether the gate let it pass: the MLLM was not asked.
        name: Name of the class; the reply itself where it names none.
        reply: The MLLM's words; empty when it was not asked, or chose by likelihood.
        query: Path of the picture that the MLLM was shown.
        reference: Likewise; empty where there was none.
        visual: Likewise.
        nothing_marked: No pixel of the anomaly map reached the threshold, so no outline could be drawn.
        failure: Why no answer came; the row then names no class, and the next run asks again.
        asked: Names the question: model, words and the bytes of the pictures; empty when the MLLM was not asked.
    """

    id: str
    key: str
    category: str
    truth: str
    score: float
    threshold: float
    passed: bool
    name: str
    reply: str
    query: str
    reference: str
    visual: str
    nothing_marked: bool
    failure: str = ""
    asked: str = ""


@dataclass(slots=True)
class Pipeline:
    """The parts of VELM.

    Attributes:
        expert: Gates and localises.
        expert_digest: Changes with the expert.
        classifier: Names the class.
        visual: How the finding is drawn.
        products: The categories in words.
        references: Category → normal image; empty without.
        out: Folder of the log and the pictures.
        chunk: Images between two rounds of questions.
        expert_seconds: Time spent in the expert, by this process.
        mllm_seconds: Likewise in the MLLM.
    """

    expert: Expert
    expert_digest: str
    classifier: Classifier
    visual: VisualPromptConfig
    products: Mapping[str, Product]
    references: Mapping[str, Path]
    out: Path
    chunk: int
    expert_seconds: float = 0.0
    mllm_seconds: float = 0.0

    def run(self, samples: Sequence[Sample]) -> list[Row]:
        """One row a sample, in order; rows of an earlier run are kept, but for those without an answer.

        Raises:
            UserError: If no question got an answer, or a server was given up: what was answered is in the log.
        """
        keys = self._keys(samples)
        answered = [row for row in read_rows(self.out / LOG) if not row.failure]
        rows = {row.id: row for row in answered if keys.get(row.id) == row.key}
        known = {row.asked: row for row in answered if row.asked}
        if rows:
            log.info("%d of %d images are there from an earlier run", len(rows), len(samples))
        pending = [sample for sample in samples if sample.id not in rows]
        spoken = time.monotonic()
        with RowLog(self.out / LOG) as replies:
            for start in range(0, len(pending), self.chunk):
                for row in self._run_chunk(pending[start : start + self.chunk], keys, known):
                    replies.add(asdict(row))
                    rows[row.id] = row
                    if time.monotonic() - spoken > 5:
                        spoken = time.monotonic()
                        log.info("%d of %d images", len(rows), len(samples))
        asked = [row for row in rows.values() if not row.passed]
        if asked and all(row.failure for row in asked):
            raise UserError(
                f"No question got an answer, {len(asked)} were asked: {asked[0].failure}. Check the server, then run "
                "the same command again."
            )
        return [self._as_it_is_now(rows[sample.id], sample) for sample in samples]

    def _as_it_is_now(self, row: Row, sample: Sample) -> Row:
        """A row with what the dataset says today: its classes, and where its pictures are."""
        row = replace(row, category=sample.category, truth=sample.defect or GOOD)
        if row.passed or self.classifier.prompt.side is not None:
            return row
        return replace(row, query=str(sample.image), reference=str(self.references.get(sample.category) or ""))

    def _run_chunk(self, samples: Sequence[Sample], keys: Mapping[str, str], known: Mapping[str, Row]) -> Iterator[Row]:
        """Rows of some images, those first that need no question, or whose question was answered before."""
        flagged: list[tuple[Sample, Detection, Pictures, str]] = []
        for start in range(0, len(samples), BATCH):
            batch = samples[start : start + BATCH]
            images = [load_image(sample.image) for sample in batch]
            started = time.perf_counter()
            detections = self.expert.detect(batch, images)
            self.expert_seconds += time.perf_counter() - started
            for sample, image, detection in zip(batch, images, detections, strict=True):
                if detection.is_normal:
                    yield self._row(sample, keys[sample.id], detection, None, Answer(GOOD))
                    continue
                pictures = self._write_pictures(sample, image, detection, keys[sample.id])
                asked = self._question(sample, pictures)
                if (found := known.get(asked)) is not None:
                    answer = Answer(found.name, found.reply)
                    yield self._row(sample, keys[sample.id], detection, pictures, answer, asked)
                else:
                    flagged.append((sample, detection, pictures, asked))
        started = time.perf_counter()
        cases = [Case(self.products[sample.category], pictures) for sample, _, pictures, _ in flagged]
        for index, said in self.classifier.classify(cases):
            sample, detection, pictures, asked = flagged[index]
            self.mllm_seconds += time.perf_counter() - started
            failure = said.reason if isinstance(said, Failure) else ""
            if failure:
                log.warning("no answer about %s: %s", sample.image, failure)
            answer = Answer("") if isinstance(said, Failure) else said
            yield replace(self._row(sample, keys[sample.id], detection, pictures, answer, asked), failure=failure)
            started = time.perf_counter()

    def _question(self, sample: Sample, pictures: Pictures) -> str:
        """Names what the MLLM is asked: the same name, the same question to the same model."""
        return hash_value(
            [
                [self.classifier.chat.name, self.classifier.mode.value, self.classifier.decoding],
                [asdict(self.classifier.prompt)],
                [self.visual.kind.value, asdict(self.products[sample.category])],
                [
                    None if path is None else hash_file(path)
                    for path in (pictures.query, pictures.reference, pictures.visual)
                ],
            ]
        )

    def _row(
        self, sample: Sample, key: str, detection: Detection, pictures: Pictures | None, answer: Answer, asked: str = ""
    ) -> Row:
        return Row(
            id=sample.id,
            key=key,
            category=sample.category,
            truth=sample.defect or GOOD,
            score=detection.score,
            threshold=detection.gate.score,
            passed=pictures is None,
            name=answer.name,
            reply=answer.reply,
            query=str(pictures.query) if pictures else "",
            reference=str(pictures.reference or "") if pictures else "",
            visual=str(pictures.visual or "") if pictures else "",
            nothing_marked=pictures is not None and pictures.visual is None and self._draws,
            asked=asked,
        )

    @property
    def _draws(self) -> bool:
        return self.classifier.prompt.visual and self.visual.kind is not VisualPromptKind.none

    def _write_pictures(self, sample: Sample, image: ImageArray, detection: Detection, key: str) -> Pictures:
        """The pictures of a question, at the size that the prompt asks for."""
        folder, side = make_dir(self.out / "pictures"), self.classifier.prompt.side
        stem = f"{key[:20]}"
        as_published = self.classifier.prompt.style is PromptStyle.published
        if as_published:
            assert side is not None
            image, detection = fit_square(image, detection, side)
        query = sample.image if side is None else write_picture(folder / f"{stem}_query.png", image, side)
        drawn = draw_visual_prompt(image, detection, self.visual) if self._draws else None
        visual = write_picture(folder / f"{stem}_visual.png", drawn, side) if drawn is not None else None
        reference = self.references.get(sample.category)
        if reference is not None and side is not None:
            name = f"reference_{hash_value([str(reference), side, *(['bicubic'] if as_published else [])])[:16]}.png"
            if not (folder / name).is_file():
                write_picture(folder / name, load_image(reference), side, bicubic=as_published)
            reference = folder / name
        return Pictures(query, reference, visual)

    def _keys(self, samples: Sequence[Sample]) -> dict[str, str]:
        prompt: PromptConfig = self.classifier.prompt
        setup = hash_value(
            [
                self.expert_digest,
                asdict(prompt),
                asdict(self.visual),
                self.classifier.chat.name,
                self.classifier.mode.value,
                self.classifier.decoding,
                "model's own size" if prompt.side is None else prompt.side,
            ]
        )
        references = hash_files(self.references.values())
        shared = {
            category: hash_value(
                [
                    setup,
                    asdict(self.products[category]),
                    references[self.references[category]] if category in self.references else "",
                ]
            )
            for category in {sample.category for sample in samples}
        }
        hashes = hash_files(sample.image for sample in samples)
        contents = hash_samples(samples) if self.expert.sees_truth else [hashes[sample.image] for sample in samples]
        return {s.id: hash_value([shared[s.category], content]) for s, content in zip(samples, contents, strict=True)}


def read_rows(path: Path) -> list[Row]:
    """Reads the log; empty where there is none.

    Raises:
        UserError: If a line is not a row.
    """
    if not path.is_file():
        return []
    try:
        return [Row(**values) for values in read_jsonl(path)]
    except TypeError as error:
        raise UserError(f"Not a log of this pipeline: {path} ({error}). Choose another out=.") from error


def summarise_gate(rows: Sequence[Row]) -> dict[str, Any]:
    """How many images the gate let pass, and how often the MLLM was asked."""
    normal, anomalous = [r for r in rows if r.truth == GOOD], [r for r in rows if r.truth != GOOD]
    asked = sum(not row.passed for row in rows)
    return {
        "images": len(rows),
        "asked": asked,
        "asked_percent": 100 * asked / len(rows),
        "normal": len(normal),
        "normal_passed_percent": 100 * sum(r.passed for r in normal) / len(normal) if normal else None,
        "anomalous_passed_percent": 100 * sum(r.passed for r in anomalous) / len(anomalous) if anomalous else None,
        "unanswered": sum(bool(row.failure) for row in rows),
        "nothing_marked": sum(row.nothing_marked for row in rows),
    }
