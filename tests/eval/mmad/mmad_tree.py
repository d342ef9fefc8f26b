"""A small MMAD in the real layout: keys, spellings and quirks of `mmad.json`, images of noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.files import write_json

IMAGES = {  # key → mask path; None is a normal image
    "DS-MVTec/bottle/image/broken_large/000.png": "rbg_mask/broken_large/000_rbg_mask.png",
    "DS-MVTec/bottle/image/good/001.png": None,
    "MVTec-AD/zipper/test/rough/003.png": "ground_truth/rough/003_mask.png",
    "MVTec-LOCO/juice_bottle/test/logical_anomalies/004.png": "ground_truth/logical_anomalies/004/000.png",
    "MVTec-LOCO/juice_bottle/test/good/005.png": None,
    "VisA/candle/test/bad/002.JPG": "ground_truth/bad/002.png",
    "VisA/candle/test/good/006.JPG": None,
    "GoodsAD/drink_can/test/deformation/007.jpg": "ground_truth/deformation/007.png",
    "GoodsAD/drink_can/test/good/008.jpg": None,
}
TEMPLATES = {
    "DS-MVTec": "MVTec-AD/bottle/train/good/{:03d}.png",
    "MVTec-AD": "MVTec-AD/zipper/train/good/{:03d}.png",
    "MVTec-LOCO": "MVTec-LOCO/juice_bottle/train/good/{:03d}.png",
    "VisA": "VisA/candle/train/good/{:03d}.JPG",
    "GoodsAD": "GoodsAD/drink_can/train/good/{:03d}.jpg",
}


def question(text: str, kind: str, answer: str, *options: str) -> dict[str, Any]:
    choices = dict(zip("ABCDE", options, strict=False))
    return {"Question": text, "Answer": answer, "Options": choices, "type": kind, "annotation": True}


def conversation(normal: bool) -> list[dict[str, Any]]:
    kinds = [
        question("Is there any defect in the object?", "Anomaly Detection", "B" if normal else "A", "Yes.", "No."),
        question("What product is it?", "Object Classification", "C", "Cable", "Nut", "Bottle", "Tile"),
        question("What is it made of?", "Object Structure", "A", "Glass", "Wood", "Steel"),
    ]
    if not normal:
        kinds += [
            question("What kind of defect is it?", "Defect Classification", "B", "Hole", "Crack", "Stain", "Bend"),
            question("Where is the defect?", "Defect Localization", "D", "Top", "Left", "Right", "Bottom", "Middle"),
            question("What does it look like?", "Defect Description", "A", "A jagged line", "A round spot"),
            question("What may it cause?", "Defect Analysis", "B", "Nothing", "A leak", "Noise"),
        ]
    return kinds


def write_mmad(root: Path) -> dict[str, Any]:
    """Writes the images, `mmad.json` and `domain_knowledge.json`; returns the content of `mmad.json`."""
    random = np.random.default_rng(0)
    entries: dict[str, Any] = {}
    for key, mask in IMAGES.items():
        prefix = key.split("/")[0]
        templates = [TEMPLATES[prefix].format(number) for number in range(3)]
        entries[key] = {
            "image_path": "/".join(key.split("/")[2:]),
            "conversation": conversation(normal=mask is None),
            "similar_templates": templates,
            "random_templates": templates[::-1],
        }
        if mask is not None:
            entries[key]["mask_path"] = mask
        for path in [key, *templates]:
            if not (root / path).exists():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(root / path), random.integers(0, 256, (96, 96, 3), dtype=np.uint8))
    write_json(root / "mmad.json", entries)
    texts = {"good": "It is whole.", "crack": "A line through it."}
    write_json(
        root / "domain_knowledge.json",
        {
            "MVTec": {"bottle": texts, "zipper": texts},
            "MVTec-LOCO": {"juice_bottle": texts},
            "VisA": {"candle": texts},
            "GoodsAD": {"drink_can": texts},
        },
    )
    return entries
