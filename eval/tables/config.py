"""What `scripts.reproduce` is given, and where each dataset is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError
from data.files import in_any_case
from data.readers.downloads import how_to_get
from eval.conventions.measure import MeasureConfig
from eval.gains.bootstrap import BootstrapConfig
from eval.metrics.pixels import Engine
from eval.mmad.prompt import WordingConfig

TRAIN = "python -m scripts.run_all preset=paper data=paper run_dir=RUN trains one; then give run=RUN"


@dataclass(kw_only=True, slots=True)
class ReproduceConfig(MeasureConfig):
    """Which table, and what there is to make it from; by which convention is measured as `MeasureConfig` says.

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
        categories: Only these, of the segmentation datasets; empty keeps all.
        mode: How MMAD's answers are got and scored: `mmad-compat` (as published), `generate` or `likelihood`.
        wording: Texts of MMAD's turns.
        questions: At most so many DDQA questions are asked for `eiad.2`, spread over the sources; 0 asks all.
        bootstrap: How the intervals of differences between two rows of ours are made.
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
    categories: list[str] = field(default_factory=list)
    mode: str = "mmad-compat"
    wording: WordingConfig
    questions: int = 0
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    batch_size: int = 8
    seed: int = 0
    trust_remote_code: bool = False

    def root(self, dataset: str) -> Path:
        """Folder of a dataset.

        Raises:
            UserError: If it is not there; says how to get it.
        """
        given = self.paths.get(dataset) or (str(Path(self.data_root) / dataset) if self.data_root else "")
        if given and (found := in_any_case(Path(given))).is_dir():
            return found
        where = given or f"DATA/{dataset}"
        asked = f"no folder {given}" if given else "data_root= is not given"
        get = how_to_get(dataset, where)
        raise UserError(f"Dataset {dataset} is missing ({asked}). {get}; then data_root={Path(where).parent}.")

    def need_run(self) -> str:
        """The run directory.

        Raises:
            UserError: If none is given; says how to get one.
        """
        if not self.run:
            raise UserError(f"Trained weights are missing (run= is not given). {TRAIN}.")
        return self.run
