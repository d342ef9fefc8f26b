"""A checkpoint folder whose configuration code leaves a marker when anybody runs it."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file


class Marking:
    """Leaves a file where its pickle is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.marker,))


def write_marked(folder: Path, marker: Path, *, shards: int = 1) -> Path:
    """Writes the folder; `marker` appears where its code runs."""
    folder.mkdir(parents=True)
    for index in range(shards):
        save_file({f"w{index}": torch.ones(2, 2)}, folder / f"model-{index}.safetensors", metadata={"format": "pt"})
    note = f"open({str(marker)!r}, 'a').write('ran')\n"
    (folder / "configuration_marked.py").write_text(
        f"from transformers import PretrainedConfig\nfrom .helper import name\n{note}"
        "class MarkedConfig(PretrainedConfig):\n    model_type = name\n"
    )
    (folder / "helper.py").write_text(f"{note}name = 'minicpmv'\n")
    auto_map = {"AutoConfig": "configuration_marked.MarkedConfig"}
    config = {"model_type": "minicpmv", "architectures": ["MiniCPMV"], "vocab_size": 4, "auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_snapshot(cache: Path, name: str, commit: str, marker: Path) -> Path:
    """The same as a snapshot in a cache of the hub, which its main branch points to."""
    home = cache / f"models--{name.replace('/', '--')}"
    folder = write_marked(home / "snapshots" / commit, marker)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    return folder
