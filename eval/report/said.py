"""Does it say what it sees? EDDM's words of a run against the truth and against the MDLM's maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.calibration.file import Calibration
from eval.report.cases import Case
from eval.segmentation.prompts import shown_description
from eval.words.agreement import Row, measure_agreement
from eval.words.claim import read_claim

TITLES = {
    "defect_claimed": "Defective images in which they name a defect",
    "sound_called_sound": "Sound images that they call sound",
    "place": "The named region holds the centre of the largest mark",
    "place_touched": "The named region holds some part of the defect",
    "kind": "The named kind may mean the true one",
    "all": "Defective images with presence, place and kind right",
    "map_place": "The map is strongest in the named region",
    "map_presence": "Words and map agree whether there is a defect",
}


def words_of(case: Case, descriptions: Mapping[str, str]) -> str:
    """What EDDM says about an image: what the model was told, else what the log holds; empty without either."""
    return shown_description(case.row.prompt) or descriptions.get(case.sample.id, "")


def measure_words(
    cases: Sequence[Case], descriptions: Mapping[str, str], calibration: Calibration | None, outline: float
) -> dict[str, Any] | None:
    """How often the words agree with the truth and with the map; None without words.

    Args:
        cases: The evaluated images.
        descriptions: EDDM's descriptions by sample id, for evaluations that did not use them.
        calibration: Its threshold of the map says which maps claim a defect.
        outline: The threshold without a calibration.

    Returns:
        See `measure_agreement`; also `silent` (images without words), `told` (images whose map was made with the words
        in hand), `threshold` and `calibrated`.
    """
    known = calibration is not None and calibration.pixel is not None
    threshold = calibration.pixel if calibration is not None and calibration.pixel is not None else outline
    rows = [
        Row(
            category=case.sample.category,
            defect=case.sample.defect,
            claim=read_claim(text),
            look=case.look,
            above=case.look.peak >= threshold,
        )
        for case in cases
        if (text := words_of(case, descriptions)) and case.look is not None
    ]
    if not rows:
        return None
    return {
        "silent": len(cases) - len(rows),
        "told": sum(bool(shown_description(case.row.prompt)) for case in cases),
        "threshold": threshold,
        "calibrated": known,
        **measure_agreement(rows),
    }
