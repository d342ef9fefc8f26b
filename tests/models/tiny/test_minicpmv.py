from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from data.ddqa.tasks import AD_OPTIONS, Task, format_prompt
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model, build_processor, save_checkpoint
from train.tiny.eddm import tiny_tokenizer


def test_the_checkpoint_is_loaded_by_transformers(tmp_path: Path) -> None:
    config, tokenizer = TinyMiniCPMVConfig(), tiny_tokenizer(1536)
    torch.manual_seed(0)
    model = build_model(config, tokenizer).eval()
    save_checkpoint(tmp_path, model, build_processor(config, tokenizer))
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, local_files_only=True).eval()
    processor = AutoProcessor.from_pretrained(tmp_path, local_files_only=True)
    assert type(loaded).__name__ == "MiniCPMV4_6ForConditionalGeneration"
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Where is it?"}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = processor(images=[image], text=[text], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits)


def test_the_tokenizer_keeps_text_and_makes_few_tokens() -> None:
    tokenizer = tiny_tokenizer(1536)
    for text in ("The image shows a washer.\nA. Größe 5!", "[0.415, 0.737, 0.473, 1.000]", "top left, bottom"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    prompt = format_prompt(Task.AD, AD_OPTIONS)
    assert len(tokenizer.encode(prompt)) < len(prompt) / 3
    assert tokenizer.tokenize("\nB. top left") == ["ĊB.ĠtopĠleft"]


def test_options_share_the_embeddings_of_their_words() -> None:
    tokenizer = tiny_tokenizer(1536)
    words = build_model(TinyMiniCPMVConfig(), tokenizer).get_input_embeddings().weight.detach()

    def likeness(one: str, other: str) -> float:
        (a,), (b,) = tokenizer.encode(one), tokenizer.encode(other)
        return float(torch.cosine_similarity(words[a], words[b], dim=0))

    assert likeness("\nB. scratch", " scratch") > 0.5
    assert likeness("\nB. scratch", "B") > 0.5
    assert abs(likeness("\nB. scratch", "\nC. hole")) < 0.4
