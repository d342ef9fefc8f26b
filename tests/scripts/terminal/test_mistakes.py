"""Ten typical mistakes, each answered with what was meant, before a library is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from data.ddqa.config import DDQAConfig
from data.errors import UserError, suggest
from eval.ddqa.exam import ExamConfig
from scripts.command import check_line, compose_config, spell_out
from train.mdlm.config import TrainMDLMConfig

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train_mdlm run_dirr=x", r"train_mdlm has no setting run_dirr\. Did you mean run_dir\?"),
        ("report run_dir=x", r"has no setting run_dir\. Did you mean run\?"),
        ("train_mdlm run_dir=x batch_size=4", r"Did you mean loop\.batch_size\?"),
        ("train_mdlm run_dir=x loop.step=4", r"Did you mean loop\.steps\?"),
        ("train_mdlm run_dir=x preset=papr", r"There is no preset=papr\. Did you mean paper\?"),
        ("train_mdlm run_dir=x data=reall", r"There is no data=reall\. Did you mean real\?"),
        ("train_mdlm run_dir=x description=orcale", r"'orcale' is none of: eddm, .*Did you mean oracle\?"),
        ("build_ddqa run_dir=x tasks=[AD,RLD]", r"'RLD' is none of: AD, .*Did you mean RDL\?"),
        (
            "eval_expert",
            r"(?s)Give dataset=mvtec_ad, data_root=DIR and out=DIR\..*data_root: Folder of .*For example: python",
        ),
        ("train_mdlm", r"(?s)Give run_dir=RUN\.\n  run_dir: The run directory\.\n.*--help"),
        ("train_mdlm runs/x", r"'runs/x' does not say what it sets: write run_dir=runs/x\."),
        ("dataset_sheet visa", r"write dataset=visa or data_root=visa or out=visa\."),
        ("doctor runs/x", r"write key=runs/x\."),
        ("train_mdlm run_dir", r"write run_dir=…"),
        ("train_mdlm --run_dir runs/x", r"without dashes: not --run_dir but run_dir=runs/x\."),
        ("train_mdlm --run_dir=runs/x seed=1", r"but run_dir=runs/x\."),
        ("fit_expert preset=paper dataset=bsdata data_root=d out=o", r"fit_expert has no setting preset\."),
        ("eval_mmad data_root=d llava=vicuna", r"eval_mmad has no setting llava\."),
        ("eval_expert dataset=mvtecad data_root=d out=o", r"There is no dataset=mvtecad\. Did you mean mvtec_ad\?"),
        ("fit_expert out=o expert=patchcor", r"There is no expert=patchcor\. Did you mean patchcore\?"),
        ("train_mdlm run_dir=x loop.steps=many", r"loop\.steps=many must be a whole number\."),
        ("train_mdlm run_dir=x seed=1.5", r"seed=1\.5 must be a whole number\."),
        ("train_mdlm run_dir=x loop.optim.lr=fast", r"loop\.optim\.lr=fast must be a number\."),
        ("train_mdlm run_dir=x keep_decoded=maybe", r"keep_decoded=maybe must be true or false\."),
        ("doctor data=x readr=y", r"Did you mean reader\?"),
        ("doctor data=x reader=foldr", r"Did you mean folder\? Choose one of: .*, package\.module:function\."),
        ("report run=r plugins=[own.py]", r"own\.py is not package\.module:name\. Write plugins="),
        (
            "describe run=r sources=bsdata",
            r"no list of \{reader: …, root: …\}: write sources=\[\{reader: …, root: …\}\]",
        ),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(line: str, message: str) -> None:
    name, *words = line.split()
    with pytest.raises(UserError, match=message):
        check_line(name, words)


@pytest.mark.parametrize(
    "line",
    [
        "train_mdlm run_dir=x --cfg job",
        "train_mdlm --cfg job",  # shows what is missing
        "train_mdlm run_dir=x preset=paper llava=mistral sam=vit_l ~seed ++loop.steps=3 hydra.run.dir=y",
        "train_mdlm run_dir=x mdlm.llava.quantize.kind=fp4 augment=null loop.optim.beta1=0.8",
        "train_mdlm -m run_dir=x description=eddm,fixed",
        "build_ddqa sources=[folder] settings.folder.options.mask=x paths.folder=d out=o",
        "doctor data=DIR against=other",
        "eval_mmad data_root=d wording=inspector answers=a",
        "export_maps model=Padim dataset=mvtec_ad data_root=d out=o +options.k_shot=1",
        "fit_expert expert=anomalib:Padim dataset=bsdata data_root=d out=o",
        "eval_classification predictions=p classes=c dataset=a_set_of_our_own out=o",
        "train_mdlm run_dir=x loop.steps=1_000 loop.optim.lr=1e-3 loss.bce_weight=.5 keep_decoded=True side=null",
        "plan preset=paper mdlm.loop.batch_size=16",
        "eval_expert dataset=my.own:read data_root=d out=o",
        "report run=r plugins=[my.own:read,other:read]",
        "report run=r plugins=my.own:read",
    ],
)
def test_what_is_right_passes(line: str) -> None:
    name, *words = line.split()
    check_line(name, words)


def test_a_list_may_come_without_brackets() -> None:
    config = compose_config("build_ddqa", DDQAConfig, ["sources=bsdata", "tasks=AD,RDL", "data_root=d", "out=o"])
    assert config.sources == ["bsdata"]
    assert [task.value for task in config.tasks] == ["AD", "RDL"]
    exam = compose_config("eval_eddm", ExamConfig, ["run=r", "categories=metal nut, screw"])
    assert exam.categories == ["metal nut", "screw"]
    assert spell_out("categories=['a,b','c']", ExamConfig, {}) == "categories=['a,b','c']"
    assert spell_out("categories=", ExamConfig, {}) == "categories="


def test_every_setting_of_a_section_can_be_set_though_no_file_names_it() -> None:
    words = ["run_dir=r", "mdlm.llava.quantize.kind=fp4", "augment=null", "loop.optim.beta1=0.8"]
    config = compose_config("train_mdlm", TrainMDLMConfig, words)
    assert config.mdlm.llava.quantize is not None
    assert config.mdlm.llava.quantize.kind.name == "fp4"
    assert config.augment is None
    assert config.loop.optim.beta1 == 0.8


def test_suggestions_are_near_or_none() -> None:
    assert suggest("run_dirr", ["run_dir", "seed"]) == " Did you mean run_dir?"
    assert suggest("xyz", ["run_dir", "seed"]) == ""
    assert suggest("x", ["a.x", "b.x"], alike=False) == " Did you mean a.x or b.x?"


def test_a_command_that_is_not_there_is_answered_with_the_nearest() -> None:
    done = subprocess.run([sys.executable, "-m", "scripts.train_mdml"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: scripts.train_mdml is no command. Did you mean train_mdlm? There are app, build_ac,"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run_dirr=x"], "error: scripts.train_mdlm has no setting run_dirr. Did you mean run_dir?"),
        (["run_dir=x", "loop.steps=[1"], "error: Cannot read ++loop.steps=[1: a bracket or a quote is open"),
    ],
)
def test_a_mistake_ends_the_command_with_one_message(words: list[str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.train_mdlm", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(message)
