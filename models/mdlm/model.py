"""MDLM, the Multi-modal Defect Localization Module (EIAD, Sec. III-B a): image and description in, anomaly map out.

Shapes: I images, N prompts, S side of SAM's input, M side of its mask logits, C its channels, E×E its cells.

    image ──► SAM encoder ──► z ─────────────► DAM ──► z' ──► SAM mask decoder ──► logits (N, M, M)
    image, x_ins, ŷ_des ──► LLaVA + LoRA ──► text states ┘            ▲
                                        └─► state at [SEG] ─► projection ─► h_seg
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import LlavaNextForConditionalGeneration, PreTrainedTokenizerBase

from data.errors import UserError
from data.sample import ImageArray
from models.device import CPU, Placement
from models.mdlm.dam import DamConfig, DefectAnalysisModule
from models.mdlm.llava import SEG_TOKEN, Conversations, ImageTiles, LlavaConfig, LlavaEncoder, add_seg_token, load_llava
from models.mdlm.processor import GroundingBatch, MDLMProcessor, ReadyImage
from models.mdlm.sam import Sam, SamConfig, build_sam
from models.mdlm.sam_lora import SamLora, add_sam_lora
from models.mdlm.tiles import AnyresTiler
from models.weights.tensors import read_tensors

LORA_TARGETS = r".*language_model.*\.(q_proj|v_proj)"


@dataclass(kw_only=True, slots=True)
class LoraSettings:
    """LoRA (EIAD, Sec. IV-B: r = 16, alpha = 16) on the language model's q and v projections, and maybe in SAM.

    Attributes:
        rank: r.
        alpha: Scale; the update is multiplied by alpha / r.
        dropout: Dropout on the adapter's input.
    """

    rank: int = 16
    alpha: int = 16
    dropout: float = 0.0


@dataclass(kw_only=True, slots=True)
class MDLMConfig:
    """The parts of the MDLM and which of them are trained.

    Attributes:
        llava: The language model.
        sam: The segmentation model.
        dam: The Defect Analysis Module.
        lora: The adapter.
        heads: Safetensors with pre-trained weights of the [SEG] projection; None starts it from random weights.
        sam_lora: Which part of SAM gets LoRA of the same rank and alpha.
        train_mask_decoder: Trains SAM's mask decoder in full, as LISA does.
        gradient_checkpointing: Recomputes activations in the backward pass instead of keeping them: less memory, about
            a third more time.
        score_fraction: Share of an image's pixels, the most anomalous ones, whose mean is the image score.
    """

    llava: LlavaConfig
    sam: SamConfig = field(default_factory=SamConfig)
    dam: DamConfig = field(default_factory=DamConfig)
    lora: LoraSettings = field(default_factory=LoraSettings)
    heads: str | None = None
    sam_lora: SamLora = SamLora.none
    train_mask_decoder: bool = True
    gradient_checkpointing: bool = False
    score_fraction: float = 0.005


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one image.

    Attributes:
        anomaly_map: (H, W) float32 at the image's native size: sigmoid of the upsampled logits, higher is worse.
        score: Image score in 0..1: mean of the most anomalous pixels.
    """

    anomaly_map: NDArray[np.float32]
    score: float


