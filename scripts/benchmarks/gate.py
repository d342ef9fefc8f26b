"""python -m scripts.benchmarks.gate READER ROOT [FIT_IMAGES] [TEST_IMAGES]: VELM's pipeline with and without its gate.

80 % of the test images are normal. PatchCore gates, then the oracle, which asks about the other 20 % exactly; both are
compared with asking about every image. The MLLM is a tiny MiniCPM-V with random weights: its answers mean nothing, its
time does; a real MLLM takes longer, so its ratio is nearer to the limit that is printed beside.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from data.classes.texts import ClassText, Product
from data.errors import UserError
from data.sample import ImageArray, Sample, load_image
from data.source import Source, load_samples
from eval.classification.velm import Pipeline, summarise_gate
from models.chat.config import ChatConfig
from models.chat.load import load_chat
from models.experts.expert import Detection, Expert
from models.experts.gate import GateConfig, quantile_gate
from models.experts.oracle import OracleExpert
from models.experts.patchcore import PatchCore, PatchCoreConfig
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model, build_processor, save_checkpoint
from models.velm.classify import ChoiceMode, Classifier
from models.velm.draw import VisualPromptConfig, VisualPromptKind
from models.velm.prompt import PromptConfig
from scripts.command import readable_errors
from train.tiny.eddm import tiny_tokenizer

CATEGORY = "benchmark"
NORMAL_SHARE = 0.8
PRODUCT = Product(
    CATEGORY, "Even.", "", tuple(ClassText(name, name, f"A {name}.") for name in ("crack", "hole", "dent"))
)


class Gateless:
    """An expert whose gate lets nothing pass."""

    def __init__(self, expert: Expert) -> None:
        self.expert, self.name, self.sees_truth, self.gates = expert, expert.name, expert.sees_truth, expert.gates

    def check(self, categories: Sequence[str]) -> None:
        """As the expert's."""
        self.expert.check(categories)

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """The expert's maps with a gate below every score."""
        found = self.expert.detect(samples, images)
        return [replace(one, gate=replace(one.gate, score=float("-inf"))) for one in found]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the comparison."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    given = read_arguments(__doc__, arguments)
    with readable_errors():
        compare_gate(given.source, given.fit_images, given.test_images)


def read_arguments(usage: str | None, arguments: Sequence[str] | None) -> argparse.Namespace:
    """A dataset as `source`, and how many of its images are used: `fit_images`, `test_images`."""
    parser = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader")
    parser.add_argument("root")
    parser.add_argument("fit_images", nargs="?", type=int, default=40)
    parser.add_argument("test_images", nargs="?", type=int, default=80)
    given = parser.parse_args(arguments)
    given.source = Source(reader=given.reader, root=given.root, skip_empty_masks=True)
    return given


def compare_gate(source: Source, fit_images: int, test_images: int) -> dict[str, float]:
    """Times the pipeline with and without its gate, by PatchCore and by the oracle.

    Returns:
        Ratio of the times, by expert.

    Raises:
        UserError: If the dataset has too few images.
    """
    samples = [replace(sample, category=CATEGORY) for sample in load_samples([source]).samples]
    normals = [sample for sample in samples if sample.is_normal]
    defective = [sample for sample in samples if not sample.is_normal]
    fit, rest = normals[::2][:fit_images], normals[1::2]
    sound = round(NORMAL_SHARE * test_images)
    if len(fit) < 2 or len(rest) < sound or len(defective) < test_images - sound:
        raise UserError(f"Too few images in {source.root}: {len(normals)} normal, {len(defective)} anomalous.")
    step = len(defective) / (test_images - sound)
    tested = rest[:sound] + [defective[int(index * step)] for index in range(test_images - sound)]
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        classifier = _load_classifier(Path(folder) / "mllm")
        for expert in (_fit(fit), OracleExpert()):
            seconds, asked = {}, {}
            for name, gated in (("gate", expert), ("no gate", Gateless(expert))):
                out = Path(folder) / f"{expert.name} {name}"
                out.mkdir()
                pipeline = Pipeline(
                    gated, name, classifier, VisualPromptConfig(), {CATEGORY: PRODUCT}, {}, out, chunk=32
                )
                started = time.perf_counter()
                rows = pipeline.run(tested)
                seconds[name], asked[name] = time.perf_counter() - started, summarise_gate(rows)["asked"]
            ratios[expert.name] = seconds["no gate"] / seconds["gate"]
            print(
                f"{expert.name}: {len(tested)} images, {sound} normal; MLLM asked {asked['gate']} times, not "
                f"{asked['no gate']}: {seconds['gate']:.2f} s against {seconds['no gate']:.2f} s, "
                f"{ratios[expert.name]:.2f} × (limit {asked['no gate'] / max(1, asked['gate']):.2f} ×)",
                flush=True,
            )
    return ratios


def _fit(samples: Sequence[Sample]) -> PatchCore:
    """PatchCore on four fifths of the images, its gate on the others."""
    expert = PatchCore(PatchCoreConfig())
    held_out, kept = samples[::5], [sample for index, sample in enumerate(samples) if index % 5]
    expert.fit(CATEGORY, ([load_image(sample.image)] for sample in kept))
    scored = expert.score(CATEGORY, [load_image(sample.image) for sample in held_out])
    maps, scores = [one[0] for one in scored], [one[1] for one in scored]
    expert.gates[CATEGORY] = quantile_gate(scores, maps, GateConfig())
    return expert


def _load_classifier(folder: Path) -> Classifier:
    torch.manual_seed(0)
    config, tokenizer = TinyMiniCPMVConfig(), tiny_tokenizer(1536)
    save_checkpoint(folder, build_model(config, tokenizer), build_processor(config, tokenizer))
    prompt = PromptConfig(reference=False, image_size=128)
    return Classifier(load_chat(str(folder), ChatConfig()), prompt, VisualPromptKind.contour, ChoiceMode.generate)


if __name__ == "__main__":
    main()
