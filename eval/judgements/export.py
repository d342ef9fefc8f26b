"""Exports a log of judgements: as a dataset in MVTec AD's layout, as COCO, or as DDQA's questions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from data.errors import UserError, printable
from data.files import make_dir, write_json
from data.processes.lock import held
from eval.judgements.coco import write_annotations
from eval.judgements.ddqa import QuestionConfig, write_questions
from eval.judgements.log import JudgementLog
from eval.judgements.mvtec import SoundSplit, write_mvtec
from eval.judgements.truth import read_truth

SUMMARY = "judgements.json"
NAMED = 10  # photos left out that are named on the screen; the summary names all


class Form(StrEnum):
    """What the export is for: any program (`mvtec`), annotation tools (`coco`), or EDDM's training (`ddqa`)."""

    mvtec = "mvtec"
    coco = "coco"
    ddqa = "ddqa"


@dataclass(kw_only=True, slots=True)
class ExportConfig:
    """What is exported, and as what.

    Attributes:
        log: Folder of the judgements.
        form: `mvtec`, `coco` or `ddqa`.
        out: Folder to write to, new or empty.
        product: Name of the product of photos that were judged without one.
        sound: Split of sound photos with `form=mvtec`: `train` is what an expert is fitted on.
        questions: What is asked with `form=ddqa`.
    """

    log: str
    form: Form
    out: str
    product: str = "product"
    sound: SoundSplit = SoundSplit.test
    questions: QuestionConfig = field(default_factory=QuestionConfig)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        out: Where.
        judgements: Judgements in the log.
        models: Photos by the model whose verdict was judged.
        counts: `good` or the class → photos.
        skipped: Photos that were left out: (name, why).
        note: What else there is to say.
    """

    out: Path
    judgements: int
    models: dict[str, int]
    counts: dict[str, int]
    skipped: list[tuple[str, str]]
    note: str = ""

    def describe(self) -> str:
        """What was written, for a person."""
        photos = sum(self.counts.values()) + len(self.skipped)
        classes = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        lines = [f"{self.judgements} judgements of {photos} photos: {classes or 'none to export'}"]
        if len(self.models) > 1:
            lines.append(f"They judge the verdicts of {len(self.models)} models; each photo's last judgement counts.")
        for why, count in Counter(why for _, why in self.skipped).items():
            names = [photo for photo, reason in self.skipped if reason == why]
            more = f" and {count - NAMED} more, see {SUMMARY}" if count > NAMED else ""
            lines.append(f"Left out: {count} ({why}): {', '.join(names[:NAMED])}{more}")
        lines += [self.note] if self.note else []
        return printable("\n".join([*lines, f"wrote {self.out}"]))


def export_judgements(config: ExportConfig) -> Exported:
    """Writes the export, and `OUT/judgements.json`, which counts what is in it and lists what was left out.

    Raises:
        UserError: If the log is missing, empty or damaged, nothing in it can be exported, or `out` holds files.
    """
    out, folder = Path(config.out), Path(config.log)
    truth = read_truth(folder)
    with held(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out} is not empty, and nothing there is overwritten. Choose another out=, or remove it.")
        make_dir(out)
        note = ""
        if config.form is Form.mvtec:
            written = write_mvtec(out, truth, config.product, config.sound)
        elif config.form is Form.coco:
            written = write_annotations(out, truth)
        else:
            written, note = write_questions(out, truth, config.product, config.questions)
        skipped = [*truth.skipped, *written.skipped]
        counts = dict(sorted(written.counts.items()))
        exported = Exported(out, len(JudgementLog(folder)), truth.models, counts, skipped, note)
        write_json(
            out / SUMMARY,
            {
                "form": config.form.value,
                "judgements": exported.judgements,
                "models": exported.models,
                "photos": counts,
                "skipped": [{"photo": photo, "reason": reason} for photo, reason in skipped],
            },
        )
    return exported
