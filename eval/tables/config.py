"""What `scripts.reproduce` is given, and where each dataset is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError
from eval.metrics.pixels import Engine
from eval.mmad.prompt import WordingConfig
from models.device import DeviceConfig

GET = {
    "bsdata": "git clone https://github.com/2Obe/BSData {root}",
    "pd_real": "download PD-REAL from https://github.com/Andy-cs008/PD-REAL into {root}",
    "real_iad": "ask for Real-IAD at https://realiad4ad.github.io/Real-IAD/ and unpack it into {root}",
    "vision": "hf download VISION-Workshop/VISION-Datasets --repo-type dataset --local-dir {root}",
    "mvtec_ad": "download MVTec AD from https://www.mvtec.com/company/research/datasets/mvtec-ad and unpack it "
    "into {root}",
    "visa": "curl -L https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar | tar -x -C {root}",
    "mvtec_3d": "download MVTec 3D-AD from https://www.mvtec.com/company/research/datasets/mvtec-3d-ad and unpack it "
    "into {root}",
    "mvtec_ac": "get MVTec AD, then python -m scripts.build_ac dataset=mvtec_ac source=DATA/mvtec_ad out={root}",
    "visa_ac": "get VisA, then python -m scripts.build_ac dataset=visa_ac source=DATA/visa out={root}",
    "velm": "git clone https://github.com/Sassanmtr/VELM and put its *_preds_gpt_4o.json and *_des.json into {root}",
    "mmad": "hf download jiang-cc/MMAD --repo-type dataset --local-dir {root}, then unpack its archives there",
}
TRAIN = "python -m scripts.run_all preset=paper data=paper run_dir=RUN trains one; then give run=RUN"


@dataclass(kw_only=True, slots=True)
class ReproduceConfig(DeviceConfig):
    """Which table, and what there is to make it from; where models run as `DeviceConfig` says.

    Attributes:
        table: `eiad.1` to `eiad.7`, `velm.1` to `velm.5`, or `all`.
        data_root: Holds one folder a dataset, named like its reader (`bsdata`, `mvtec_ad`, …; MMAD is `mmad`, VELM's
            published predictions are `velm`).
        paths: Folder of single datasets, instead of `data_root/<dataset>`.
        run: Run directory with trained weights; fills EIAD's rows.
        maps: Method → folder with one folder of anomaly maps a dataset (`DIR/mvtec_ad`, `DIR/visa`, …).
        answers: Method → MMAD answer log.
        classified: Configuration of VELM, or column of its Table 5 → folder with one result folder of
            `scripts.eval_classification` a dataset (`DIR/mvtec_ac`, …).
        out: Folder for the results; what is there is not computed again.
        engine: Of the pixel metrics.
        resolution: Of the pixel metrics: `native`, or a side in pixels.
        categories: Only these, of the segmentation datasets; empty keeps all.
        mode: How MMAD's answers are got and scored: `mmad-compat` (as published), `generate` or `likelihood`.
        wording: Texts of MMAD's turns.
        questions: At most so many DDQA questions are asked for `eiad.2`, spread over the sources; 0 asks all.
        batch_size: Images, or questions, a forward pass.
        seed: Of the DDQA build.
        trust_remote_code: Allows code that comes with the weights; it must be the code that was trained with.
    """

    table: str
    data_root: str = ""
    paths: dict[str, str] = field(default_factory=dict)
    run: str = ""
    maps: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    classified: dict[str, str] = field(default_factory=dict)
    out: str = "outputs/reproduce"
    engine: Engine = Engine.exact
    resolution: str = "native"
    categories: list[str] = field(default_factory=list)
    mode: str = "mmad-compat"
    wording: WordingConfig
    questions: int = 0
    batch_size: int = 8
    seed: int = 0
    trust_remote_code: bool = False

    def root(self, dataset: str) -> Path:
        """Folder of a dataset.

        Raises:
            UserError: If it is not there; says how to get it.
        """
        given = self.paths.get(dataset) or (str(Path(self.data_root) / dataset) if self.data_root else "")
        if given and Path(given).is_dir():
            return Path(given)
        where = given or f"DATA/{dataset}"
        asked = f"no folder {given}" if given else "data_root= is not given"
        get = GET[dataset].format(root=where)
        raise UserError(f"Dataset {dataset} is missing ({asked}). Get it: {get}; then data_root={Path(where).parent}.")

    def need_run(self) -> str:
        """The run directory.

        Raises:
            UserError: If none is given; says how to get one.
        """
        if not self.run:
            raise UserError(f"Trained weights are missing (run= is not given). {TRAIN}.")
        return self.run