class MDLM(nn.Module):
    """LLaVA with an adapter, the [SEG] projection, DAM, and SAM.

    Attributes:
        processor: Turns images and texts into batches; None only where nothing is predicted.
        placement: Where and in which number format it predicts: on the CPU in its weights' formats until `place`.
    """

    def __init__(
        self,
        *,
        llava: LlavaEncoder,
        sam: Sam,
        dam: DefectAnalysisModule | None,
        processor: MDLMProcessor | None,
        score_fraction: float,
    ) -> None:
        super().__init__()
        self.llava = llava
        self.sam = sam
        self.dam = dam
        self.projection = nn.Sequential(
            nn.Linear(llava.width, llava.width), nn.ReLU(), nn.Linear(llava.width, sam.channels)
        )
        self.processor = processor
        self.placement = CPU
        self._score_fraction = score_fraction

    def forward(self, batch: GroundingBatch) -> Tensor:
        """Mask logits (N, M, M) over SAM's padded square input, before the sigmoid."""
        embeddings = self.sam.encode(batch.pixels, batch.filled)
        states = self.llava(
            batch.input_ids, batch.attention_mask, batch.tiles, batch.row_image, batch.tile_sizes, batch.places
        )
        weights = next(self.projection.parameters()).dtype
        visual = embeddings.to(weights)[batch.image_index]
        if self.dam is not None:
            visual = self.dam(visual, self.sam.positions().to(weights), states.text.to(weights), states.text_mask)
        return self.sam.decode(visual, self.projection(states.seg.to(weights)))

    @torch.no_grad()
    def predict(
        self, images: Sequence[ImageArray | ReadyImage], texts: Sequence[str], batch_size: int = 16
    ) -> list[Prediction]:
        """Anomaly maps and scores.

        Args:
            images: (H, W, 3) uint8 RGB, each of its own size, or what `ready` made of them.
            texts: One prompt per image, as `data.training.grounding.build_prompt` writes it.
            batch_size: Images per forward pass.

        Raises:
            ValueError: If there are not as many texts as images.
        """
        if len(images) != len(texts):
            raise ValueError(f"{len(images)} images, but {len(texts)} texts: give one text per image.")
        self.eval()
        predictions = []
        for start in range(0, len(images), batch_size):
            chunk = slice(start, start + batch_size)
            ready = [image if isinstance(image, ReadyImage) else self.ready(image) for image in images[chunk]]
            batch = self._processor().assemble(ready, [[text] for text in texts[chunk]])
            if self.placement.device.type == "cuda":
                batch = batch.pin_memory()
            maps, scores = self.localize(batch, [image.size for image in ready])
            predictions += [
                Prediction(one.cpu().numpy(), score) for one, score in zip(maps, scores.tolist(), strict=True)
            ]
        return predictions

    @torch.no_grad()
    def localize(self, batch: GroundingBatch, sizes: Sequence[tuple[int, int]]) -> tuple[list[Tensor], Tensor]:
        """Maps and scores on the model's device, which nothing here waits for.

        Args:
            batch: One prompt an image.
            sizes: Native (H, W) of each image.

        Returns:
            Per image an anomaly map (H, W) float32 in 0..1; and the image scores, (I,) float32.
        """
        with self.placement.autocast():
            logits = self(batch.to(self.placement.device, non_blocking=True)).float()
        maps = [self._processor().to_native(one, size).sigmoid() for one, size in zip(logits, sizes, strict=True)]
        return maps, torch.stack([image_score(one, self._score_fraction) for one in maps])

    def ready(self, image: ImageArray) -> ReadyImage:
        """What a thread can do of an image before it is predicted."""
        return self._processor().ready(image)

    def _processor(self) -> MDLMProcessor:
        if self.processor is None:
            raise ValueError("This MDLM was built without a processor: load it with models.mdlm.files.load_mdlm.")
        return self.processor

    def place(self, placement: Placement) -> MDLM:
        """Moves the model to where it shall predict from now on, in that number format, SAM included."""
        self.placement = placement
        return placement.place(self)


def image_score(anomaly_map: Tensor, fraction: float) -> Tensor:
    """Mean of the most anomalous pixels: steadier than the maximum, and a small defect still counts.

    Args:
        anomaly_map: (H, W) in 0..1.
        fraction: Share of the pixels that count; at least one does.
    """
    pixels = anomaly_map.flatten()
    return pixels.topk(max(1, round(fraction * len(pixels)))).values.mean()


