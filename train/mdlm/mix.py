"""What a training batch is made of: anomalous images, normal images, replay items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError
from data.sample import Sample
from data.tiny.drawn import DrawnScenes
from data.training.batches import MixedDataset, Part, SampleDataset, StepBatches
from data.training.grounding import SampleGrounding
from data.training.replay import ReplayItems
from data.training.weighted import WeightedDataset
from train.mdlm.config import TrainMDLMConfig


def mix_dataset(config: TrainMDLMConfig, samples: Sequence[Sample], prompts: Sequence[str]) -> MixedDataset:
    """Splits a batch among normal images, anomalous images and replay items.

    Raises:
        UserError: If the shares leave no room for the training images, or there are no replay items.
    """
    own = config.loop.batch_size - config.mix.replay
    if own < 1:
        raise UserError(f"mix.replay={config.mix.replay} fills the batch of {config.loop.batch_size}: lower it.")
    normal = [k for k, sample in enumerate(samples) if sample.is_normal]
    anomalous = [k for k, sample in enumerate(samples) if not sample.is_normal]
    parts: list[Part]
    share = config.mix.normal_share
    if not anomalous and share == 0:
        raise UserError("The training data shows no defect: nothing to learn from with mix.normal_share=0. Check data.")
    if share is None or not normal or not anomalous:
        parts = [Part(_grounding(config, samples, prompts, range(len(samples))), own)]
    else:
        count = min(own - 1, max(1, round(own * share))) if own > 1 and share else 0
        parts = [
            Part(_grounding(config, samples, prompts, anomalous), own - count),
            Part(_grounding(config, samples, prompts, normal), count),
        ]
    replay = replay_items(config)
    if replay is not None:
        parts.append(Part(replay, config.mix.replay))
    return MixedDataset(parts)


def drawn_ids(config: TrainMDLMConfig, samples: Sequence[Sample]) -> set[str]:
    """Ids of the samples that the training draws in its steps: a pure function of seed and step."""
    parts = mix_dataset(config, samples, [""] * len(samples)).parts
    found = set()
    for batch in StepBatches(parts, seed=config.seed, start=0, stop=config.loop.steps):
        for draw in batch:
            dataset = parts[draw.part].dataset
            if isinstance(dataset, SampleGrounding | WeightedDataset):  # the others are replay items
                found.add(dataset.id_of(draw.epoch, draw.index))
    return found


def replay_items(config: TrainMDLMConfig) -> ReplayItems | DrawnScenes | None:
    """The replay items, read from their pictures or drawn from their seed; None where a batch has none.

    Raises:
        UserError: If they are wanted and not there.
    """
    if not config.mix.replay:
        return None
    if config.mix.items is None:
        raise UserError(f"mix.replay={config.mix.replay}, but mix.items names no file. Set it, or mix.replay=0.")
    path = Path(config.mix.items)
    return DrawnScenes(path) if path.suffix == ".json" else ReplayItems(path)


def _grounding(
    config: TrainMDLMConfig, samples: Sequence[Sample], prompts: Sequence[str], chosen: Sequence[int]
) -> SampleDataset:
    """The chosen samples as one dataset: drawn alike, or by the weight of the dataset that they come from."""
    if not config.data.weights:
        return _items(config, samples, prompts, chosen)
    by_dataset = {
        name: [k for k in chosen if samples[k].dataset == name] for name in sorted({samples[k].dataset for k in chosen})
    }
    return WeightedDataset(
        [_items(config, samples, prompts, own) for own in by_dataset.values()],
        [config.data.weights[name] for name in by_dataset],
        seed=config.seed,
    )


def _items(
    config: TrainMDLMConfig, samples: Sequence[Sample], prompts: Sequence[str], chosen: Sequence[int]
) -> SampleGrounding:
    return SampleGrounding(
        [samples[k] for k in chosen],
        [prompts[k] for k in chosen],
        config.seed,
        config.augment,
        config.keep_decoded,
        config.side,
    )
