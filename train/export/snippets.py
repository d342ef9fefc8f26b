"""The card's code: how each kind of export is loaded. A test runs it as it is printed."""

from __future__ import annotations

from string import Template
from typing import Any

OWN_EDDM = """
$places
IMAGE = "/path/to/photo.png"

from pathlib import Path

from data.training.descriptions import DescribeMode, Manner
from models.exported import load_exported_eddm

eddm = load_exported_eddm(f"{EXPORT}/eddm"$bases$trust)
print(eddm.describe([Path(IMAGE)], Manner(DescribeMode.structured))[0])
"""
OWN_MDLM = """
$places
IMAGE = "/path/to/photo.png"

from pathlib import Path

from data.ddqa.compose import FREE_PROMPT
from data.sample import load_image
from data.training.grounding import build_prompt
from models.exported import load_exported_mdlm

mdlm = load_exported_mdlm(f"{EXPORT}/mdlm"$bases)
prompt = build_prompt(FREE_PROMPT, "There is a scratch at the top left.")
prediction = mdlm.predict([load_image(Path(IMAGE))], [prompt])[0]
print(prediction.score, prediction.anomaly_map.shape)
"""
MERGED_EDDM = """
$places

from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained(f"{EXPORT}/eddm/model", dtype="$dtype")
processor = AutoProcessor.from_pretrained(f"{EXPORT}/eddm/model")
"""
ADAPTER_EDDM = """
$places

from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained(BASE, dtype="$dtype"$revision)
model = PeftModel.from_pretrained(model, f"{EXPORT}/eddm/adapter")
processor = AutoProcessor.from_pretrained(f"{EXPORT}/eddm/tokenizer")
"""
MERGED_LLAVA = """
$places

from transformers import AutoTokenizer, LlavaNextForConditionalGeneration

LLAVA = f"{EXPORT}/mdlm/llava"
llava = LlavaNextForConditionalGeneration.from_pretrained(LLAVA, dtype="$dtype")
tokenizer = AutoTokenizer.from_pretrained(LLAVA)
print(tokenizer.convert_tokens_to_ids("[SEG]"))
"""
ADAPTER_LLAVA = """
$places

from peft import PeftModel
from transformers import AutoTokenizer, LlavaNextForConditionalGeneration

tokenizer = AutoTokenizer.from_pretrained(f"{EXPORT}/mdlm/tokenizer")
llava = LlavaNextForConditionalGeneration.from_pretrained(LLAVA, dtype="$dtype"$revision)
rows = llava.get_input_embeddings().weight.shape[0]
llava.resize_token_embeddings(max(rows, len(tokenizer)), mean_resizing=False)  # room for [SEG]
llava = PeftModel.from_pretrained(llava, f"{EXPORT}/mdlm/adapter")
"""
MERGED_CODE = """
$places

from transformers import AutoModelForCausalLM, AutoProcessor

from models.chat.minicpmv26 import mended

WHOLE = f"{EXPORT}/eddm/model"
with mended(WHOLE, trusted=True):
    model = AutoModelForCausalLM.from_pretrained(WHOLE, dtype="$dtype", trust_remote_code=True)
processor = AutoProcessor.from_pretrained(WHOLE, trust_remote_code=True)
"""
ADAPTER_CODE = """
$places

from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoProcessor

from models.chat.minicpmv26 import mended
from models.weights.hub import resolve_checkpoint

WHOLE = resolve_checkpoint(BASE$revision)
with mended(WHOLE, trusted=True):
    model = AutoModelForCausalLM.from_pretrained(WHOLE, dtype="$dtype", trust_remote_code=True)
processor = AutoProcessor.from_pretrained(WHOLE, trust_remote_code=True)
model = PeftModel.from_pretrained(model, f"{EXPORT}/eddm/adapter")
"""
SERVE_MERGED = "swift deploy --model EXPORT/eddm/model --served_model_name eddm $server"
SERVE_ADAPTER = "swift deploy --model BASE --adapters eddm=EXPORT/eddm/adapter $server"
SERVER = "--infer_backend transformers --torch_dtype $dtype --host 127.0.0.1 --port 8000"
OWN, PLAIN, SERVED = (
    "With this project's code, from its root:",
    "With transformers and PEFT alone:",
    "As a server that speaks OpenAI's protocol:",
)
CODE = (
    "With transformers and PEFT, which run the code that comes with the weights: read it first. It was written for "
    "transformers 4.40 to 4.51, where the lines with `mended` may go. Under transformers 5 it does not load without "
    "them, and with fewer cures than these it would see noise (`models/chat/minicpmv26.py` of this project says why):"
)


def describe_loading(exports: dict[str, Any]) -> str:
    """Markdown with one block of code a way to load.

    Args:
        exports: The `export` of each part's manifest, by part.
    """
    return "\n".join(text for part, export in exports.items() for text in _describe_part(part, export))


def _describe_part(part: str, export: dict[str, Any]) -> list[str]:
    merged, trained = export["merged"], export.get("trained", {})
    bases = {} if merged else export["bases"]
    base = next((one for one in bases.values() if one["hub"]), None)
    server = f"--model_type {trained.get('model_type')} --template {trained.get('template')} {SERVER}"
    values = {
        "places": "\n".join(['EXPORT = "/path/to/this/export"', *map(_place, bases, bases.values())]),
        "bases": "".join(f", {name}={name.upper()}" for name in bases),
        "trust": ", trust_remote_code=True" if trained.get("code") else "",
        "dtype": export["dtype"],
        "revision": f', revision="{base["revision"]}"' if base else "",
        "server": Template(server).substitute(dtype=export["dtype"]),
    }
    if part == "mdlm":
        blocks = [(OWN, "python", OWN_MDLM), (f"LLaVA: {PLAIN}", "python", MERGED_LLAVA if merged else ADAPTER_LLAVA)]
    else:
        blocks = [(OWN, "python", OWN_EDDM), (SERVED, "bash", SERVE_MERGED if merged else SERVE_ADAPTER)]
        if not trained.get("code"):
            blocks.insert(1, (PLAIN, "python", MERGED_EDDM if merged else ADAPTER_EDDM))
        else:
            blocks.insert(1, (CODE, "python", MERGED_CODE if merged else ADAPTER_CODE))
    texts = [
        f"{title}\n\n```{kind}\n{Template(code.strip()).substitute(values)}\n```\n" for title, kind, code in blocks
    ]
    return [f"### {part.upper()}\n", *texts]


def _place(name: str, base: dict[str, Any]) -> str:
    """The line that the reader edits."""
    if base["hub"]:
        return f'{name.upper()} = "{base["name"]}"  # revision {base["revision"]}'
    return f'{name.upper()} = "/path/to/{base["name"]}"  # SHA-256 {base["weights"][:16]}…'
