"""Photos that people have judged, among those of a calibration.

The rate is promised for photos that come as those of the calibration came. People who are shown the doubtful ones first
judge more of these than the line brings, and a threshold from them alone flags less than it could.
"""

from __future__ import annotations

from collections.abc import Sequence

from eval.inspection.photos import Photo
from eval.judgements.truth import Truth


def join_judged(sound: Sequence[Photo], defective: Sequence[Photo], truth: Truth) -> tuple[list[Photo], list[Photo]]:
    """The sound and the defective photos, with those that were judged: what was said of one counts, not its folder.

    Args:
        sound: Photos from folders of sound ones.
        defective: From folders of defective ones.
        truth: What people said.
    """
    left = truth.leaves(photo.path for photo in (*sound, *defective))
    kept = [[photo for photo in photos if photo.path in left] for photos in (sound, defective)]
    judged = [[Photo(one.judgement.photo, one.image) for one in side] for side in (truth.sound, truth.defective)]
    return kept[0] + judged[0], kept[1] + judged[1]


def tell_judged(folder: str, truth: Truth, model: str) -> str:
    """What the judgements gave, for a person.

    Args:
        folder: Folder of the log.
        truth: What people said.
        model: Identity of the model that is calibrated.
    """
    told = f"Of {folder}: {len(truth.sound)} sound and {len(truth.defective)} defective photos"
    if others := truth.count_others(model):
        told += f", {others} of them judged by the verdict of another model, and scored by this one"
    return f"{told}. The rate holds for photos like them: judge photos as they come, not the doubtful ones alone."
