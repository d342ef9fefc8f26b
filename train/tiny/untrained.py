"""The architectures of the tiny bases without their weights, for whoever only needs sizes."""

from __future__ import annotations

from data.run import Run
from data.tiny.reading import reading_corpus
from models.tiny.llava_sam import build_tiny_llava, build_tiny_tokenizer
from models.tiny.minicpmv import build_model
from train.tiny.config import TinyBaseConfig
from train.tiny.eddm import tiny_tokenizer


def write_architectures(config: TinyBaseConfig, run: Run) -> None:
    """Writes the `config.json` of both bases where `train_tiny_base` would put their checkpoints."""
    tokenizer = tiny_tokenizer(config.eddm.model.vocab_size)
    build_model(config.eddm.model, tokenizer).config.save_pretrained(run.eddm / "base")
    words = build_tiny_tokenizer(reading_corpus(), config.mdlm.llava.vocabulary)
    build_tiny_llava(config.mdlm.llava, words, seed=0).config.save_pretrained(run.mdlm / "base" / "llava")
