"""`python -m scripts.eval_mmad` as the README prints it, with tiny untrained models of the real classes."""

import json
from pathlib import Path

import pytest
import torch

from data.files import read_json, read_jsonl, write_json
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model, build_processor, save_checkpoint
from tests.eval.mmad.mmad_tree import write_mmad  # type: ignore[import-not-found]
from tests.models.chat.fake_server import Server  # type: ignore[import-not-found]
from tests.scripts.conftest import RunCommand  # type: ignore[import-not-found]
from train.tiny.eddm import tiny_tokenizer

QUESTIONS = 47


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    config, tokenizer = TinyMiniCPMVConfig(text_layers=2, vision_layers=2), tiny_tokenizer(1536)
    torch.manual_seed(0)
    save_checkpoint(folder, build_model(config, tokenizer), build_processor(config, tokenizer))
    return folder


@pytest.fixture(scope="module")
def mmad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mmad")
    write_mmad(folder)
    return folder


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory whose EDDM has a LoRA adapter that changes what it says."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(1)
    lora = LoraConfig(r=8, lora_alpha=32, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = get_peft_model(AutoModelForImageTextToText.from_pretrained(base), lora)
    model.save_pretrained(folder / "eddm" / "adapter")
    trained = {"backend": "transformers", "base": str(base), "local": True, "defects": ["scratch", "hole"]}
    write_json(folder / "eddm" / "config.json", {"trained": trained})
    return folder


@pytest.mark.parametrize("shots", [0, 1])
@pytest.mark.parametrize("mode", ["likelihood", "generate", "mmad-compat"])
def test_a_model_folder_is_asked(
    mode: str, shots: int, base: Path, mmad: Path, tmp_path: Path, run_command: RunCommand
) -> None:
    arguments = [f"data_root={mmad}", f"mllm={base}", f"shots={shots}", f"mode={mode}", f"out={tmp_path}"]
    said = json.loads(run_command("eval_mmad", *arguments, "template=similar", "knowledge=true"))
    results = read_json(tmp_path / "results.json")
    assert said["mean"] == results["mean"]
    assert (results["answered"], results["unanswered"], results["failures"]) == (QUESTIONS, 0, {})
    assert f"{shots}-shot" in results["setting"] and "with knowledge" in results["setting"]
    rows = read_jsonl(tmp_path / "answers.jsonl")
    assert len(rows) == QUESTIONS
    if mode == "likelihood":
        assert all(sum(row["likelihoods"]) == pytest.approx(1, abs=1e-4) for row in rows)
        assert results["mean"]["unparsable"] == 0
    else:
        assert not any("likelihoods" in row for row in rows)
    assert {"DS-MVTec", "MVTec-LOCO", "VisA", "GoodsAD"} <= set(results["datasets"])
    assert (tmp_path / "mmad.html").is_file()


def test_any_other_class_of_model_gives_the_same_answers(
    base: Path, mmad: Path, tmp_path: Path, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [f"data_root={mmad}", f"mllm={base}", "shots=1"]
    run_command("eval_mmad", *arguments, f"out={tmp_path / 'packed'}")
    monkeypatch.setattr("models.chat.load._is_single_tile", lambda folder: False)  # as for any model of transformers
    run_command("eval_mmad", *arguments, f"out={tmp_path / 'reused'}")
    packed, reused = (
        [row["choice"] for row in read_jsonl(tmp_path / name / "answers.jsonl")] for name in ("packed", "reused")
    )
    assert packed == reused


@pytest.mark.parametrize("shots", [0, 1])
def test_the_eddm_of_a_run_is_asked(shots: int, run: Path, mmad: Path, tmp_path: Path, run_command: RunCommand) -> None:
    adapted, plain = tmp_path / "adapted", tmp_path / "plain"
    for mode in ("likelihood", "generate"):
        run_command(
            "eval_mmad", f"data_root={mmad}", f"run={run}", f"shots={shots}", f"mode={mode}", f"out={adapted / mode}"
        )
    run_command("eval_mmad", f"data_root={mmad}", f"run={run}", f"shots={shots}", "use_adapter=false", f"out={plain}")
    with_adapter, without = read_json(adapted / "likelihood" / "results.json"), read_json(plain / "results.json")
    assert with_adapter["answered"] == without["answered"] == QUESTIONS
    assert with_adapter["adapter"] and not without["adapter"]
    logs = [read_jsonl(folder / "answers.jsonl") for folder in (adapted / "likelihood", plain)]
    assert [row["likelihoods"] for row in logs[0]] != [row["likelihoods"] for row in logs[1]]
    again = run_command("eval_mmad", f"data_root={mmad}", f"answers={plain / 'answers.jsonl'}", "mode=mmad-compat")
    assert json.loads(again)["mode"] == "mmad-compat"


def test_the_results_go_to_the_run(run: Path, mmad: Path, run_command: RunCommand) -> None:
    run_command("eval_mmad", f"data_root={mmad}", f"run={run}")
    assert (run / "eval" / "mmad" / "results.json").is_file()


def test_a_server_is_asked(mmad: Path, tmp_path: Path, run_command: RunCommand) -> None:
    server = Server()
    server.behave = lambda number, body: "B"
    model = ["mllm=NAME", "backend=api", "mode=generate", f"api.base_url={server.url}"]
    run_command("eval_mmad", f"data_root={mmad}", *model, f"out={tmp_path}")
    server.close()
    assert read_json(tmp_path / "results.json")["answered"] == QUESTIONS == len(server.bodies)


def test_bad_input_ends_with_2(mmad: Path, run_command: RunCommand, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command("eval_mmad", f"data_root={mmad}")
    assert ended.value.code == 2 and "Nothing to score" in capsys.readouterr().err
