"""Every command's `--help`: at once, without a heavy library, and with exactly the settings that the command takes."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from omegaconf import OmegaConf

from data.errors import UserError
from scripts.command import CONFIGS, _compose, help_page
from scripts.terminal.page import MANDATORY, value_of
from scripts.terminal.source import read_command

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base")
GROUPS = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
LOOP = """
import json, sys
from scripts.command import help_page
pages = {name: help_page(name, []) for name in sys.argv[1:]}
heavy = {"torch", "transformers", "cv2", "data.source", "models.device"} & set(sys.modules)
print(json.dumps({"pages": pages, "heavy": sorted(heavy)}))
"""


@pytest.fixture(scope="module")
def answer() -> dict[str, Any]:
    """The pages of all commands, and which heavy libraries were imported for them, from one fresh process."""
    done = subprocess.run([sys.executable, "-c", LOOP, *NAMES], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def leaves(schema: type, prefix: str = "") -> Iterator[str]:
    """The dotted names of a dataclass's settings that have nothing below them."""
    hints = get_type_hints(schema)
    for entry in fields(schema):
        kinds = [kind for kind in (hints[entry.name], *get_args(hints[entry.name])) if is_dataclass(kind)]
        if kinds and get_origin(hints[entry.name]) not in (list, dict):
            yield from leaves(kinds[0], f"{prefix}{entry.name}.")
        else:
            yield f"{prefix}{entry.name}"


def test_nothing_heavy_is_imported(answer: dict[str, Any]) -> None:
    assert answer["heavy"] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_the_settings_of_the_command_and_no_others(name: str, answer: dict[str, Any]) -> None:
    schema = importlib.import_module(f"scripts.{name}").main.schema
    aliases = read_command(ROOT / "scripts" / f"{name}.py").aliases
    words = {key: word for word, key in aliases.items() if key in {entry.name for entry in fields(schema)}}
    printed = set(re.findall(r"^  (\w[\w.]*?)(?:\.NAME)?=", answer["pages"][name], re.MULTILINE))
    expected = {words.get(key, key) for key in leaves(schema)}
    assert expected <= printed
    above = {key.rpartition(".")[0] for key in expected} | {key.split(".")[0] for key in expected}
    assert printed - expected <= above | GROUPS


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_meaning_and_the_value_that_the_command_gets(name: str) -> None:
    schema = importlib.import_module(f"scripts.{name}").main.schema
    values = OmegaConf.to_container(_compose(name, []), resolve=False)
    structure = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.create(values))
    for setting in read_command(ROOT / "scripts" / f"{name}.py").all():
        assert setting.meaning, setting.name
        if setting.inner:
            continue
        parent, _, leaf = setting.name.rpartition(".")
        node = OmegaConf.select(structure, parent, throw_on_missing=False) if parent else structure
        shown = value_of(setting, values)
        if shown == MANDATORY:
            assert node is None or OmegaConf.is_missing(node, leaf) or values[leaf] == MANDATORY, setting.name
        elif node is not None and not (isinstance(shown, str) and "${" in shown):
            real = OmegaConf.to_container(OmegaConf.create({"x": node}), resolve=False, enum_to_str=True)["x"][leaf]
            if isinstance(shown, list) and shown and isinstance(shown[0], dict):
                assert len(real) == len(shown)  # the dataclass fills in what the file leaves out
            else:
                assert real == shown, setting.name


def test_a_page_shows_choices_meanings_and_the_values_of_another_preset() -> None:
    page = help_page("train_mdlm", ["preset=paper", "loop.steps=7"])
    assert "Trains the MDLM" in page
    assert re.search(r"Must be given, for example:\n  run_dir=RUN\n      The run directory.", page)
    assert "preset=paper  (one of lisa, minicpm-v-4.6, paper, tiny)" in page
    assert "data=paper  (one of paper, real, synthetic)" in page
    assert "llava=vicuna  (one of mistral, vicuna)" in page
    assert "loop.steps=7  (whole number)" in page
    assert "mdlm.llava.quantize=null" in page
    assert "one of bsdata, dagm2007" in help_page("eval_expert", [])
    assert "  data=null" in help_page("doctor", [])
    with pytest.raises(UserError, match="nonsense"):
        help_page("train_mdlm", ["nonsense=1"])


@pytest.mark.parametrize("words", [["-m", "scripts.run_all", "--help"], ["-m", "scripts.train_mdlm", "seed=3", "-h"]])
def test_help_answers_before_the_library_is_imported(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "\n  run_dir=" in done.stdout
    assert not re.search(r"\| +(torch|numpy|data\.source)$", done.stderr, re.MULTILINE)


def test_a_benchmark_is_started_without_what_commands_need() -> None:
    start = "import sys; sys.modules['hydra'] = None; sys.argv[0] = '-m'; sys.orig_argv = ['-m', '{}']; import scripts"
    for module, code in (("scripts.benchmarks.gpu_check", 0), ("scripts.train_mdlm", 1)):
        done = subprocess.run([sys.executable, "-c", start.format(module)], cwd=ROOT, capture_output=True)
        assert done.returncode == code
