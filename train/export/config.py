"""What can be set for an export."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from data.errors import UserError
from data.training.grounding import DescriptionMode
from models.device import DeviceConfig


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
class ExportConfig(DeviceConfig):
    """One export; where it is merged and proven as `DeviceConfig` says, what is written does not depend on `precision`.

    Attributes:
        run: The run directory.
        out: Where the export goes; it appears under this name only after its proof.
        merge: Adds the adapter to its base and writes whole models; False writes the adapter alone.
        part: Which modules.
        description: Which MDLM, by the descriptions it was trained with; None takes `eddm`, or the only one there is.
        dtype: Number format of merged language models; None keeps the run's. SAM and the heads stay float32.
        shard_gib: Largest file of a merged model, in GiB.
        tolerance: Largest difference of the proof, as a share of the largest logit; None goes by the number format.
        trust_remote_code: Allows code that comes with EDDM's base; it must be the code that was trained with.
        overwrite: Replaces an earlier export of this name.
        push_to_hub: Repository `owner/name` that the proven export is uploaded to; empty uploads nothing.
        private: Whether that repository is private.
        license: Licence named in the model card; `other` refers to its note.
    """

    run: str
    out: str
    merge: bool = False
    part: Part = Part.all
    description: DescriptionMode | None = None
    dtype: Dtype | None = None
    shard_gib: float = 4.0
    tolerance: float | None = None
    trust_remote_code: bool = False
    overwrite: bool = False
    push_to_hub: str = ""
    private: bool = True
    license: str = "other"

    def check(self) -> None:
        """Rejects settings that cannot work.

        Raises:
            UserError: If a number is out of range, or `dtype` is set without `merge`.
        """
        if self.shard_gib <= 0:
            raise UserError(f"shard_gib={self.shard_gib} is no size: give a positive number of GiB.")
        if self.tolerance is not None and not self.tolerance >= 0:
            raise UserError(f"tolerance={self.tolerance} is no difference: give a number of at least 0.")
        if self.dtype is not None and not self.merge:
            raise UserError(f"dtype={self.dtype} is for merge=true: adapters keep the number format of their training.")
