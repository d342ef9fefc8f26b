"""The card's snippets: how each kind of export is loaded. A test runs them as they are printed."""

from __future__ import annotations

from typing import Any

EXPORT_LINE = 'EXPORT = "/path/to/this/export"'
IMAGE_LINE = 'IMAGE = "/path/to/photo.png"'
OWN_CODE = (
    "With transformers and PEFT, which run the code that comes with the weights: read it first. It was written for "
    "transformers 4.40 to 4.51, where the lines with `mended` may go. Under transformers 5 it does not load without "
    "them, and with fewer cures than these it would see noise (`models/chat/minicpmv26.py` of this project says why):"
)
PLACES = {"base": "BASE", "llava": "LLAVA", "sam": "SAM"}


def describe_loading(exports: dict[str, Any]) -> list[str]:
    """Markdown with one block of code a way to load.

    Args:
        exports: The `export` of each part's manifest, by part.
    """
    lines: list[str] = []
    for part, export in exports.items():
        lines += [f"### {part.upper()}", "", "With this project's code, from its root:", ""]
        lines += _block([*_places(export), *(_own_eddm(export) if part == "eddm" else _own_mdlm(export))])
        if part == "eddm" and _runs_code(export):
            lines += [OWN_CODE, "", *_block([*_places(export), *_plain_own_code(export)])]
        elif part == "eddm":
            lines += ["With transformers and PEFT alone:", "", *_block([*_places(export), *_plain_eddm(export)])]
        if part == "eddm":
            lines += ["As a server that speaks OpenAI's protocol:", "", *_block(_server(export), "bash")]
        if part == "mdlm":
            lines += ["LLaVA with transformers and PEFT alone:", "", *_block([*_places(export), *_plain_llava(export)])]
    return lines


def _runs_code(export: dict[str, Any]) -> bool:
    """Whether code that comes with the weights runs."""
    return export["bases"]["base"]["code"] is not None


def _block(code: list[str], language: str = "python") -> list[str]:
    return [f"```{language}", *code, "```", ""]


def _places(export: dict[str, Any]) -> list[str]:
    """The lines that the reader edits: where the export is, and where each base is."""
    lines = [EXPORT_LINE]
    if export["merged"]:
        return lines
    for name, base in export["bases"].items():
        if base["hub"]:
            lines.append(f'{PLACES[name]} = "{base["name"]}"  # revision {base["revision"]}')
        else:
            lines.append(f'{PLACES[name]} = "/path/to/{base["name"]}"  # SHA-256 {base["weights"][:16]}…')
    return lines


def _arguments(export: dict[str, Any]) -> str:
    return "" if export["merged"] else "".join(f", {name}={PLACES[name]}" for name in export["bases"])


def _own_eddm(export: dict[str, Any]) -> list[str]:
    trust = ", trust_remote_code=True" if _runs_code(export) else ""
    return [
        IMAGE_LINE,
        "",
        "from pathlib import Path",
        "",
        "from models.eddm.eddm import DescribeMode",
        "from models.exported import load_exported_eddm",
        "",
        f'eddm = load_exported_eddm(f"{{EXPORT}}/eddm"{_arguments(export)}{trust})',
        "print(eddm.describe([Path(IMAGE)], DescribeMode.structured)[0])",
    ]


def _own_mdlm(export: dict[str, Any]) -> list[str]:
    return [
        IMAGE_LINE,
        "",
        "from pathlib import Path",
        "",
        "from data.ddqa.compose import FREE_PROMPT",
        "from data.training.grounding import build_prompt",
        "from data.sample import load_image",
        "from models.exported import load_exported_mdlm",
        "",
        f'mdlm = load_exported_mdlm(f"{{EXPORT}}/mdlm"{_arguments(export)})',
        'prompt = build_prompt(FREE_PROMPT, "There is a scratch at the top left.")',
        "prediction = mdlm.predict([load_image(Path(IMAGE))], [prompt])[0]",
        "print(prediction.score, prediction.anomaly_map.shape)",
    ]


