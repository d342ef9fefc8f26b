"""What the MDLM's base can do before it sees any product: find marks, and pick the one that is named."""

import numpy as np
from numpy.typing import NDArray

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT, compose_description
from data.ddqa.regions import region_of
from data.factory.catalog import PRODUCTS, Group, categories_of
from data.factory.piece import Piece, make_anomalous
from data.training.grounding import build_prompt
from models.mdlm.model import create_mdlm
from scripts.command import compose_config
from train.mdlm.config import TrainMDLMConfig


def f1_max(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> float:
    hits = masks.ravel()[np.argsort(-maps.ravel(), kind="stable")]
    true = np.cumsum(hits)
    return float((2 * true / (np.arange(1, hits.size + 1) + true[-1])).max())


def pieces_with_decoys() -> list[tuple[str, Piece]]:
    names = categories_of(Group.SEEN)
    pieces = []
    for number in range(40):
        rng = np.random.default_rng([5, number])
        product = PRODUCTS[names[number % len(names)]]
        defect = product.defects[number % len(product.defects)]
        pieces.append((names[number % len(names)], make_anomalous(rng, product, defect, 256, extras=0, decoy=True)))
    return pieces


def test_the_base_finds_marks_and_picks_the_one_that_is_named() -> None:
    model = create_mdlm(compose_config("train_mdlm", TrainMDLMConfig, ["run_dir=r"]).mdlm)
    pieces = pieces_with_decoys()
    images = [piece.image for _, piece in pieces]
    masks = np.stack([piece.mask for _, piece in pieces])

    def score(prompts: list[str]) -> float:
        return f1_max(np.stack([p.anomaly_map for p in model.predict(images, prompts)]), masks)

    def describe(name: str, piece: Piece, region: str) -> str:
        return build_prompt(FREE_PROMPT, compose_description(name, piece.marks[0].defect, region))

    right = score([describe(name, piece, piece.marks[0].region) for name, piece in pieces])
    boxes = [piece.decoys[0] for _, piece in pieces]
    regions = [region_of(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2), (256, 256)) for box in boxes]
    decoy = score([describe(name, piece, region) for (name, piece), region in zip(pieces, regions, strict=True)])
    general = score([FIXED_PROMPT] * len(pieces))
    assert right > general > decoy
    assert right - decoy > 0.2
    assert right > 0.5
