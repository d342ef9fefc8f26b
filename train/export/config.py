"""What can be set for an export."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from data.training.grounding import DescriptionMode


class Part(StrEnum):
    """Which modules to export; `all` takes those that the run holds."""

    all = "all"
    eddm = "eddm"
    mdlm = "mdlm"


class Dtype(StrEnum):
    """Number format of a merged language model."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


@dataclass(kw_only=True, slots=True)
class ExportConfig:
    """One export.

    Attributes:
        run: The run directory.
        out: Where the export goes; it appears under this name only after its proof.
        merge: Adds the adapter to its base and writes whole models; False writes the adapter alone.
        part: Which modules.
        description: Which MDLM, by the descriptions it was trained with; None takes `eddm`, or the only one there is.
        dtype: Number format of merged language models; None keeps the run's. SAM and the heads stay float32.
        shard_gib: Largest file of a merged model, in GiB.
        tolerance: Largest difference of the proof, as a share of the largest logit; None goes by the number format.
        overwrite: Replaces an earlier export of this name.
        push_to_hub: Repository `owner/name` that the proven export is uploaded to; empty uploads nothing.
        private: Whether that repository is private.
        license: Licence named in the model card; `other` refers to its note.
        trust_remote_code: Allows code that comes with the weights; it must be the code that was trained with.
    """

    run: str
    out: str
    merge: bool = False
    part: Part = Part.all
    description: DescriptionMode | None = None
    dtype: Dtype | None = None
    shard_gib: float = 4.0
    tolerance: float | None = None
    overwrite: bool = False
    push_to_hub: str = ""
    private: bool = True
    license: str = "other"
    trust_remote_code: bool = False