def _plain_eddm(export: dict[str, Any]) -> list[str]:
    revision = _revision(export, "base")
    lines = ["", "from transformers import AutoModelForImageTextToText, AutoProcessor", ""]
    if export["merged"]:
        return [
            *lines,
            f'model = AutoModelForImageTextToText.from_pretrained(f"{{EXPORT}}/eddm/model", dtype="{export["dtype"]}")',
            'processor = AutoProcessor.from_pretrained(f"{EXPORT}/eddm/model")',
        ]
    return [
        "",
        "from peft import PeftModel",
        *lines[1:],
        f'model = AutoModelForImageTextToText.from_pretrained(BASE, dtype="{export["dtype"]}"{revision})',
        'model = PeftModel.from_pretrained(model, f"{EXPORT}/eddm/adapter")',
        'processor = AutoProcessor.from_pretrained(f"{EXPORT}/eddm/tokenizer")',
    ]


def _plain_own_code(export: dict[str, Any]) -> list[str]:
    """A model of the code that comes with its weights."""
    base = export["bases"]["base"]
    lines = ["", "from transformers import AutoModelForCausalLM, AutoProcessor", ""]
    if not export["merged"]:
        lines.insert(1, "from peft import PeftModel")
    lines += ["from models.chat.minicpmv26 import mended"]
    if export["merged"]:
        lines += ["", 'WHOLE = f"{EXPORT}/eddm/model"']
    elif base["hub"]:
        lines += ["from models.weights.hub import resolve_checkpoint", ""]
        lines += [f'WHOLE = resolve_checkpoint(BASE, "{base["revision"]}")']
    else:
        lines += ["", "WHOLE = BASE"]
    lines += [
        "with mended(WHOLE, trusted=True):",
        "    model = AutoModelForCausalLM.from_pretrained(",
        f'        WHOLE, dtype="{export["dtype"]}", trust_remote_code=True',
        "    )",
        "processor = AutoProcessor.from_pretrained(WHOLE, trust_remote_code=True)",
    ]
    if not export["merged"]:
        lines += ['model = PeftModel.from_pretrained(model, f"{EXPORT}/eddm/adapter")']
    return lines


def _plain_llava(export: dict[str, Any]) -> list[str]:
    revision = _revision(export, "llava")
    if export["merged"]:
        return [
            "",
            "from transformers import AutoTokenizer, LlavaNextForConditionalGeneration",
            "",
            'LLAVA = f"{EXPORT}/mdlm/llava"',
            f'llava = LlavaNextForConditionalGeneration.from_pretrained(LLAVA, dtype="{export["dtype"]}")',
            "tokenizer = AutoTokenizer.from_pretrained(LLAVA)",
            'print(tokenizer.convert_tokens_to_ids("[SEG]"))',
        ]
    return [
        "",
        "from peft import PeftModel",
        "from transformers import AutoTokenizer, LlavaNextForConditionalGeneration",
        "",
        'tokenizer = AutoTokenizer.from_pretrained(f"{EXPORT}/mdlm/tokenizer")',
        f'llava = LlavaNextForConditionalGeneration.from_pretrained(LLAVA, dtype="{export["dtype"]}"{revision})',
        "rows = llava.get_input_embeddings().weight.shape[0]",
        "llava.resize_token_embeddings(max(rows, len(tokenizer)), mean_resizing=False)  # room for [SEG]",
        'llava = PeftModel.from_pretrained(llava, f"{EXPORT}/mdlm/adapter")',
    ]


def _server(export: dict[str, Any]) -> list[str]:
    trained = export["trained"]
    kinds = f"--model_type {trained['model_type']} --template {trained['template']} --infer_backend transformers"
    kinds += f" --torch_dtype {export['dtype']} --host 127.0.0.1 --port 8000"
    if export["merged"]:
        return [f"swift deploy --model EXPORT/eddm/model --served_model_name eddm {kinds}"]
    return [f"swift deploy --model BASE --adapters eddm=EXPORT/eddm/adapter {kinds}"]


def _revision(export: dict[str, Any], name: str) -> str:
    base = export["bases"][name]
    return f', revision="{base["revision"]}"' if base["hub"] else ""
