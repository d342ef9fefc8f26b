"""How good an expert is that saw K sound images of each category: figures as mean ± standard deviation over draws.

The draw of a seed: a category's sound images in an order that `random.Random(f"{seed} {category}")` shuffles, of which
the first K are the shots and some others set the gate (`train.experts.fit.draw_shots`). It depends on nothing else, so
every expert is fitted on the same photos, and those of a smaller K are among those of a larger one. Only the photos
change with the seed: what an expert draws itself (a projection, first weights, noise) keeps its own seed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from data.content import hash_files
from data.errors import UserError
from data.files import make_dir, read_json, write_json
from data.processes.lock import held
from data.ranks import join_ranks
from data.sample import Sample
from eval.segmentation.expert import EvalExpertConfig, evaluate_expert
from eval.segmentation.seeds import log_seeds, summarise_seeds, write_seeds
from models.experts.anomalib.expert import AnomalibConfig
from models.experts.ddad import DDADConfig
from models.experts.gate import GateConfig
from models.experts.load import ExpertName, parse_expert
from models.experts.own import OwnExpert
from models.experts.patchcore import PatchCoreConfig
from models.experts.store import GATE
from train.experts.ddad import DDADTrainConfig
from train.experts.fit import FitExpertConfig, draw_shots, fit_expert, normal_samples

log = logging.getLogger(__name__)
TAKES_SHOTS = {  # and the settings that each is fitted by
    ExpertName.patchcore: ("patchcore",),
    ExpertName.ddad: ("ddad", "train_ddad"),
    ExpertName.winclip: ("clip",),
    ExpertName.anomalib: ("anomalib",),
    ExpertName.own: ("options",),
}
COMMON = ("expert", "dataset", "splits", "categories", "train_share", "shots", "gate", "seed")  # what all are fitted by
SEEDS = 3  # unless another number is asked for
DRAW = "shots.json"  # of a seed: the settings of its fit, and the photos that were drawn


@dataclass(kw_only=True, slots=True)
class ShotsConfig(EvalExpertConfig):
    """An expert as it is, or fitted on a few sound images first; other fields are those of `EvalExpertConfig`.

    Attributes:
        shots: Sound images of each category that the expert is fitted on, drawn anew by each seed; the figures are then
            mean and standard deviation over the seeds, `OUT/seed_<number>` holds each fit and its report. 0 evaluates
            the expert of `expert_dir`.
        seeds: How many seeds draw the shots: 0, 1, … With one there is no deviation.
        train_splits: Splits with the sound images to draw from; no image of them that is sound is evaluated.
        train_share: Share of those that may be drawn, evenly spread: for datasets without a training split.
        gate: How the thresholds are set, on sound images that were not drawn; by `quantile` alone.
        patchcore: Sizes of PatchCore.
        ddad: Sizes of DDAD.
        train_ddad: How DDAD is trained.
        anomalib: Arguments of an anomalib model.
        options: Arguments of an expert of your own, by name.
    """

    shots: int = 0
    seeds: int = SEEDS
    train_splits: list[str] = field(default_factory=lambda: ["train"])
    train_share: float = 1.0
    gate: GateConfig = field(default_factory=GateConfig)
    patchcore: PatchCoreConfig = field(default_factory=PatchCoreConfig)
    ddad: DDADConfig = field(default_factory=DDADConfig)
    train_ddad: DDADTrainConfig = field(default_factory=DDADTrainConfig)
    anomalib: AnomalibConfig = field(default_factory=AnomalibConfig)
    options: dict[str, Any] = field(default_factory=dict)

    def check_shots(self) -> None:
        """Checks what can be checked without reading a file.

        Raises:
            UserError: If the expert takes no shots, or a number is out of range, or it is not a class as it must be.
        """
        self.check()
        if self.shots < 0 or self.seeds < 1:
            raise UserError(f"shots={self.shots} must be at least 1, or 0 for none, and seeds={self.seeds} at least 1.")
        if parse_expert(self.expert)[0] not in TAKES_SHOTS:
            takers = ", ".join("anomalib:<Model>" if name == "anomalib" else name for name in TAKES_SHOTS)
            raise UserError(f"shots= goes with {takers}, not with expert={self.expert}. Leave it out.")
        if parse_expert(self.expert)[0] is ExpertName.own:
            if not OwnExpert.make(self.expert, self.options, self.device, list(ExpertName)).learns:
                raise UserError(f"shots= has nothing to teach expert={self.expert}, which has no fit. Leave it out.")
        elif self.options:
            raise UserError(f"options= are those of an expert of your own; '{self.expert}' has settings of its name.")
        if self.expert_dir:
            raise UserError("shots= fits the expert itself, once for each seed. Leave out expert_dir=.")

    def fitting(self, seed: int) -> FitExpertConfig:
        """The fit of one seed, into `OUT/seed_<seed>/expert`."""
        return FitExpertConfig(
            expert=self.expert,
            dataset=self.dataset,
            data_root=self.data_root,
            splits=self.train_splits,
            categories=self.categories,
            train_share=self.train_share,
            shots=self.shots,
            out=str(self.folder(seed) / "expert"),
            gate=self.gate,
            patchcore=self.patchcore,
            ddad=self.ddad,
            train_ddad=self.train_ddad,
            anomalib=self.anomalib,
            options=self.options,
            clip=self.seen_clip(),
            seed=seed,
            device=self.device,
            precision=self.precision,
        )

    def folder(self, seed: int) -> Path:
        """Where one seed's fit, maps and report are."""
        return Path(self.out) / f"seed_{seed}"


