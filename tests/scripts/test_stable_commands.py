"""Command lines that others have written into their scripts: they are understood for good."""

import importlib

import pytest

from train.engine.tracking import WandbMode

HEX = "0123456789abcdef0123456789abcdef01234567"
LINES = [
    f"train_eddm preset=paper model.id=/m model.trust_remote_code=true model.revision={HEX} optim.use_cpu=true "
    "optim.max_steps=2 optim.total_batch=2 optim.batch_size=1 optim.workers=0 tracking=none questions=/q run_dir=/r",
    "train_eddm run_dir=/r questions=/a.jsonl,/b.jsonl",
    "train_mdlm preset=paper run_dir=/r resume=auto tracking=none",
    "describe run=/r preset=paper folder=/d trust_remote_code=true",
    "eval_eddm run=/r trust_remote_code=true",
    "eval_mmad run=/r data_root=/d trust_remote_code=true",
    "export_adapter run=/r part=eddm merge=true out=/o trust_remote_code=true",
    "export_adapter run=/r part=eddm merge=false out=/o trust_remote_code=true",
    "run_all preset=paper data=paper run_dir=/r dry_run=true",
    "eval_segmentation run=/r dataset=visa data_root=/d out=/o",
    "inspect images=/p run=/r out=/o",
    "inspect images=/p export=/e out=/o",
    "inspect images=/p expert=patchcore expert_dir=/e out=/o",
    "eval_expert expert=winclip dataset=mvtec_ad data_root=/d out=/o clip.checkpoint=/f shots=4 seeds=3",
    "eval_expert expert=anoclip dataset=visa data_root=/d out=/o clip.checkpoint=/f clip.adapt=true",
    "eval_expert expert=clip_surgery dataset=visa data_root=/d out=/o clip=vit_b_16 clip.image_size=512",
    "eval_expert expert=patchcore dataset=mvtec_ad data_root=/d out=/o shots=1 patchcore.backbone.weights=/w",
    "eval_expert expert=ddad dataset=mvtec_ad data_root=/d out=/o shots=16 ddad=paper",
    "chat image=/p run=/r",
    "chat image=/p export=/e",
    "chat image=/p mllm=/m chat.backend=swift chat.swift.model_type=t chat.swift.template=t trust_remote_code=true",
    "calibrate run=/r normals=/n false_alarms=0.02",
    "calibrate export=/e normals=/n false_alarms=0.02",
    "calibrate expert_dir=/e normals=/n false_alarms=0.02",
    "calibrate run=/r judgements=/l false_alarms=0.1",
    "calibrate expert_dir=/e normals=/n judgements=/l",
    "app run=tiny",
    "app run=/r port=7861",
    "app export=/e",
    "app expert=patchcore expert_dir=/e category=gear",
    "fit_expert images=/p out=/o",
    "fit_expert images=/p judgements=/l out=/o",
    "export_judgements log=/l form=mvtec out=/o",
    "export_judgements log=/l form=coco out=/o",
    "export_judgements log=/l form=ddqa out=/o questions.wording=paraphrased",
    "doctor data=/d reader=folder",
    "doctor weights=clip clip.checkpoint=/c",
    "eval_expert expert=winclip dataset=visa data_root=/d out=/o clip.checkpoint=/c",
    "eval_expert expert=saa_plus dataset=visa data_root=/d out=/o saa.dino.path=/m",
    "export_maps expert=anoclip dataset=visa data_root=/d out=/o",
    "eval_segmentation maps=/m dataset=visa data_root=/d out=/o convention=winclip",
    "reproduce table=eiad.5 data_root=/d +maps.clip_surgery=/m",
    "plan preset=paper gpus=8 gpu_gib=80",
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:60])
def test_it_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIAD_DATA", "/data")
    name, *words = line.split()
    importlib.import_module(f"scripts.{name}").main.parse(words)


@pytest.mark.parametrize("name", ["train_eddm preset=paper", "train_mdlm"])
def test_one_word_says_who_is_told_of_progress(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIAD_DATA", "/data")
    name, *words = name.split()
    told = {}
    for word in ("none", "tensorboard", "wandb"):
        line = [*words, "run_dir=/r", f"tracking={word}"]
        tracking = importlib.import_module(f"scripts.{name}").main.parse(line).tracking
        told[word] = (tracking.tensorboard, tracking.wandb)
    assert told == {
        "none": (False, WandbMode.off),
        "tensorboard": (True, WandbMode.off),
        "wandb": (False, WandbMode.online),
    }
