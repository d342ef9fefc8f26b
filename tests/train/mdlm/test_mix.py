from pathlib import Path

import pytest

from data.errors import UserError
from data.masks import MaskFile
from data.sample import Sample
from data.source import DataConfig
from data.training.batches import StepBatches
from models.mdlm.llava import LlavaConfig
from models.mdlm.model import MDLMConfig
from models.mdlm.sam import SamConfig
from train.mdlm.config import LoopConfig, MixConfig, TrainMDLMConfig
from train.mdlm.mix import drawn_ids, mix_dataset


def make_samples(anomalous: int, normal: int) -> list[Sample]:
    return [
        Sample(
            id=f"x/{'bad' if number < anomalous else 'good'}/{number}",
            dataset="x",
            category="nut",
            split="train",
            image=Path(f"{number}.png"),
            defect="dent" if number < anomalous else None,
            mask=MaskFile(Path(f"{number}_mask.png")) if number < anomalous else None,
        )
        for number in range(anomalous + normal)
    ]


def configure(batch: int, share: float | None, steps: int = 5) -> TrainMDLMConfig:
    return TrainMDLMConfig(
        preset="test",
        run_dir="run",
        data=DataConfig(train=[], zero_shot=[]),
        mdlm=MDLMConfig(llava=LlavaConfig(path="llava"), sam=SamConfig()),
        loop=LoopConfig(steps=steps, batch_size=batch),
        mix=MixConfig(normal_share=share),
    )


@pytest.mark.parametrize(
    ("batch", "share", "counts"),
    [
        (16, 0.25, [12, 4]),
        (16, 0.5, [8, 8]),
        (10, 0.33, [7, 3]),
        (8, 0.01, [7, 1]),  # a share is never none …
        (8, 0.99, [1, 7]),  # … and never all
        (1, 0.5, [1]),
        (8, 0.0, [8]),
        (8, None, [8]),
    ],
)
def test_a_batch_holds_the_share_of_normal_images(batch: int, share: float | None, counts: list[int]) -> None:
    samples = make_samples(20, 30)
    config = configure(batch, share)
    parts = mix_dataset(config, samples, [""] * 50).parts
    assert [part.per_batch for part in parts] == counts
    lengths = [50] if share is None else [20, 30][: len(counts)]
    assert [len(part.dataset) for part in parts] == lengths
    for draws in StepBatches(parts, seed=0, start=0, stop=5):
        ids = [parts[draw.part].dataset.id_of(draw.epoch, draw.index) for draw in draws]
        assert len(ids) == batch
        if share is not None:
            assert sum("good" in name for name in ids) == sum(counts[1:])


def test_what_is_drawn_follows_the_steps_and_the_share() -> None:
    samples = make_samples(20, 30)
    drawn = drawn_ids(configure(8, 0.25, steps=3), samples)
    assert (sum("bad" in name for name in drawn), sum("good" in name for name in drawn)) == (18, 6)
    assert drawn_ids(configure(8, 0.25, steps=50), samples) == {sample.id for sample in samples}
    assert not any("good" in name for name in drawn_ids(configure(8, 0.0, steps=50), samples))


def test_one_kind_alone_fills_the_batch() -> None:
    for samples in (make_samples(5, 0), make_samples(0, 5)):
        (part,) = mix_dataset(configure(4, 0.5), samples, [""] * 5).parts
        assert (part.per_batch, len(part.dataset)) == (4, 5)
    with pytest.raises(UserError, match="shows no defect"):
        mix_dataset(configure(4, 0.0), make_samples(0, 5), [""] * 5)
