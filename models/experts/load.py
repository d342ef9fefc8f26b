"""Which vision experts there are, by name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from data.errors import UserError
from models.experts.expert import Expert
from models.experts.oracle import OracleExpert
from models.experts.patchcore import PatchCore
from models.experts.precomputed import PrecomputedExpert


class ExpertName(StrEnum):
    """The vision experts."""

    oracle = "oracle"
    precomputed = "precomputed"
    patchcore = "patchcore"


def load_expert(name: ExpertName, folder: str) -> Expert:
    """Loads a vision expert.

    Args:
        name: Which one.
        folder: Where it was fitted to, or where its maps are; the oracle needs none.

    Raises:
        UserError: If the folder is missing or holds no such expert.
    """
    if name is ExpertName.oracle:
        return OracleExpert()
    if not folder:
        raise UserError(f"The expert '{name.value}' needs a folder. Fit it: python -m scripts.fit_expert.")
    if name is ExpertName.precomputed:
        return PrecomputedExpert.load(Path(folder))
    return PatchCore.load(Path(folder))
