"""Libraries begin without advice, deprecations and bars; what goes wrong in them is told."""

import logging
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BEGIN = """
import scripts, sys, warnings, logging
import bitsandbytes
from deepspeed.accelerator import get_accelerator
import transformers
from transformers.utils import logging as told
get_accelerator()
transformers.PretrainedConfig(torch_dtype="float32")
warnings.warn("`torch.jit.script` is deprecated. Please switch.", FutureWarning)
assert not told.is_progress_bar_enabled()
print("asked for", flush=True)
logging.getLogger("DeepSpeed").error("Setting accelerator to CPU failed")
logging.getLogger("DeepSpeed").warning("another thing")
warnings.warn("something else", FutureWarning)
"""

CLIP = """
import scripts, logging
logging.basicConfig(level=logging.INFO)
from models.experts.clip.checkpoint import list_shapes
list_shapes("ViT-B-16-plus-240")
import open_clip
open_clip.get_tokenizer("ViT-B-16-plus-240")
logging.info("No pretrained weights, says EIAD")
try:
    open_clip.create_model("ViT-B-16", pretrained="nowhere")
except RuntimeError:
    pass
"""


def test_libraries_begin_in_silence_and_their_errors_are_told() -> None:
    done = subprocess.run([sys.executable, "-c", BEGIN], cwd=ROOT, capture_output=True, text=True, check=True)
    told, _, errors = done.stdout.partition("asked for\n")
    assert told == ""
    assert "Setting accelerator to CPU failed" in errors and "another thing" in errors
    assert "kernel" not in done.stderr and "deprecated" not in done.stderr
    assert "something else" in done.stderr


def test_only_advice_is_dropped() -> None:
    from scripts.terminal.quiet import _Unasked

    advice = _Unasked("Setting")
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "Setting %s", ("this",), None)
    assert not advice.filter(record)
    record.levelno = logging.ERROR
    assert advice.filter(record)
    assert advice.filter(logging.LogRecord("x", logging.WARNING, "f", 1, "Missing", (), None))


def test_a_clip_is_made_in_silence_and_what_goes_wrong_is_told() -> None:
    done = subprocess.run([sys.executable, "-c", CLIP], cwd=ROOT, capture_output=True, text=True, check=True)
    told = [line for line in done.stderr.splitlines() if line.startswith(("INFO", "WARNING", "ERROR"))]
    assert told[0] == "INFO:root:No pretrained weights, says EIAD"
    assert len(told) > 1 and all(line.startswith("ERROR") and "nowhere" in line for line in told[1:])
