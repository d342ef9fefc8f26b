"""What `scripts.eval_classification` is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.errors import UserError
from eval.classification.names import Names
from models.chat.config import ChatConfig
from models.device import DeviceConfig
from models.experts.clip.backbone import ClipConfig
from models.experts.saa.expert import SAAConfig
from models.velm.classify import ChoiceMode
from models.velm.draw import VisualPromptConfig
from models.velm.prompt import PromptConfig

EDDM = "eddm"


@dataclass(kw_only=True, slots=True)
class ClassificationConfig(DeviceConfig):
    """Which replies to score: those of a file (`predictions`), or those of VELM's pipeline (`expert` and `mllm`).

    Attributes:
        predictions: JSON file, `<category>_<class>_<number>` → reply; empty runs the pipeline.
        classes: Class descriptions: YAML (`data/classes/template.yaml`) or VELM's `*_des.json`; empty takes
            `data/classes/<dataset>.yaml`.
        dataset: Name of the dataset, for the pipeline the key of its reader; the published figures are shown beside
            those of `mvtec_ac`, `visa_ac` and `mvtec_ad`.
        names: How strictly class names are compared.
        out: Output directory.
        resamples: Number of bootstrap resamples behind the 95 % intervals; 0 leaves them out.
        seed: Of the bootstrap, and of the choice of the reference images.
        severity_seeds: Draws of the anomaly-versus-defect protocol.
        data_root: Folder of the dataset.
        splits: Splits to classify; images that the expert was fitted on are left out, and listed.
        categories: Categories to classify; empty takes all.
        skip_empty_masks: Leave out (and list) anomalous images whose mask is empty, instead of failing on them.
        limit: At most this many images, evenly spread over the listing; null takes all.
        expert: Name of the expert that gates and localises.
        expert_dir: Where it was fitted to; empty is `OUT/expert`, where it is fitted first if it is not there.
        clip: Which CLIP `winclip`, `anoclip` and `clip_surgery` see with; they need no `expert_dir`.
        saa: Checkpoints of SAA+, which needs no `expert_dir`, and what it is told about classes.
        mllm: `eddm` for the EDDM of `run`, or a checkpoint folder, a hub id, or a server's name of a model.
        run: Run directory, for `mllm=eddm`.
        trust_remote_code: Allows code that comes with the weights; `mllm` needs its pin, too (`chat.local.revision`).
        choice: How a class is chosen.
        chat: How `mllm` is run, unless it is `eddm`.
        prompt: What it is given.
        visual: How the expert's finding is drawn.
        references: Category → normal image to show; the others are drawn at random from the training images.
        reference_dataset: Name of the reader of the dataset that the reference images are from; empty is `dataset`.
        reference_root: Its folder; empty is `data_root`.
        chunk: Images that the expert looks at before the MLLM is asked about those that it flags.
        gallery: Cases in the report, at most.
    """

    predictions: str = ""
    classes: str = ""
    dataset: str
    names: Names
    out: str
    resamples: int
    seed: int
    severity_seeds: list[int]
    data_root: str = ""
    splits: list[str] = field(default_factory=lambda: ["test"])
    categories: list[str] = field(default_factory=list)
    skip_empty_masks: bool = False
    limit: int | None = None
    expert: str = ""
    expert_dir: str = ""
    clip: ClipConfig = field(default_factory=ClipConfig)
    saa: SAAConfig = field(default_factory=SAAConfig)
    mllm: str = ""
    run: str = ""
    trust_remote_code: bool = False
    choice: ChoiceMode = ChoiceMode.auto
    chat: ChatConfig = field(default_factory=ChatConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    visual: VisualPromptConfig = field(default_factory=VisualPromptConfig)
    references: dict[str, str] = field(default_factory=dict)
    reference_dataset: str = ""
    reference_root: str = ""
    chunk: int = 128
    gallery: int = 24

    def check(self) -> None:
        """Refuses what does not go together.

        Raises:
            UserError: Naming the values.
        """
        if self.resamples < 0 or not self.severity_seeds:
            raise UserError(
                f"resamples={self.resamples} and severity_seeds={self.severity_seeds}: need 0 or more, and a seed."
            )
        if self.predictions:
            if self.expert or self.mllm or self.data_root:
                raise UserError(
                    "predictions= scores a file; expert=, mllm= and data_root= run the pipeline. Give one of the two."
                )
            if not self.classes:
                raise UserError("predictions= needs classes=FILE, the class descriptions whose names the replies use.")
            return
        if missing := [name for name in ("data_root", "expert", "mllm") if not getattr(self, name)]:
            raise UserError(
                f"Give predictions=FILE to score a file, or {' and '.join(f'{name}=' for name in missing)} to run the "
                "pipeline."
            )
        if (self.mllm == EDDM) != bool(self.run):
            raise UserError("mllm=eddm and run=RUN go together: the run directory holds the EDDM.")
        if self.chunk < 1 or self.gallery < 0:
            raise UserError(f"chunk={self.chunk} and gallery={self.gallery}: need at least 1 and 0.")
