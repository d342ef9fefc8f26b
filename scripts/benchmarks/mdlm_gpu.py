"""The GPU side of `scripts.benchmarks.mdlm`: the full-size MDLM with random weights, one table for the README.

Model FLOPs are what the step needs without recomputation: counted once on the step without checkpointing. Utilisation
is these FLOPs a second over the device's dense bf16 peak.
"""

import gc
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

from models.mdlm.llava import LlavaConfig
from models.mdlm.model import MDLM, MDLMConfig, build_mdlm
from models.mdlm.processor import GroundingBatch
from models.mdlm.sam import Sam, SamConfig
from models.quantize import QuantizeConfig, keep_trainable_on_cpu, loading_options
from train.engine.optim import OptimConfig, build_optimizer
from train.mdlm.losses import LossConfig, mask_loss
from train.plan.footprint import grounding_batch

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
IMAGE_ID, SEG_ID, TEXT_TOKENS = 32000, 32002, 120
WARMUP, STEPS = 2, 5


def print_table(device: str, sizes: str, images: int) -> None:
    """Prints a markdown table; a setting that does not fit into memory says so.

    Args:
        device: `cuda`, or `cpu` to try the code.
        sizes: `full` (LLaVA-v1.6 7B, SAM ViT-H), or `small`, the same shape at a few million parameters.
        images: Images a step.
    """
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    peak = next((value for key, value in PEAKS.items() if key in name), None)
    print(f"{name}, torch {torch.__version__}, bf16, sizes={sizes}, {images} images a step, one tile\n")
    print("| setting | step, s | samples/s | peak memory, GiB | MFU |\n| --- | --- | --- | --- | --- |")
    flops: float | None = None
    for checkpointing, quantize in ((False, False), (True, False), (False, True), (True, True)):
        words = [word for word, on in (("checkpointing", checkpointing), ("QLoRA", quantize)) if on]
        setting = ", ".join(words) or "bf16 LoRA"
        try:
            model = build(sizes, device, checkpointing=checkpointing, quantize=quantize)
            batch = grounding_batch(model, images, TEXT_TOKENS).to(device)
            if flops is None and not checkpointing and not quantize:
                flops = count_flops(model, batch)
            seconds, memory = run(model, batch, device)
        except torch.OutOfMemoryError:
            print(f"| {setting} | out of memory | | | |", flush=True)
        else:
            use = f"{flops / seconds / peak:.0%}" if flops is not None and peak else ""
            print(f"| {setting} | {seconds:.3f} | {images / seconds:.2f} | {memory:.1f} | {use} |", flush=True)
        model = batch = None  # type: ignore[assignment]
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()


def build(sizes: str, device: str, *, checkpointing: bool, quantize: bool) -> MDLM:
    """The MDLM with random weights on the device: LLaVA in bf16 or 4 bits, SAM and the heads in float32."""
    text: dict[str, object] = {"model_type": "llama", "vocab_size": 32064}
    vision: dict[str, object] | None = None  # LLaVA-v1.6's own
    sam = SamConfig()
    if sizes == "small":
        text |= {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
        text |= {"num_key_value_heads": 4}
        vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        vision |= {"image_size": 112, "patch_size": 14, "model_type": "clip_vision_model"}
        sam = SamConfig(image_size=256, width=64, depth=2, heads=2, global_layers=[1], channels=64, decoder_mlp=64)
    llava_config = LlavaNextConfig(text_config=text, vision_config=vision, image_token_index=IMAGE_ID)
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        llava = LlavaNextForConditionalGeneration(llava_config)
        torch.set_default_dtype(torch.float32)
    if quantize:
        llava = _quantized(llava)
    config = MDLMConfig(llava=LlavaConfig(path=""), sam=sam, gradient_checkpointing=checkpointing)
    with torch.device(device):
        model = build_mdlm(llava, SEG_ID, Sam(sam), config)
    return model.to(device).train()


def _quantized(llava: LlavaNextForConditionalGeneration) -> LlavaNextForConditionalGeneration:
    """The same model in 4 bits, by way of the disk: quantisation belongs to loading."""
    with tempfile.TemporaryDirectory() as folder:
        llava.save_pretrained(Path(folder))
        llava.to("meta")  # type: ignore[arg-type]
        llava = LlavaNextForConditionalGeneration.from_pretrained(
            folder, dtype=torch.bfloat16, **loading_options(QuantizeConfig())
        )
    keep_trainable_on_cpu(llava)
    return llava


def step(model: MDLM, batch: GroundingBatch, device: str) -> torch.Tensor:
    """Forward and backward pass; the loss."""
    with torch.autocast(device, torch.bfloat16):
        loss = mask_loss(model(batch), batch.masks, batch.valid, LossConfig()).total
    loss.backward()
    return loss.detach()


def count_flops(model: MDLM, batch: GroundingBatch) -> float:
    """FLOPs of a step."""
    with FlopCounterMode(display=False) as whole:
        step(model, batch, batch.pixels.device.type)
    model.zero_grad()
    return float(whole.get_total_flops())


def run(model: MDLM, batch: GroundingBatch, device: str) -> tuple[float, float]:
    """Median seconds of a step and the peak memory in GiB (0 on a CPU)."""
    optimizer = build_optimizer(model.parameters(), OptimConfig())
    times = []
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(WARMUP + STEPS):
        start = time.perf_counter()
        step(model, batch, device)
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    return sorted(times[WARMUP:])[STEPS // 2], memory
