"""EIAD's own localization module as a vision expert: zero-shot maps, for which only the gate is fitted.

A fitted expert is a folder with `expert.json`, which names the run and the hash of its weights, and `gate.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT
from data.errors import UserError
from data.files import hash_file, hash_value
from data.run import open_run
from data.sample import ImageArray, Sample
from data.training.descriptions import DescribeMode, choose_manner
from data.training.grounding import DescriptionMode, build_prompt
from models.device import DeviceConfig
from models.eddm.eddm import load_eddm
from models.experts.expert import Detection, Gate, MapArray
from models.experts.store import read_expert, read_gates, write_expert, write_gates
from models.mdlm.files import load_mdlm

PATTERNS = ("*.safetensors", "*.pt", "*.pth")


@dataclass(kw_only=True, slots=True)
class MDLMExpertConfig:
    """Which MDLM, and what it is told.

    Attributes:
        run: Run directory with a trained MDLM.
        description: `fixed`, or `eddm` for what the run's EDDM says about each image.
        mode: How EDDM describes; None, like what the MDLM was trained with.
        length: Most tokens of a free description; None, likewise.
    """

    run: str = ""
    description: DescriptionMode = DescriptionMode.fixed
    mode: DescribeMode | None = None
    length: int | None = None


class MDLMExpert:
    """An MDLM with a gate.

    Args:
        config: Which one.
        gates: Thresholds by category; empty while they are fitted.
        trust_remote_code: Whether the user's command line allows code that comes with the weights of the run's EDDM.
        where: Device and number format; None leaves both open.

    Raises:
        UserError: If the run lacks a module, or the description would come from an annotation.
    """

    name = "mdlm"
    sees_truth = False

    def __init__(
        self,
        config: MDLMExpertConfig,
        gates: Mapping[str, Gate],
        *,
        trust_remote_code: bool = False,
        where: DeviceConfig | None = None,
    ) -> None:
        if not config.run:
            raise UserError("The expert 'mdlm' needs a run directory with a trained MDLM: give mdlm.run=RUN.")
        if config.description is DescriptionMode.oracle:
            raise UserError("mdlm.description=oracle would tell the expert the truth. Choose fixed or eddm.")
        run = open_run(config.run)
        folder = run.mdlm / config.description.value
        if not folder.is_dir():
            raise UserError(f"No MDLM at {folder}. Train it: python -m scripts.train_mdlm run_dir={run.path}.")
        self.config, self.gates = config, dict(gates)
        self.weights_hash = hash_value([hash_file(path) for path in _weights(folder)])
        self._manner = choose_manner(folder, config.mode, config.length)
        self._eddm = (
            load_eddm(run, trust_remote_code=trust_remote_code, where=where)
            if config.description is DescriptionMode.eddm
            else None
        )
        self._mdlm = load_mdlm(run, config.description.value, (where or DeviceConfig()).place())

    def check(self, categories: Sequence[str]) -> None:
        """Refuses categories without a gate; see `Expert.check`."""
        if missing := sorted(set(categories) - self.gates.keys()):
            raise UserError(
                f"The MDLM has no gate for {', '.join(missing)}; it has one for {', '.join(self.gates) or 'none'}. "
                "Fit it: python -m scripts.fit_expert expert=mdlm."
            )

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """Localizes; see `Expert.detect`."""
        self.check([sample.category for sample in samples])
        scored = self.score(samples, images)
        return [
            Detection(anomaly_map, score, self.gates[sample.category])
            for sample, (anomaly_map, score) in zip(samples, scored, strict=True)
        ]

    def score(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[tuple[MapArray, float]]:
        """Map at the image's own size, and score, without a gate."""
        prompts = [build_prompt(FIXED_PROMPT)] * len(samples)
        if self._eddm is not None:
            described = self._eddm.describe([sample.image for sample in samples], self._manner)
            prompts = [build_prompt(FREE_PROMPT, text) for text in described]
        found = self._mdlm.predict(images, prompts)
        return [(prediction.anomaly_map, float(prediction.score)) for prediction in found]

    def save(self, folder: Path, fitted: dict[str, list[str]]) -> None:
        """Writes the gates and which MDLM they belong to."""
        write_gates(folder, self.gates)
        run = open_run(self.config.run).path.resolve()
        config = asdict(self.config) | {"run": str(run), "weights_hash": self.weights_hash}
        write_expert(folder, self.name, config, fitted)

    @classmethod
    def load(cls, folder: Path, *, trust_remote_code: bool = False, where: DeviceConfig | None = None) -> MDLMExpert:
        """Loads a fitted expert; whether its EDDM's code may run is not for its files to say.

        Raises:
            UserError: If the folder holds none, or the run has been trained again since.
        """
        values = read_expert(folder, cls.name)["config"]
        config = MDLMExpertConfig(
            run=values["run"],
            description=DescriptionMode(values["description"]),
            mode=DescribeMode(values["mode"]) if values["mode"] else None,
            length=values.get("length"),
        )
        expert = cls(config, read_gates(folder), trust_remote_code=trust_remote_code, where=where)
        if expert.weights_hash != values["weights_hash"]:
            raise UserError(f"{folder} was fitted with another MDLM than {config.run} now holds. Fit it again.")
        return expert


def _weights(folder: Path) -> list[Path]:
    return sorted(path for pattern in PATTERNS for path in folder.rglob(pattern))