def evaluate_shots(config: ShotsConfig) -> dict[str, Any]:
    """Evaluates an expert; with `shots` once for each seed, fitted on what the seed draws.

    A seed that is done is kept: the same command goes on where it was interrupted.

    Returns:
        The summary of `evaluate_expert`, or with shots what `OUT/results.json` holds.

    Raises:
        UserError: If the expert takes no shots, a category has too few sound images, a seed was fitted with other
            settings, or as `evaluate_expert` does.
    """
    if not config.shots:
        if config.options:
            raise UserError("options= goes with shots=; without, they are those that expert_dir= was fitted with.")
        if config.seeds != SEEDS:
            raise UserError(
                f"seeds={config.seeds} goes with shots=: how often they are drawn. Give it, or leave out seeds=."
            )
        return evaluate_expert(config)
    config.check_shots()
    ranks = join_ranks()
    seeds = range(config.seeds)
    with held(Path(config.out), by=ranks.once):
        draws = ranks.once(lambda: {seed: _draw(config.fitting(seed)) for seed in seeds})
        found = {}
        for seed in seeds:
            ranks.once(lambda seed=seed: _fit_once(config, seed, draws[seed]))  # type: ignore[misc]
            folder = config.folder(seed)
            one = replace(config, expert_dir=str(folder / "expert"), out=str(folder))
            found[seed] = evaluate_expert(one, _tell_draw(config, f"seed {seed}"))
        several = f"each of the seeds {', '.join(map(str, seeds))}" if config.seeds > 1 else "seed 0"
        result = summarise_seeds(found, _tell_draw(config, several))
        if ranks.is_main:
            log_seeds(result)
            write_seeds(Path(config.out), result, {seed: [s.id for s in _all(draws[seed])] for seed in seeds})
        ranks.wait()
    return result


def _tell_draw(config: ShotsConfig, by: str) -> str:
    images = "sound image" if config.shots == 1 else "sound images"
    return f"Fitted on {config.shots} {images} of each category, drawn by {by}; the gate is set on others."


def _draw(fit: FitExpertConfig) -> dict[str, list[Sample]]:
    """The shots of each category."""
    normals = normal_samples(fit.samples(fit.splits), fit.train_share)
    return {category: draw_shots(samples, fit)[0] for category, samples in normals.items()}


def _all(draw: Mapping[str, list[Sample]]) -> list[Sample]:
    return [sample for samples in draw.values() for sample in samples]


def _fit_once(config: ShotsConfig, seed: int, draw: Mapping[str, list[Sample]]) -> None:
    """Fits the expert of a seed, unless an earlier run did.

    Raises:
        UserError: If an earlier run did with other settings or photos.
    """
    fit, path = config.fitting(seed), config.folder(seed) / DRAW
    hashes = hash_files(sample.image for sample in _all(draw))
    photos = {category: {s.id: hashes[s.image] for s in samples} for category, samples in draw.items()}
    own = (*COMMON, *TAKES_SHOTS[parse_expert(fit.expert)[0]])
    settings = {name: value for name, value in asdict(fit).items() if name in own}
    facts = {"photos": photos, **_without_devices(settings)}
    if (Path(fit.out) / GATE).is_file():
        old = read_json(path) if path.is_file() else {}
        if changed := sorted(name for name in facts if old.get(name) != facts[name]):
            told = f"{fit.out} was fitted with other {', '.join(changed)}."
            raise UserError(f"{told} Give another out=, or remove {config.folder(seed)}.")
        log.info("seed %d: fitted already", seed)
        return
    write_json(make_dir(path.parent) / DRAW, facts)
    log.info("seed %d: fitting on %d images", seed, len(hashes))
    fit_expert(fit)


def _without_devices(settings: Any) -> Any:
    """Settings as JSON holds them, without where they run: a fit may go on on another machine."""
    if not isinstance(settings, dict):
        return settings
    return {name: _without_devices(value) for name, value in settings.items() if name != "device"}