def create_mdlm(config: MDLMConfig, *, device: torch.device | None = None) -> MDLM:
    """Loads the base checkpoints and builds a fresh, untrained adapter around them.

    Args:
        config: Checkpoints, sizes and switches.
        device: Where 4-bit weights are made, which stay there; None takes this process's GPU, or the CPU.

    Raises:
        UserError: If a checkpoint is missing or does not fit.
    """
    llava, tokenizer = load_llava(config.llava, device=device)
    sam = build_sam(config.sam)
    seg_id = add_seg_token(llava, tokenizer)
    model = build_mdlm(llava, seg_id, sam, config, build_processor(llava, tokenizer, sam, config.llava))
    if config.heads is not None:
        load_projection(model, Path(config.heads))
    return model


def build_processor(
    llava: LlavaNextForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, sam: Sam, config: LlavaConfig
) -> MDLMProcessor:
    """Reads the sizes off the models."""
    vision: Any = llava.config.vision_config
    return MDLMProcessor(
        tokenizer=tokenizer,
        template=config.template,
        turn=config.turn if config.conversations is Conversations.joint else None,
        tiler=AnyresTiler(llava, tokenizer) if config.image_tiles is ImageTiles.anyres else None,
        image_tokens=(vision.image_size // vision.patch_size) ** 2,
        tile_size=vision.image_size,
        sam_size=sam.image_size,
        mask_size=sam.mask_size,
        seg_id=int(tokenizer.get_vocab()[SEG_TOKEN]),
        image_id=int(llava.config.image_token_id),
    )


def load_projection(model: MDLM, path: Path) -> None:
    """Starts the [SEG] projection from pre-trained weights.

    Raises:
        UserError: If the file is missing or of another size.
    """
    if not path.is_file():
        raise UserError(f"No weights of the [SEG] projection at {path}. Set mdlm.heads, or train the base first.")
    try:
        model.projection.load_state_dict(read_tensors(path))
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the configured sizes: {str(error).splitlines()[1].strip()}") from error


def build_mdlm(
    llava: nn.Module, seg_id: int, sam: Sam, config: MDLMConfig, processor: MDLMProcessor | None = None
) -> MDLM:
    """Puts the parts together and chooses what is trained: LoRA, the [SEG] row, the heads, maybe the decoder.

    Args:
        llava: A `LlavaNextForConditionalGeneration`; its PEFT wrapper is created here.
        seg_id: Token id of [SEG].
        sam: SAM; its encoder stays frozen.
        config: Sizes and switches; no weights are read here.
        processor: Needed to predict.
    """
    llava.requires_grad_(False)
    if config.gradient_checkpointing:
        llava.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    adapter = LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=LORA_TARGETS,
        trainable_token_indices={"embed_tokens": [seg_id]},
    )
    return assemble(get_peft_model(llava, adapter), seg_id, sam, config, processor)  # type: ignore[arg-type]


def assemble(
    llava: nn.Module, seg_id: int, sam: Sam, config: MDLMConfig, processor: MDLMProcessor | None = None
) -> MDLM:
    """Builds the MDLM around a language model whose trainable parameters are already chosen.

    Raises:
        UserError: If the mask decoder is to be trained both in full and through LoRA.
    """
    if config.sam_lora is SamLora.decoder and config.train_mask_decoder:
        raise UserError(
            "mdlm.sam_lora=decoder and mdlm.train_mask_decoder=true both train SAM's mask decoder: choose one of them."
        )
    sam.requires_grad_(False)
    sam.recompute = config.gradient_checkpointing and config.sam_lora is SamLora.encoder
    lora = config.lora
    add_sam_lora(sam, config.sam_lora, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout)
    if config.train_mask_decoder:
        sam.train_decoder()
    encoder = LlavaEncoder(llava, seg_id)
    dam = (
        DefectAnalysisModule(text_width=encoder.width, channels=sam.channels, heads=config.dam.heads)
        if config.dam.enabled
        else None
    )
    return MDLM(llava=encoder, sam=sam, dam=dam, processor=processor, score_fraction=config.score_fraction)
